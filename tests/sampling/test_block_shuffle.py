"""A BlockShuffle mixes within its windows, and looks like a shuffle of blocks.

What is expected of the order comes from its definition: which blocks a window holds, and that each
of their samples comes once.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.sampling.block_shuffle import BlockShuffled

sizes = st.integers(1, 300)
blocks = st.integers(1, 40)
windows = st.integers(1, 12)
seeds = st.integers(0, 2**128 - 1)
epochs = st.integers(0, 2**40)


def whole_epoch(n, block, window, seed=0, epoch=0):
    """The samples of an epoch in their order."""
    return BlockShuffled(n, seed, block, window).indices(epoch, np.arange(n))


@given(sizes, blocks, windows, seeds, epochs)
def test_each_window_holds_so_many_whole_blocks(n, block, window, seed, epoch):
    """And the blocks follow one another as if each were read once."""
    of = whole_epoch(n, block, window, seed, epoch) // block
    length = {number: min(block, n - number * block) for number in range(-(-n // block))}
    position, seen = 0, []
    while position < n:
        # A window ends where the blocks in it are complete, after `window` of them.
        members = []
        end = position
        while end < n and not (
            len(members) == window and end - position == sum(length[b] for b in members)
        ):
            if of[end] not in members:
                members.append(int(of[end]))
            end += 1
        assert len(members) <= window
        assert end - position == sum(length[b] for b in members)
        seen += members
        position = end
    assert sorted(seen) == sorted(length)


@pytest.mark.parametrize("n", [10**12, 10**12 + 7, 2**62 - 1, 2**62])
@pytest.mark.parametrize(("block", "window"), [(1000, 16), (3, 2**62), (2**61 + 1, 1), (2**62, 5)])
def test_huge_orders_stay_in_range_and_do_not_collide(n, block, window):
    generator = np.random.default_rng(0)
    ends = [np.arange(500), n - 1 - np.arange(500)]
    positions = np.unique(np.concatenate([*ends, generator.integers(0, n, 1000)]))
    samples = BlockShuffled(n, 1, block, window).indices(2, positions)
    assert samples.min() >= 0
    assert samples.max() < n
    assert len(np.unique(samples)) == len(positions)


def test_a_run_of_positions_holds_few_blocks_of_many():
    order = BlockShuffled(10**12, 1, 1000, 16)
    run = order.indices(0, 123_456_789_000 + np.arange(128)) // 1000
    assert len(np.unique(run)) <= 32  # of two windows at most
    assert len(np.unique(run)) > 8  # and it is mixed


def test_is_the_same_in_every_release():
    shuffle = hr.BlockShuffle(block=4, window=2)
    assert hr.BatchSampler(18, 18, shuffle).indices(0, 0).tolist() == GOLDEN_18
    large = hr.BatchSampler(10**12 + 1, 4, hr.BlockShuffle(block=1000, window=16), seed=2**64)
    assert large.indices(7, 10**9).tolist() == GOLDEN_LARGE


def test_windows_differ():
    within = whole_epoch(1000, 10, 5).reshape(20, 50) % 10
    assert not (within[0] == within[1]).all()


# --- samplers and loaders -------------------------------------------------------------------------


X = np.arange(26)


def make_loader(batch_size=4, shuffle=hr.BlockShuffle(block=4, window=2), **options):  # noqa: B008
    return hr.Loader(X, batch_size, shuffle=shuffle, **{"seed": 3, "tail": "partial", **options})


def test_a_state_names_the_order_with_its_numbers():
    state = make_loader().state_dict()
    assert state["order"] == "block_shuffled(block=4, window=2)"
    assert "block_shuffled(block=4, window=2)" in repr(make_loader())


class InBlocks:
    """Samples 0, 1, 2, ... in blocks."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self, n, block, blocks_kept=1000):
        self.n, self.block, self.blocks_kept = n, block, blocks_kept

    def __len__(self):
        return self.n

    def read(self, indices, out):
        out[:] = indices


def test_the_block_is_the_largest_of_the_readers():
    source = (X, InBlocks(26, 3), {"more": InBlocks(26, 5)})
    loader = hr.Loader(source, 4, shuffle=hr.BlockShuffle(window=2))
    assert loader.state_dict()["order"] == "block_shuffled(block=5, window=2)"
    assert loader.batch(0, 0)[0].tolist() == loader.sampler.indices(0, 0).tolist()
    given_one = hr.Loader(source, 4, shuffle=hr.BlockShuffle(block=3, window=2))
    assert given_one.state_dict()["order"] == "block_shuffled(block=3, window=2)"


def test_samples_that_lie_by_themselves_are_shuffled_fully():
    loader = hr.Loader(X, 4, shuffle=hr.BlockShuffle(), seed=3)
    assert loader.state_dict() == hr.Loader(X, 4, shuffle=True, seed=3).state_dict()
    assert loader.batch(1, 1).tolist() == hr.Loader(X, 4, seed=3).batch(1, 1).tolist()


def test_bad_arguments_name_what_is_allowed():
    for name, value in itertools.product(("block", "window"), (0, -1, 2**62 + 1)):
        with pytest.raises(ValueError, match=rf"{name} must be an int from 1 to .*{value} was"):
            hr.BlockShuffle(**{name: value})
    for value in (2.0, True, "4"):
        with pytest.raises(TypeError, match="window must be an int"):
            hr.BlockShuffle(window=value)
    with pytest.raises(
        ValueError, match=r"shuffle must be a BlockShuffle with a block.*block=\.\."
    ):
        hr.BatchSampler(10, 2, hr.BlockShuffle())
    for kind in (hr.BlockShuffle, hr.Buckets):
        with pytest.raises(
            TypeError, match="shuffle must be True or False, or a BlockShuffle, but a t"
        ):
            hr.Loader(X, 2, shuffle=kind)
    assert hr.BlockShuffle(np.int64(4)) == hr.BlockShuffle(4)
    with pytest.raises(AttributeError):
        hr.BlockShuffle(4).block = 5


GOLDEN_18 = [8, 14, 9, 10, 11, 12, 15, 13, 5, 16, 6, 7, 17, 4, 1, 2, 3, 0]
GOLDEN_LARGE = [271099632831, 945465795215, 96228443502, 271099632807]
