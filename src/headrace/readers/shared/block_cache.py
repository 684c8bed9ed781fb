"""BlockCache: decoded blocks of samples, the most recently used of which are kept in memory.

Where samples lie in blocks (chunks, row groups) that can only be decoded as a whole, a batch needs
each of its blocks once, and the next batch may need the same again.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from headrace.arguments import check_int
from headrace.arrays import Array, Indices
from headrace.arrays.conversion import held, may_change
from headrace.per_process import PerProcess
from headrace.pytree import nbytes

Key = TypeVar("Key", bound=Hashable)
Block = TypeVar("Block")

Load: TypeAlias = Callable[[Sequence[Key]], Iterable[tuple[Key, Block]]]

DEFAULT_CACHE_BYTES = 2**28


class BlockCache(Generic[Key]):
    """Keeps the blocks that were used last, within a limit in bytes.

    Threads may use it at once: a block that several of them need is loaded once. A pickle of it is
    empty, and so is it in a forked child.

    Args:
        max_bytes: so many bytes of blocks are kept at most; but always the last block, however
            large. Those that are being loaded, and those in use, come on top of them.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = check_int("cache_bytes", max_bytes, 0, 2**62)
        # A thread that only the parent has may hold its lock, or be loading a block.
        self._kept: PerProcess[_Kept[Key]] = PerProcess(functools.partial(_Kept, self.max_bytes))

    def blocks_kept(self, block_nbytes: int) -> int:
        """How many blocks of a size are kept."""
        return max(1, self.max_bytes // max(1, block_nbytes))

    def each(
        self,
        keys: Iterable[Key],
        load: Load[Key, Block],
        at_once: int = 1,
    ) -> Iterator[tuple[Key, Block]]:
        """Yields (key, block) for each of the keys, in any order; loads those that are missing.

        What comes is shared with other threads, and must not be changed.

        Args:
            keys: of the blocks, each at most once.
            load: yields (key, block), in any order, for each of the keys given to it. A block is an
                array, or tuples and dicts of arrays. What it raises is raised here; other threads
                that wait for the same blocks then try to load them themselves.
            at_once: how many keys `load` is given at most. Threads that need the same blocks share
                the work by so many.
        """
        kept = self._kept.get()
        owed: set[Key] = set()
        loading: list[tuple[Key, _Loading]] = []
        try:
            for key in keys:
                found = kept.find_or_claim(key, owed)
                if isinstance(found, _Loading):
                    loading.append((key, found))
                elif found is not None:
                    yield key, found
                elif len(owed) >= at_once:
                    yield from kept.load(owed, load)
            yield from kept.load(owed, load)
        finally:  # also when the caller takes no more
            kept.give_up(owed)
        # Only now, when it owes no block to others: two threads never wait for each other.
        for key, other in loading:
            other.done.wait()
            if other.block is not None:
                yield key, other.block
            else:
                yield from self.each([key], load)

    def __reduce__(self) -> tuple[object, ...]:
        return BlockCache, (self.max_bytes,)


class _Loading:
    """A block that a thread is loading; `block` stays None if that fails."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.block: Any = None


class _Kept(Generic[Key]):
    """The blocks of one process."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Key, tuple[object, int]] = OrderedDict()  # least recent first
        self._nbytes = 0
        self._loading: dict[Key, _Loading] = {}

    def find_or_claim(self, key: Key, owed: set[Key]) -> Any:
        """The block, or its `_Loading` in another thread; or None, and it is added to `owed`."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key][0]
            if key in self._loading:
                return self._loading[key]
            owed.add(key)
            self._loading[key] = _Loading()
            return None

    def load(self, owed: set[Key], load: Load[Key, Block]) -> Iterator[tuple[Key, Block]]:
        """Loads the blocks that this thread owes, and yields them as they come."""
        if not owed:
            return
        for key, block in load(list(owed)):
            self._keep(key, block)
            owed.remove(key)
            yield key, block
            del block  # so that it can go before the next is made
        if owed:
            raise RuntimeError(f"load has given no block for {sorted(map(repr, owed))}")

    def give_up(self, owed: set[Key]) -> None:
        """Leaves the blocks to others."""
        with self._lock:
            given_up = [self._loading.pop(key, None) for key in owed]
        for loading in given_up:
            if loading is not None:
                loading.done.set()

    def _keep(self, key: Key, block: object) -> None:
        size = nbytes(block)
        with self._lock:
            loading = self._loading.pop(key)
            self._blocks[key] = block, size
            self._nbytes += size
            while self._nbytes > self._max_bytes and len(self._blocks) > 1:
                _, (_, dropped) = self._blocks.popitem(last=False)
                self._nbytes -= dropped
        loading.block = block
        loading.done.set()


def rows_of_blocks(blocks: Indices) -> Iterator[tuple[int, Indices]]:
    """Yields (block, the rows that need it) for each block in ascending order.

    Args:
        blocks: the block that each row of a batch needs.
    """
    order = np.argsort(blocks, kind="stable")
    in_order = blocks[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=in_order[:1] - 1))
    yield from zip(in_order[starts].tolist(), np.split(order, starts)[1:], strict=True)


# From so many bytes on, copying rows one by one takes less time than making an array of them first.
_LARGE_ROW_BYTES = 2048
# From so many on, if it is looked at whether values fit, which takes longer for each by itself.
_LARGE_CHECKED_BYTES = 2**15


def copy_rows(block: Array, chosen: Indices, out: Array, rows: Indices) -> None:
    """`out[rows] = block[chosen]`.

    Raises:
        UnheldError: a row of `out` would get a value that does not fit into its dtype.
    """
    checks = may_change(block.dtype, out.dtype)
    if out.strides[0] < (_LARGE_CHECKED_BYTES if checks else _LARGE_ROW_BYTES):
        out[rows] = held(block[chosen], out.dtype, rows)
        return
    for source, target in zip(chosen.tolist(), rows.tolist(), strict=True):
        if checks:
            held(block[source : source + 1], out.dtype, [target])
        out[target] = block[source]
