import json
import pickle
import time

import numpy as np
import pytest
from passing_results import Closable

import headrace as hr


def slow(batch, rng):
    time.sleep(0.02)
    return batch


class SlowReader:
    """The numbers from 0 on, each read of which takes a while."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __len__(self):
        return 24

    def read(self, indices, out):
        time.sleep(0.02)
        out[:] = indices


def loader_of(**options):
    return hr.Loader(np.zeros((10, 3), np.float32), batch_size=4, **options)


@pytest.mark.parametrize("executor", [hr.Inline(), hr.Threads(2)], ids=str)
def test_batches_samples_and_bytes_are_counted(executor):
    with loader_of(tail="partial", executor=executor) as loader:
        assert [len(list(loader)) for _ in range(2)] == [3, 3]
        stats = loader.stats()
    assert (stats.batches, stats.samples, stats.nbytes) == (6, 20, 2 * 10 * 12)


def test_padding_does_not_count_as_samples():
    loader = loader_of(tail="pad", executor=hr.Inline())
    list(loader)
    assert loader.stats().samples == 10
    assert loader.stats().nbytes == 3 * 4 * (12 + 4)


def test_a_batch_looked_at_does_not_count():
    loader = loader_of()
    loader.batch(0, 1)
    assert loader.stats() == hr.Stats(0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
    assert "No batch" in str(loader.stats())


def test_batches_of_a_pass_that_does_not_move_the_loader_count():
    loader = loader_of(executor=hr.Inline())
    assert len(list(loader._feed.batches_from(loader.place, epochs=1))) == 2
    assert loader.stats().batches == 2


@pytest.mark.parametrize(
    ("executor", "overlap"), [(hr.Inline(), 1), (hr.Threads(2), 2)], ids=["inline", "threads"]
)
def test_reading_and_transforming_are_timed_where_they_happen(executor, overlap):
    with hr.Loader(SlowReader(), batch_size=4, transform=slow, executor=executor) as loader:
        list(loader)
        stats = loader.stats()
    assert 6 * 0.02 <= stats.reading_s <= overlap * stats.elapsed_s
    assert 6 * 0.02 <= stats.transforming_s <= overlap * stats.elapsed_s
    assert stats.waited_s <= stats.elapsed_s


def test_the_consumers_own_time_is_none_that_it_waits():
    with hr.Loader(np.zeros(40), batch_size=4) as loader:
        for _ in loader:
            time.sleep(0.005)
        stats = loader.stats()
    assert stats.waited_s + 9 * 0.005 <= stats.elapsed_s


@pytest.mark.parametrize(
    ("waited_s", "reading_s", "transforming_s", "handing_over_s", "said"),
    [
        (0.6, 0.5, 0.4, 0.3, "data is the bottleneck, most of all to read it"),
        (0.6, 0.5, 0.9, 0.3, "data is the bottleneck, most of all to transform it"),
        (0.06, 0.01, 0.02, 0.03, "data is the bottleneck, most of all to hand over it"),
        (0.04, 0.5, 0.4, 0.3, "the consumer is the bottleneck: the consumer waited 4% of 1 s"),
    ],
)
def test_the_line_says_what_holds_up(waited_s, reading_s, transforming_s, handing_over_s, said):
    work = reading_s, transforming_s, handing_over_s
    assert str(hr.Stats(10, 40, 4000, 1.0, waited_s, *work, 2, 3)).startswith(said)


class ThreeReady(Closable):
    ready = 3


class Ahead(hr.Inline):
    def map(self, make_batch, keys):
        return ThreeReady(super().map(make_batch, keys))


def test_how_many_were_ready_is_told():
    with hr.Loader(np.zeros(800), batch_size=4, executor=Ahead()) as loader:
        list(loader)
        stats = loader.stats()
    assert stats.ready_p50 == stats.ready_p99 == 3
    assert "3 were ready" in str(stats)


def test_percentiles_are_those_of_numpy():
    rng = np.random.default_rng(0)
    loader = loader_of(executor=hr.Inline())
    times = rng.integers(0, 9, 1001)
    for ready in times:
        made = loader._feed.maker.make(loader.sampler.key(0, 0))
        loader._feed.meter.count_block(made, 0.0, int(ready))
    stats = loader.stats()
    expected = np.percentile(times, [50, 99], method="inverted_cdf")
    assert [stats.ready_p50, stats.ready_p99] == expected.tolist()


def test_reset_begins_anew():
    loader = loader_of(executor=hr.Inline())
    list(loader)
    loader.reset_stats()
    assert loader.stats().batches == 0
    list(loader)
    assert loader.stats().batches == 2


def test_stats_are_plain_numbers_and_do_not_travel():
    loader = loader_of(executor=hr.Inline())
    list(loader)
    assert json.loads(json.dumps(loader.stats()._asdict()))["batches"] == 2
    assert pickle.loads(pickle.dumps(loader)).stats().batches == 0


def test_headspace_gives_the_first_batches_again_and_again_without_reading():
    reads = []

    class Reader(SlowReader):
        def read(self, indices, out):
            reads.append(len(indices))
            out[:] = indices

    with hr.Loader((Reader(), np.arange(24)), batch_size=4, seed=3) as loader:
        first = [loader.batch(0, step) for step in range(2)]
        free = loader.headspace(2)
        reads.clear()
        assert len(free) == len(loader) == 6
        for _ in range(2):
            for step, (x, y) in enumerate(free):
                assert (x == first[step % 2][0]).all()
                assert (y == first[step % 2][1]).all()
        assert reads == []
        assert free.stats().batches == 12
        assert free.stats().reading_s == 0
        assert loader.place == (0, 0)
        assert loader.stats().batches == 0


@pytest.mark.parametrize("executor", [hr.Inline(), hr.Threads(2)], ids=str)
def test_headspace_repeats_as_many_batches_of_rows_in_memory(executor):
    # Of which a result of the executor holds several.
    with hr.Loader(np.arange(256), batch_size=4, shuffle=False, executor=executor) as loader:
        free = loader.headspace(2)
    assert [batch[0] for batch in free] == [0, 4] * 32


def test_headspace_takes_no_more_batches_than_an_epoch_has():
    free = loader_of().headspace(100)
    assert len({id(batch) for _ in range(3) for batch in free}) == 2


@pytest.mark.parametrize("batches", [0, -1])
def test_headspace_needs_a_batch(batches):
    with pytest.raises(ValueError, match="batches must be an int from 1"):
        loader_of().headspace(batches)
