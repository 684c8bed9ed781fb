"""Small batches are made in blocks, and nobody can tell but by the time it takes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.arrays import address
from headrace.batching.feed import feed_of

N = 1000


class Rows:
    """Rows in memory, of which some can't be read, that notes how many are read at once."""

    in_memory = True
    spec = hr.Spec((2,), np.dtype(np.int64))

    def __init__(self, bad=()):
        self.bad = set(bad)
        self.lengths = []

    def __len__(self):
        return N

    def read(self, indices, out):
        self.lengths.append(len(indices))
        for index in indices.tolist():
            if index in self.bad:
                raise ValueError(f"row {index} is bad")
        out[:] = indices[:, None]


class Files(Rows):
    """The same, each read of which is costly."""

    in_memory = False


def threads(lookahead_bytes=None):
    return hr.Threads(2, lookahead_bytes=lookahead_bytes)


@given(
    n=st.integers(1, 400),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 4),
    tail=st.sampled_from(["drop", "pad"]),
    most=st.integers(1, 70),
    at_once=st.booleans(),
    data=st.data(),
)
def test_blocks_hold_the_keys_of_all_steps(n, batch_size, world_size, tail, most, at_once, data):
    rank = data.draw(st.integers(0, world_size - 1))
    sampler = hr.BatchSampler(n, batch_size, True, 3, tail, rank, world_size)
    position = data.draw(st.integers(0, n))  # not only where a step begins
    place = sampler.place(0, 0)._replace(position=position) if len(sampler) else None
    if place is None:
        return
    blocks = list(sampler.blocks(place, most=most, at_once=at_once))
    keys = [key for block in blocks for key in block.batch_keys()]
    expected = list(sampler.keys(place))
    assert len(keys) == len(expected)
    for ours, theirs in zip(keys, expected, strict=True):
        assert (ours.indices == theirs.indices).all()
        assert ours._replace(indices=None) == theirs._replace(indices=None)
    assert all(1 <= len(block.indices) <= most for block in blocks)


def test_the_first_batch_does_not_wait_for_others_and_later_ones_come_in_blocks():
    rows = Rows()
    with hr.Loader(rows, batch_size=4, shuffle=False, executor=hr.Threads(1)) as loader:
        list(loader)
    assert rows.lengths[0] == 4
    assert max(rows.lengths) == 4 * 64


def test_a_block_that_is_too_large_for_one_call_takes_a_few():
    rows = Rows()
    rows.spec = hr.Spec((384,), np.dtype(np.int64))
    with hr.Loader(rows, batch_size=4, shuffle=False, executor=hr.Threads(1)) as loader:
        for step, batch in enumerate(loader):
            assert (batch == np.arange(4 * step, 4 * step + 4)[:, None]).all()
    # Half a MiB holds 42 of these batches, and a block has 64.
    assert max(rows.lengths) == 4 * 42
    assert 4 * 22 in rows.lengths


@pytest.mark.parametrize(
    "options",
    [
        {"executor": hr.Inline()},
        {"executor": threads(0)},
        {"executor": threads(), "transform": lambda batch, rng: batch},
        {"executor": threads(), "tail": "pad"},
    ],
    ids=["inline", "no look-ahead", "transform", "padding"],
)
def test_others_are_made_one_by_one(options):
    rows = Rows()
    with hr.Loader(rows, batch_size=4, **options) as loader:
        list(loader)
    assert set(rows.lengths) == {4}


def test_readers_that_are_not_in_memory_read_one_batch_at_a_time():
    files = Files()
    with hr.Loader((Rows(), files), batch_size=4, executor=threads()) as loader:
        list(loader)
    assert set(files.lengths) == {4}


@pytest.mark.parametrize("row_bytes", [8, 64, 1000, 40_000])
@pytest.mark.parametrize("batch_size", [3, 8, 37])
def test_batches_are_the_same_aligned_and_apart(row_bytes, batch_size):
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(N, row_bytes), dtype=np.uint8)
    source = {"x": (x, x.view(np.int64)), "y": hr.Labels(np.arange(N) % 7, n_classes=7)}
    with hr.Loader(source, batch_size=batch_size, tail="partial", executor=threads()) as loader:
        for epoch in range(2):
            kept = list(loader)
            for step, batch in enumerate(kept):
                expected = loader.batch(epoch, step)
                arrays = [*batch["x"], batch["y"]]
                for array, other in zip(arrays, [*expected["x"], expected["y"]], strict=True):
                    assert array.dtype == other.dtype
                    assert (array == other).all()
                    assert address(array) % 64 == 0
                    assert array.flags.writeable
                    assert array.flags.c_contiguous
                for array in arrays:
                    array[...] = 0  # which the batches after it must not see


def test_a_failure_in_a_block_comes_at_its_turn():
    rows = Rows(bad=[401, 450])
    with hr.Loader(rows, batch_size=4, shuffle=False, executor=threads()) as loader:
        seen = []
        with pytest.raises(ValueError, match="row 401 is bad") as caught:
            seen.extend(batch[0, 0] for batch in loader)
        assert seen == list(range(0, 400, 4))
        assert "epoch 0, step 100 " in caught.value.__notes__[0]
        assert loader.place == (0, 400)
        rows.bad = {450}
        loader.load_state_dict(loader.state_dict())
        with pytest.raises(ValueError, match="row 450 is bad"):
            seen.extend(batch[0, 0] for batch in loader)
        assert seen == list(range(0, 448, 4))
        rows.bad.clear()
        loader.load_state_dict(loader.state_dict())
        seen.extend(batch[0, 0] for batch in loader)
        assert seen == list(range(0, N, 4))


def test_look_ahead_stays_within_its_budget():
    x = np.zeros((100_000, 128), np.uint8)
    taken = []

    class Noted(hr.readers.array.ArrayReader):
        def read(self, indices, out):
            taken.append(out.nbytes)
            super().read(indices, out)

    budget = 2**20
    with hr.Loader(Noted(x), batch_size=128, executor=threads(budget)) as loader:
        for number, batch in enumerate(itertools.islice(loader, 300)):
            assert sum(taken) <= (number + 1) * batch.nbytes + budget + 2 * budget // 8


def test_the_place_moves_by_batches():
    with hr.Loader(Rows(), batch_size=4, executor=threads()) as loader:
        for step, _ in enumerate(loader):
            assert loader.place == loader.sampler.after(loader.sampler.place(0, step))
            if step == 77:
                break
        state = loader.state_dict()
        other = hr.Loader(Rows(), batch_size=4, executor=hr.Inline())
        loader.load_state_dict(state)
        other.load_state_dict(state)
        for ours, theirs in zip(loader, other, strict=True):
            assert (ours == theirs).all()


def test_what_is_counted_is_what_was_handed_over():
    with hr.Loader(Rows(), batch_size=4, executor=threads()) as loader:
        for _ in itertools.islice(loader, 30):
            pass
        stats = loader.stats()
    assert (stats.batches, stats.samples, stats.nbytes) == (30, 120, 30 * 64)


def test_samples_of_any_length_come_in_blocks_and_are_counted_as_they_are():
    offsets = np.cumsum([0, *np.random.default_rng(0).integers(0, 40, N)])
    source = hr.RaggedArray(np.arange(offsets[-1]), offsets), np.arange(N)
    with hr.Loader(source, batch_size=8, executor=threads()) as loader:
        assert feed_of(loader).maker.reads_together
        kept = list(loader)
        for step, (ragged, index) in enumerate(kept):
            expected, of_index = loader.batch(0, step)
            assert (index == of_index).all()
            assert (ragged.offsets == expected.offsets).all()
            assert (ragged.values == expected.values).all()
            assert address(ragged.values) % 64 == 0
            ragged.values[:] = 0  # which the batches after it must not see
        stats = loader.stats()
    nbytes = sum(ragged.nbytes + index.nbytes for ragged, index in kept)
    assert (stats.batches, stats.nbytes) == (len(kept), nbytes)
