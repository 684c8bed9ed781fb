"""Chosen: which samples of a source a view has, as an array of indices or as a range."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_ids
from headrace.arrays import Indices, fingerprint
from headrace.errors import bad_type, bad_value
from headrace.readers.access import Access

# What can be asked for.
Choice = npt.ArrayLike | Iterable[int] | slice | range


class Chosen:
    """Indices into a source: a range, of which nothing is kept, or an int64 array.

    Args:
        choice: a slice, a range, or ints in any order; repeats are allowed.
        n: samples of the source.
        argument: what to call the choice in errors.
    """

    def __init__(self, choice: Choice, n: int, argument: str = "indices") -> None:
        if isinstance(choice, slice):
            choice = range(n)[choice]
        self._chosen: range | Indices
        if isinstance(choice, range):
            if choice:
                _check_range(argument, min(choice[0], choice[-1]), max(choice[0], choice[-1]), n)
            self._chosen = choice
        else:
            self._chosen = _compact(_array(argument, choice, n))

    def __len__(self) -> int:
        return len(self._chosen)

    def at(self, indices: Indices) -> Indices:
        """Which samples of the source are those at `indices` of the view."""
        chosen = self._chosen
        return (
            indices * chosen.step + chosen.start if isinstance(chosen, range) else chosen[indices]
        )

    def all(self) -> Indices:
        """All of them, in order."""
        chosen = self._chosen
        if not isinstance(chosen, range):
            return chosen
        return np.arange(chosen.start, chosen.stop, chosen.step, dtype=np.int64)

    def fingerprint(self) -> str:
        """A hash of the indices."""
        chosen = self._chosen
        if isinstance(chosen, range):
            return f"{chosen.start}:{chosen.step}:{len(chosen)}"
        return fingerprint(chosen.astype("<i8", copy=False).data)

    def access(self, access: Access) -> Access:
        """How the chosen samples are accessed, in a source with this access.

        The block of a view is how many of its samples in a row lie in one block of the source, on
        average: what an order can have read together. Of samples chosen in random order it is 1.
        """
        chosen = self._chosen
        if isinstance(chosen, range):
            return every(chosen.step, chosen.start, access)
        if access.block == 1 or not len(chosen):
            return in_runs(1, access)
        starts = _starts(chosen // access.block)
        run = len(chosen) / (1 + len(starts))
        # A block that is met in several runs is kept for all of them.
        kept = int(access.blocks_kept * self.times_met(access.block))
        aligned = not (starts % max(1, round(run))).any()
        return in_runs(run, replace(access, blocks_kept=kept), aligned)

    def times_met(self, block: int) -> float:
        """In how many runs of samples each block of the source is met; in one if sorted."""
        chosen = self._chosen
        if isinstance(chosen, range) or block == 1 or (chosen[1:] >= chosen[:-1]).all():
            return 1.0
        blocks = chosen // block
        return (1 + len(_starts(blocks))) / len(np.unique(blocks))


def _starts(blocks: Indices) -> Indices:
    """Where a run of samples of the same block begins, but for the first one."""
    return np.flatnonzero(blocks[1:] != blocks[:-1]) + 1


def every(step: int, start: int | None, access: Access) -> Access:
    """The access of every so many samples, from `start` on; None stands for several starts."""
    block = access.block
    aligned = start is not None and step > 0 and block % step == 0 and start % block < step
    return in_runs(max(1.0, block / abs(step)), access, aligned)


def in_runs(run: float, access: Access, aligned: bool = True) -> Access:
    """The access of a view, of which `run` samples lie in one block of the source."""
    block = max(1, round(run))
    return replace(
        access,
        block=block,
        block_cost=access.cost * block / run,
        blocks_aligned=block == 1 or (aligned and access.blocks_aligned),
    )


def _array(argument: str, choice: Any, n: int) -> Indices:
    """The ints, checked, in an array that no one else has."""
    array = np.asarray(choice if isinstance(choice, np.ndarray) else check_ids(choice, argument))
    if array.dtype.kind == "b":
        remedy = "Of a mask, pass numpy.flatnonzero(mask)."
        raise bad_type(argument, choice, "ints, a range or a slice, and no bools", remedy)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise bad_value(argument, choice, "ints in one dimension, a range or a slice")
    if array.size:
        _check_range(argument, int(array.min()), int(array.max()), n)
    return array.astype(np.int64)


def _check_range(argument: str, least: int, most: int, n: int) -> None:
    if least < 0 or most >= n:
        wrong = least if least < 0 else most
        raise bad_value(argument, wrong, f"in range({n}), as source has {n} samples")


def _compact(array: Indices) -> range | Indices:
    """The range that the array is, if it is one, so that the same samples are the same choice."""
    if len(array) < 2:
        start = int(array[0]) if len(array) else 0
        return range(start, start + len(array))
    first, step = int(array[0]), int(array[1] - array[0])
    may_be = step and int(array[-1]) - first == step * (len(array) - 1)
    if may_be and (np.diff(array) == step).all():
        return range(first, int(array[-1]) + (1 if step > 0 else -1), step)
    array.flags.writeable = False
    return array
