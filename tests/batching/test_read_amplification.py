"""A shuffled loader over blocks says what it costs to read them, and what to pass instead.

What is computed is compared with a reader that counts the blocks it would decode.
"""

import warnings
from collections import OrderedDict

import numpy as np
import pytest

import headrace as hr
from headrace.batching.read_amplification import read_amplification
from headrace.pytree import leaves
from headrace.readers.access import Access, access_of


class InBlocks:
    """The numbers 0, 1, 2, ... in blocks, of which those used last are kept."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self, n, block, blocks_kept=0):
        self.n, self.block, self.blocks_kept = n, block, blocks_kept
        self.decoded = 0
        self._kept = OrderedDict()

    def __len__(self):
        return self.n

    def read(self, indices, out):
        out[:] = indices
        for block in dict.fromkeys((np.sort(indices) // self.block).tolist()):
            if block not in self._kept:
                self.decoded += 1
            self._kept[block] = None
            self._kept.move_to_end(block)
            while len(self._kept) > self.blocks_kept:
                self._kept.popitem(last=False)


def in_blocks(block, kept):
    return Access(block=block, blocks_kept=kept)


def warned(*arguments, **options):
    """What is said while a loader is made: at most one message."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loader = hr.Loader(*arguments, **options)
        loader.batch(0, 0)
        next(iter(loader))
    assert {w.category for w in caught} <= {hr.ReadAmplificationWarning}
    assert {w.filename for w in caught} <= {__file__}
    (message,) = [str(w.message) for w in caught] or [""]
    return message


def test_a_full_shuffle_over_blocks_is_warned_of_once_with_the_argument_to_pass():
    message = warned(InBlocks(100_000, 1000, 70), 64)
    assert "with shuffle=True, batches of 64 take reading about 390 times the samples" in message
    assert "from source: those lie in 100 blocks of 1000" in message
    assert "and 70 are kept in memory" in message
    assert "With shuffle=hr.BlockShuffle(block=1000, window=32) it is about 1 times" in message


@pytest.mark.parametrize(
    ("reader", "options"),
    [
        (InBlocks(100_000, 1, 0), {}),
        (InBlocks(100_000, 1000, 100), {}),  # it keeps all
        (InBlocks(100_000, 1000, 0), {"shuffle": False}),
        (InBlocks(100_000, 1000, 64), {"shuffle": hr.BlockShuffle()}),
        (InBlocks(100_000, 1000, 16), {"shuffle": hr.BlockShuffle(window=16)}),
        (InBlocks(100_000, 1000, 4), {"batch_size": 80_000}),  # a batch needs most of them anyway
        (np.arange(1000), {}),
    ],
)
def test_what_costs_little_is_not_warned_of(reader, options):
    assert warned(reader, **{"batch_size": 64, **options}) == ""


def test_a_window_that_does_not_fit_is_warned_of():
    message = warned(InBlocks(10**6, 1000, 8), 64, shuffle=hr.BlockShuffle(window=40))
    assert "with shuffle=hr.BlockShuffle(block=1000, window=40), batches of 64" in message
    assert "With shuffle=hr.BlockShuffle(block=1000, window=4) it is about 1 times" in message
    assert "or have the reader keep more blocks" in message


def test_a_block_smaller_than_the_readers_is_warned_of():
    message = warned(InBlocks(10**6, 1000, 64), 64, shuffle=hr.BlockShuffle(block=100, window=8))
    assert "batches of 64 take reading about 10 times the samples" in message
    assert "hr.BlockShuffle(block=1000, window=32)" in message


def test_a_reader_that_keeps_nothing_is_warned_of_with_a_window_of_one_block():
    message = warned(InBlocks(100_000, 100), 50)
    assert "and 0 are kept" in message
    assert "BlockShuffle(block=100, window=1)" in message


def test_the_part_of_the_source_is_named_and_the_largest_block_counts():
    source = {
        "labels": np.arange(10**5),
        "x": (InBlocks(10**5, 500, 90), InBlocks(10**5, 1000, 40)),
    }
    message = warned(source, 64)
    assert "from source['x'][0]: those lie in 200 blocks of 500" in message
    assert "shuffle=hr.BlockShuffle(block=1000, window=20)" in message  # two fit in 40


def test_a_part_that_is_kept_whole_does_not_decide_what_to_pass():
    """As of labels in one large row group, beside images in chunks."""
    source = (InBlocks(10**6, 100, 200), InBlocks(10**6, 10**6, 1))
    for options in ({}, {"shuffle": hr.BlockShuffle()}):
        message = warned(source, 64, **options)
        assert "take reading about 97.8 times the samples that they hold from source[0]" in message
        assert "With shuffle=hr.BlockShuffle(block=100, window=32) it is about 1 times" in message
    assert warned(source, 64, shuffle=hr.BlockShuffle(block=100, window=32)) == ""


def test_what_to_pass_fits_in_what_each_part_keeps():
    source = (InBlocks(10**6, 1000, 64), InBlocks(10**6, 1000, 8), np.arange(10**6))
    message = warned(source, 64)
    assert "from source[0]" in message
    assert "With shuffle=hr.BlockShuffle(block=1000, window=4) it is about 1 times" in message
    assert warned(source, 64, shuffle=hr.BlockShuffle(block=1000, window=4)) == ""


def test_a_mixture_is_warned_of_with_its_own_argument():
    source = hr.Concat(InBlocks(10**5, 1000, 40), InBlocks(10**5, 1000, 40))
    message = warned(source, 64, shuffle=hr.Mix([1, 1]))
    assert message.startswith("in the order mix(")
    assert "With shuffle=hr.Mix(..., shuffle=hr.BlockShuffle(block=1000, window=16))" in message
    assert warned(source, 64, shuffle=hr.Mix([1, 1], shuffle=hr.BlockShuffle(window=16))) == ""
    assert warned(source, 64, shuffle=hr.Mix([1, 1], shuffle=False)) == ""


def test_weights_are_warned_of_as_the_order_that_they_make():
    message = warned(InBlocks(10**5, 1000), 64, shuffle=hr.Weighted(np.ones(10**5)))
    assert message.startswith("in the order weighted(")


def test_of_many_ranks_each_reads_the_blocks_of_its_windows():
    order = hr.BlockShuffle(1000, 16)
    alone = read_amplification(10**6, in_blocks(1000, 32), order, 64)
    assert alone == 1
    assert read_amplification(10**6, in_blocks(1000, 32), order, 64, world_size=8) == pytest.approx(
        8, 0.01
    )


def test_ranks_do_not_share_windows_that_are_no_larger_than_their_batches():
    order = hr.BlockShuffle(10, 4)
    assert read_amplification(10**5, in_blocks(10, 8), order, 400, world_size=8) == pytest.approx(
        1, 0.01
    )
    reader = InBlocks(10**5, 10, 8)
    loader = hr.Loader(reader, 400, shuffle=order, rank=3, world_size=8, executor=hr.Inline())
    for _ in loader:
        pass
    assert reader.decoded * 10 == pytest.approx(400 * len(loader), 0.1)


def test_an_order_in_blocks_that_are_not_the_readers_is_warned_of():
    message = warned(InBlocks(10**6, 128, 100), 64, shuffle=hr.BlockShuffle(block=100, window=20))
    assert "batches of 64 take reading about 2.24 times the samples" in message
    assert "hr.BlockShuffle(block=128, window=32) it is about 1 times" in message


@pytest.mark.parametrize("kept", [0, 1, 8, 40])
@pytest.mark.parametrize(
    ("order", "block"),
    [
        (None, 100),
        (None, 10),
        (hr.BlockShuffle(100, 4), 100),
        (hr.BlockShuffle(100, 16), 100),
        (hr.BlockShuffle(20, 30), 100),
        (hr.BlockShuffle(200, 10), 100),
        (hr.BlockShuffle(150, 10), 100),
        (hr.BlockShuffle(128, 16), 100),
    ],
)
def test_what_is_computed_is_what_a_reader_meets(order, block, kept):
    n, batch = 20_000, 32
    reader = InBlocks(n, block, kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hr.ReadAmplificationWarning)
        shuffle = True if order is None else order
        loader = hr.Loader(reader, batch, shuffle=shuffle, executor=hr.Inline())
    for _ in loader:
        pass
    met = reader.decoded * block / n
    computed = read_amplification(n, in_blocks(block, kept), order, batch)
    assert computed == pytest.approx(met, rel=0.2)


VIEWS = {
    "from within a block on": lambda reader: hr.Subset(reader, slice(1037, None)),
    "every fourth": lambda reader: hr.Subset(reader, range(0, len(reader), 4)),
    "four of five, sorted": lambda reader: hr.Subset(reader, some(len(reader), 0.8)),
    "one of twenty, sorted": lambda reader: hr.Subset(reader, some(len(reader), 0.05)),
    "in random order": lambda reader: hr.Subset(
        reader, np.random.default_rng(0).permutation(len(reader))
    ),
    "in two passes": lambda reader: hr.Subset(
        reader, [*range(0, len(reader), 2), *range(1, len(reader), 2)]
    ),
    "joined, within a block": lambda reader: hr.Concat(hr.Subset(reader, range(3150)), reader),
    "windows": lambda reader: hr.Windows(reader, 30),
    "windows that leave some out": lambda reader: hr.Windows(reader, 60, stride=10, rate=2),
    "windows and targets": lambda reader: hr.Windows(reader, 150, stride=25, targets=50),
    "of a subset": lambda reader: hr.Subset(
        hr.Subset(reader, some(len(reader), 0.5)), slice(0, None, 2)
    ),
}


def some(n, share):
    return np.flatnonzero(np.random.default_rng(0).random(n) < share)


@pytest.mark.filterwarnings("ignore:the samples of source lie in blocks")
@pytest.mark.parametrize("order", [None, hr.BlockShuffle(window=8)], ids=["full", "in blocks"])
@pytest.mark.parametrize("view", VIEWS)
def test_what_is_computed_of_a_view_is_what_its_reader_meets(view, order):
    block, batch = 100, 32
    # In random order, no order of blocks helps.
    reader = InBlocks(20_000, block, 40 if order and view != "in random order" else 1)
    chosen = VIEWS[view](reader)
    access = access_of(chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hr.ReadAmplificationWarning)
        shuffle = True if order is None else order
        loader = hr.Loader(chosen, batch, shuffle=shuffle, executor=hr.Inline())
    for _ in loader:
        pass
    size = sum(max(1, *spec.shape, 1) for spec in leaves(chosen.spec))  # samples of the reader
    met = reader.decoded * block / len(chosen) / size
    bound = order and hr.BlockShuffle(access.block, order.window)
    computed = read_amplification(len(chosen), access, bound, batch)
    # Windows that lie in several blocks may share some by chance.
    assert computed == pytest.approx(met, rel=0.4 if "windows" in view else 0.25)


def test_huge_numbers_are_computed_at_once():
    order = hr.BlockShuffle(1000, 16)
    assert read_amplification(2**62, in_blocks(1000, 64), order, 128) == pytest.approx(1, 0.01)
    assert read_amplification(2**62, in_blocks(1000, 64), None, 128) == pytest.approx(1000, 0.01)
    assert read_amplification(7, in_blocks(1000, 0), None, 128) <= 1
