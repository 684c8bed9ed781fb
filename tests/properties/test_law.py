"""A batch is a pure function of (data, configuration, epoch, step)."""

import contextlib
import io
import itertools
import pickle
import threading

import numpy as np
import pytest
from at_once import at_once
from batch_bytes import as_bytes
from executor_fixtures import each_of
from picklable import cropped, shifted
from picklable import noisy_x as noisy

import headrace as hr
from headrace.testing.processes import eventually

N, BATCH = 26, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for i in range(N):
        np.save(folder / f"id-{i}.npy", generator.normal(size=(3, 2, 1)).astype("float32"))
    np.save(folder / "big.npy.rows", np.zeros(1))  # not a sample: another suffix
    return folder


def make_loader(folder, view=None, **options):
    ids = [f"id-{i}" for i in range(N)]
    labels = {name: i % 5 for i, name in enumerate(ids)}
    source = {
        "x": hr.NpyFiles(folder, ids=ids),
        "y": hr.Labels(labels, ids=ids, n_classes=5),
        "number": np.arange(N),
    }
    if view is not None:
        source = view(source)
    return hr.Loader(source, batch_size=BATCH, **{"seed": 3, **options})


def joined(source):
    """Two sources, of which the first samples are left out."""
    return hr.Subset(hr.Concat(source, source), range(N // 2, 2 * N))


def encoded_pictures(_):
    """Pictures as the bytes of files, in place of the source."""
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    files = [io.BytesIO() for _ in range(N)]
    for number, file in enumerate(files):
        image.linear_gradient("L").rotate(number).resize((40, 30 + number)).save(file, "JPEG")
    files = hr.Ragged.of([np.frombuffer(file.getvalue(), np.uint8) for file in files])
    return hr.RaggedArray(files.values, files.offsets)


CONFIGURATIONS = {
    "plain": {},
    "in order": {"shuffle": False},
    "in blocks": {"shuffle": hr.BlockShuffle(block=4, window=2)},
    "weighted": {"shuffle": hr.Weighted(range(1, N + 1)), "transform": hr.per_sample(noisy)},
    "balanced": {"shuffle": hr.Balanced([i % 5 for i in range(N)]), "rank": 1, "world_size": 2},
    "mixed": {"view": joined, "shuffle": hr.Mix([1, 2], stages=[(40, [2, 1])]), "tail": "partial"},
    "in buckets": {
        "shuffle": hr.Buckets([i % 9 for i in range(N)], [3, 8], batch_sizes=[4, 2]),
        "tail": "pad",
        "rank": 1,
        "world_size": 2,
    },
    "with indices": {"with_indices": True, "tail": "pad"},
    "partial": {"tail": "partial"},
    "pad": {"tail": "pad"},
    "a rank": {"rank": 1, "world_size": 2},
    "two transforms": {"transform": [hr.per_sample(noisy), hr.per_sample(noisy)]},
    "per sample": {"transform": hr.per_sample(noisy)},
    "whole batch": {"transform": shifted},
    "crops": {"view": encoded_pictures, "transform": hr.per_sample(cropped)},
}
executor = each_of(
    "Inline", "1 thread", "Threads", "8 threads", "no budget", "Processes", "default"
)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_batches_are_the_same_from_every_executor_and_by_every_way(folder, configuration, executor):
    options = CONFIGURATIONS[configuration]
    reference = make_loader(folder, executor=hr.Inline(), **options)
    expected = [
        [as_bytes(reference.batch(epoch, step)) for step in range(len(reference))]
        for epoch in range(3)
    ]
    assert expected[0] != expected[1] or options.get("shuffle") is False

    loader = make_loader(folder, executor=executor, **options)
    assert [[as_bytes(batch) for batch in loader] for _ in range(3)] == expected
    loader.seek(0)
    stream = itertools.islice(loader.stream(), 3 * len(loader))
    assert [as_bytes(batch) for batch in stream] == [*expected[0], *expected[1], *expected[2]]
    # At random, and last to first, in another copy of the loader.
    copy = pickle.loads(pickle.dumps(loader))
    for epoch, step in reversed(list(itertools.product(range(3), range(len(loader))))):
        assert as_bytes(copy.batch(epoch, step)) == expected[epoch][step]


def test_batches_hold_the_samples_that_indices_tells(folder):
    loader = make_loader(folder)
    ids = [f"id-{i}" for i in range(N)]
    for epoch in range(2):
        for step, batch in enumerate(loader):
            indices = loader.indices(epoch, step)
            assert indices.dtype == np.int64
            assert batch["number"].tolist() == indices.tolist()
            for row, index in enumerate(indices):
                assert (batch["x"][row] == np.load(folder / f"{ids[index]}.npy")).all()
                assert batch["y"][row].tolist() == [float(c == index % 5) for c in range(5)]


def test_threads_that_ask_at_once_get_the_same_batches(folder):
    loader = make_loader(folder, transform=hr.per_sample(noisy))
    keys = list(itertools.product(range(4), range(len(loader))))
    expected = {key: as_bytes(loader.batch(*key)) for key in keys}

    def wrong(seed):
        order = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))]
        return [key for key in order if as_bytes(loader.batch(*key)) != expected[key]]

    assert at_once(wrong, range(4)) == [[]] * 4


# --- the place -----------------------------------------------------------------------------------


def test_each_iteration_is_a_pass_over_one_epoch(folder):
    loader = make_loader(folder)

    def epoch(number):
        return [as_bytes(loader.batch(number, step)) for step in range(len(loader))]

    def taken(count=None):
        return [as_bytes(batch) for batch in itertools.islice(loader, count)]

    assert taken() == epoch(0)
    assert taken(2) == epoch(1)[:2]  # left early, it is over
    assert loader.place == (1, 2 * BATCH)
    assert taken(0) == []  # which counts for nothing
    iter(loader)
    assert loader.place == (1, 2 * BATCH)
    assert taken() == epoch(2)
    state = loader.state_dict()
    assert taken(1) == epoch(3)[:1]
    loader.load_state_dict(state)
    assert taken(1) == epoch(3)[:1]
    loader.load_state_dict(loader.state_dict())
    assert taken() == epoch(3)[1:]  # once: from where the state was taken
    assert taken() == epoch(4)
    loader.seek(7, 1)
    assert taken() == epoch(7)[1:]
    assert taken() == epoch(8)


def test_an_epoch_that_was_set_is_the_next_ones_but_for_a_place_in_it_that_was_loaded(folder):
    loader = make_loader(folder)
    loader.set_epoch(5)
    assert loader.place == (5, 0)
    next(iter(loader))
    loader.set_epoch(5)  # a pass was left in it
    assert loader.place == (5, 0)
    next(iter(loader))
    state = loader.state_dict()
    loader.set_epoch(0)
    loader.load_state_dict(state)
    loader.set_epoch(5)
    assert loader.place == (5, BATCH)
    assert as_bytes(next(iter(loader))) == as_bytes(loader.batch(5, 1))
    loader.set_epoch(6)
    assert as_bytes(next(iter(loader))) == as_bytes(loader.batch(6, 0))
    with pytest.raises(hr.ArgumentError, match="epoch must be an int from 0"):
        loader.set_epoch(-1)


def test_a_second_iteration_ends_the_first(folder):
    loader = make_loader(folder)
    first, second = iter(loader), iter(loader)
    next(first)
    assert as_bytes(next(second)) == as_bytes(loader.batch(1, 0))
    with pytest.raises(hr.LoaderMovedError, match="have one at a time"):
        next(first)
    assert as_bytes(next(second)) == as_bytes(loader.batch(1, 1))


def test_of_threads_that_iterate_at_once_each_batch_goes_to_one(folder):
    loader = make_loader(folder, executor=hr.Threads(2))
    seen = []

    def take(_):
        with contextlib.suppress(hr.LoaderMovedError):
            seen.extend(str(as_bytes(batch)) for batch in loader)

    for _ in range(10):
        seen.clear()
        start = loader.place
        at_once(take, range(4))
        assert len(set(seen)) == len(seen)
        assert loader.place.epoch > start.epoch  # one of them came to an end


def test_the_seed_is_of_the_state_also_where_it_is_the_transforms_alone(folder):
    options = {"shuffle": False, "transform": hr.per_sample(noisy)}
    state = make_loader(folder, **options).state_dict()
    make_loader(folder, **options).load_state_dict(state)
    with pytest.raises(hr.StateError, match="'seed' is 3, and this loader's is 4"):
        make_loader(folder, **options, seed=4).load_state_dict(state)


def test_a_place_that_would_leave_a_rank_without_a_sample_is_refused():
    x = np.arange(12)
    one = hr.Loader(x, batch_size=11, shuffle=False, tail="partial")
    next(iter(one))
    two = hr.Loader(x, batch_size=1, shuffle=False, tail="partial", world_size=2)
    with pytest.raises(hr.StateError, match="1 left over would leave a rank with an empty batch"):
        two.load_state_dict(one.state_dict())
    assert two.place == (0, 0)


def test_loaders_may_share_an_executor_that_one_of_them_closes():
    executor = hr.Threads(2)
    outer = hr.Loader(np.arange(40), batch_size=2, shuffle=False, executor=executor)
    inner = hr.Loader(np.arange(8), batch_size=2, shuffle=False, executor=executor)
    seen = []
    for batch in outer:
        seen += batch.tolist()
        with inner:
            assert np.concatenate(list(inner)).tolist() == list(range(8))
    assert seen == list(range(40))
    outer.close()


def test_a_transform_that_changes_the_number_of_padded_samples_is_refused():
    loader = hr.Loader(np.arange(5), 4, tail="pad", transform=lambda batch, rng: batch[::2])
    with pytest.raises(ValueError, match=r"keep the 4 samples of a batch when tail='pad'.*\(2,\)"):
        loader.batch(0, 0)


def test_a_transform_that_returns_a_list_is_refused():
    loader = hr.Loader(np.arange(4), batch_size=2, transform=lambda batch, rng: [batch])
    with pytest.raises(ValueError, match="tuples or dicts of arrays, not lists"):
        loader.batch(0, 0)


def test_a_failing_batch_is_raised_at_its_step_and_can_be_tried_again(tmp_path):
    for i in range(8):
        np.save(tmp_path / f"{i}.npy", np.full(2, i))
    loader = hr.Loader(
        hr.NpyFiles(tmp_path, ids=range(8)), batch_size=2, shuffle=False, executor=hr.Threads(2)
    )
    (tmp_path / "5.npy").rename(tmp_path / "away")
    batches = iter(loader)
    assert [next(batches)[:, 0].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(FileNotFoundError, match="sample 5 does not exist") as failure:
        next(batches)
    assert failure.value.index == 5
    assert any("epoch 0, step 2 (samples 4, 5)" in note for note in failure.value.__notes__)
    assert loader.place == (0, 4)
    (tmp_path / "away").rename(tmp_path / "5.npy")
    loader.load_state_dict(loader.state_dict())
    assert [batch[:, 0].tolist() for batch in loader] == [[4, 5], [6, 7]]


# --- sources -------------------------------------------------------------------------------------


def test_the_batch_has_the_structure_of_the_source():
    x = np.arange(8)
    source = ({"a": x, "b": (x, x * 2)}, x.astype("float32"))
    batch = hr.Loader(source, batch_size=2, shuffle=False).batch(0, 1)
    assert type(batch) is tuple
    assert list(batch[0]) == ["a", "b"]
    assert batch[0]["b"][1].tolist() == [4, 6]
    assert batch[1].dtype == np.float32
    assert hr.Loader(x, batch_size=2, shuffle=False).batch(0, 1).tolist() == [2, 3]


def test_padding_adds_weights_at_the_end_of_the_batch():
    x = np.arange(5)
    pair = hr.Loader((x, x), batch_size=4, shuffle=False, tail="pad").batch(0, 1)
    assert [part.tolist() for part in pair] == [[4, 0, 1, 2], [4, 0, 1, 2], [1, 0, 0, 0]]
    single = hr.Loader(x, batch_size=4, shuffle=False, tail="pad").batch(0, 0)
    assert [part.tolist() for part in single] == [[0, 1, 2, 3], [1, 1, 1, 1]]


def test_a_memory_mapped_array_and_a_file_serve_as_an_array_does(tmp_path):
    x = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
    np.save(tmp_path / "big.npy", x)
    expected = [as_bytes(batch) for batch in hr.Loader(x, batch_size=3)]
    mapped = np.load(tmp_path / "big.npy", mmap_mode="r")
    for source in (mapped, hr.NpyFile(tmp_path / "big.npy")):
        assert [as_bytes(batch) for batch in hr.Loader(source, batch_size=3)] == expected


def test_batches_are_the_consumers_own_and_aligned():
    x = np.zeros((8, 3), "float32")
    loader = hr.Loader(x, batch_size=4, executor=hr.Threads(2))
    for batch in loader:
        assert batch.flags.writeable
        assert batch.ctypes.data % 64 == 0
        batch += 1
    assert not x.any()
    assert all(not batch.any() for batch in loader)


def test_an_epoch_without_steps_is_warned_of_and_not_streamed():
    with pytest.warns(UserWarning, match="an epoch of 3 samples has no step"):
        loader = hr.Loader(np.zeros(3), batch_size=4)
    assert len(loader) == 0
    assert list(loader) == []
    with pytest.raises(ValueError, match="at least one step"):
        next(loader.stream())


def test_nothing_runs_after_a_loader_is_closed_or_dropped(folder):
    before = set(threading.enumerate())

    def running_threads():
        return [thread for thread in threading.enumerate() if thread not in before]

    with make_loader(folder, executor=hr.Threads(2)) as loader:
        next(iter(loader))
        assert len(running_threads()) == 2
    assert running_threads() == []
    list(loader)  # starts them again
    assert len(running_threads()) == 2
    del loader
    assert eventually(lambda: running_threads() == [])
