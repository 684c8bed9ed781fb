"""BlockShuffle: an order for samples that are stored in blocks, such as chunks or row groups.

Reading one sample of a block takes reading the whole of it, so a full shuffle reads most of the
data over and over. Here samples that lie in the same block come soon after one another:

    stored         | 0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13 14 15 | 16 17 |
    blocks permuted  | 8 9 10 11 | 0 1 2 3 | 16 17 | 12 13 14 15 | 4 5 6 7 |     block=4
    windows          |--------- 2 ---------|--------- 2 ---------|--- 1 ---|     window=2
    within each      | 2 8 11 0 9 3 1 10 | 13 17 12 15 16 14 | 5 7 6 4 |

Requires the permutation. Promises, in each epoch, a bijection of range(n), a pure function of (n,
block, window, seed, epoch, position), and that nothing of size n is built.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_int, check_seed
from headrace.arrays import Indices
from headrace.errors import bad_value
from headrace.sampling import streams
from headrace.sampling.order import Order, Shuffled
from headrace.sampling.permutation import Permutation

# docs/decisions/block_shuffle.md
DEFAULT_WINDOW = 32


@dataclass(frozen=True)
class BlockShuffle:
    """Shuffles blocks of samples, then the samples within each window of blocks.

    To be passed as `shuffle=`. Each block is then read about once in an epoch by a reader that
    keeps `window` blocks in memory. How well it mixes depends on the window alone, if blocks are
    all alike, and on how alike the samples of a block are: docs/decisions/block_shuffle.md.

    Args:
        block: samples that lie together; with 1 it is a full shuffle. Default, in a `Loader`: what
            its readers say, the largest if they differ.
        window: blocks whose samples are mixed. 1 shuffles within each block; as many as there are
            is a full shuffle.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed.

    Example:
        >>> import headrace as hr
        >>> sampler = hr.BatchSampler(12, 6, shuffle=hr.BlockShuffle(block=3, window=2))
        >>> first, second = sampler.indices(epoch=0, step=0), sampler.indices(epoch=0, step=1)
        >>> len({index // 3 for index in first.tolist()})  # of the four blocks
        2
        >>> sorted([*first.tolist(), *second.tolist()]) == list(range(12))
        True
    """

    block: int | None = None
    window: int = DEFAULT_WINDOW

    def __post_init__(self) -> None:
        if self.block is not None:
            object.__setattr__(self, "block", check_int("block", self.block, 1, MAX_SAMPLES))
        object.__setattr__(self, "window", check_int("window", self.window, 1, MAX_SAMPLES))

    def order(self, n: int, seed: int, block: int | None = None) -> Order:
        """The order of `n` samples; `block` is taken where this has none."""
        if self.block is None and block is not None:
            return replace(self, block=block).order(n, seed)
        if self.block is None:
            allowed = "a BlockShuffle with a block"
            remedy = "Pass BlockShuffle(block=...); only a Loader asks readers for theirs."
            raise bad_value("shuffle", self, allowed, remedy)
        if self.block == 1:  # samples that lie by themselves
            return Shuffled(n, seed)
        return BlockShuffled(n, seed, self.block, self.window)


class BlockShuffled:
    """The order of a `BlockShuffle`: every epoch in one of its own, drawn from (seed, epoch).

    Blocks lie in slots, one after the other, and a window is of so many slots. If the last block is
    shorter, it lies in a slot drawn for the epoch, and the others in those before and after it.
    """

    repeats = False

    def __init__(self, n: int, seed: int, block: int, window: int) -> None:
        self.sampling: BlockShuffle = BlockShuffle(block, window)
        self._n = n
        self._seed = check_seed(seed)
        self._block = min(block, n)
        self._full_blocks, self._rest = divmod(n, self._block)
        self._slots = self._full_blocks + (self._rest > 0)
        self._window = min(window, self._slots)

    def __len__(self) -> int:
        return self._n

    def indices(self, epoch: int, positions: Indices) -> Indices:
        short = self._short_slot(epoch)
        mixed = self._mixed(epoch, positions.reshape(-1), short)
        padded = self._padded(mixed, short)
        slots = padded // self._block
        blocks = self._blocks(epoch, slots, short)
        return (blocks * self._block + (padded - slots * self._block)).reshape(positions.shape)

    def positions(self, epoch: int, sample: int) -> Indices:
        short, block = self._short_slot(epoch), sample // self._block
        if block == self._full_blocks:
            slot = short
        else:
            slot = self._blocks_permutation(epoch).position(block)
            slot += bool(self._rest) and slot >= short
        mixed = self._start(slot, short) + sample % self._block
        start, permutation = self._window_of(epoch, slot // self._window, short)
        return np.array([start + permutation.position(mixed - start)])

    def describe(self) -> str:
        return f"block_shuffled(block={self.sampling.block}, window={self.sampling.window})"

    def _mixed(self, epoch: int, positions: Indices, short: int) -> Indices:
        """The positions, permuted within each window."""
        windows = self._padded(positions, short) // self._block // self._window
        in_order: Indices | None = None
        if (windows[1:] < windows[:-1]).any():
            in_order = np.argsort(windows, kind="stable")
            positions, windows = positions[in_order], windows[in_order]
        mixed = np.empty_like(positions)
        begins = [0, *(np.flatnonzero(windows[1:] != windows[:-1]) + 1).tolist()]
        for begin, end in zip(begins, [*begins[1:], len(positions)], strict=True):
            if begin == end:
                continue  # there are no positions
            start, permutation = self._window_of(epoch, int(windows[begin]), short)
            mixed[begin:end] = permutation[positions[begin:end] - start] + start
        if in_order is None:
            return mixed
        back = np.empty_like(mixed)
        back[in_order] = mixed
        return back

    def _window_of(self, epoch: int, window: int, short: int) -> tuple[int, Permutation]:
        """The position at which a window begins, and its permutation."""
        start = self._start(window * self._window, short)
        stop = self._start(min((window + 1) * self._window, self._slots), short)
        return start, _permutation(stop - start, self._seed, streams.WINDOWS, epoch, window)

    def _blocks_permutation(self, epoch: int) -> Permutation:
        return _permutation(self._full_blocks, self._seed, streams.BLOCKS, epoch)

    def _blocks(self, epoch: int, slots: Indices, short: int) -> Indices:
        """The blocks that lie in the slots."""
        if not slots.size:
            return slots
        first, last = int(slots.min()), int(slots.max())
        if last - first < len(slots):  # as in a run of steps: fewer slots than samples
            return self._blocks_in(epoch, np.arange(first, last + 1), short)[slots - first]
        return self._blocks_in(epoch, slots, short)

    def _blocks_in(self, epoch: int, slots: Indices, short: int) -> Indices:
        permutation = self._blocks_permutation(epoch)
        if not self._rest:
            return permutation[slots]
        numbers = slots - (slots > short)
        is_short = slots == short
        numbers[is_short] = 0  # any that exists
        blocks = permutation[numbers]
        blocks[is_short] = self._full_blocks
        return blocks

    def _short_slot(self, epoch: int) -> int:
        """Where the short block lies; behind all slots if there is none."""
        if not self._rest:
            return self._slots
        return _permutation(self._slots, self._seed, streams.SHORT_BLOCK, epoch)[0]

    def _start(self, slot: int, short: int) -> int:
        """The position at which a slot begins."""
        start = slot * self._block
        return start - (self._block - self._rest) if slot > short else start

    def _padded(self, positions: Indices, short: int) -> Indices:
        """The positions, had the short block full length: slot number times block, and offset."""
        if not self._rest:
            return positions
        behind = positions >= short * self._block + self._rest
        return positions + behind * (self._block - self._rest)


@functools.lru_cache(maxsize=256)
def _permutation(n: int, seed: int, *spawn_key: int) -> Permutation:
    """Recent ones are kept, as making one takes as long as permuting a batch."""
    return Permutation(n, np.random.SeedSequence(seed, spawn_key=spawn_key))
