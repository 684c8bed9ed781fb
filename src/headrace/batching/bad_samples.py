"""Substitution: good samples instead of those that can't be read.

Requires the errors of readers. Promises that the substitute of a sample is a pure function of
(data, number of samples, index): the first good one on a walk, which the index alone decides, over
all samples, or those that the order takes for alike. So it is the same on every run, on every
executor and in every batch.
"""

import pickle
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.arrays import Indices
from headrace.errors import SampleError, bad_value
from headrace.sampling import streams
from headrace.sampling.order import GroupedOrder, Order
from headrace.sampling.permutation import Permutation

OnError = Literal["raise", "replace"]
T = TypeVar("T")

# If so many in a row are bad, most are.
_MOST_CANDIDATES = 64
_MOST_LISTED = 20


class BadSampleWarning(UserWarning):
    """A sample can't be read, and another one is taken instead."""


@dataclass(frozen=True)
class BadSample:
    """A sample that can't be read.

    Attributes:
        index: of the sample.
        substitute: index of the sample that is taken instead.
        reason: why it can't be read: what `error` says.
        error: raised by reading it.
    """

    index: int
    substitute: int
    reason: str
    error: SampleError = field(compare=False, repr=False)


class Substitution:
    """Reads batches, with substitutes for samples that can't be read. Threads may use it at once.

    Args:
        n: number of samples.
        most_remembered: how many bad samples are remembered, so as not to be looked for again.
        order: says which samples may stand for which; None if any may.
    """

    def __init__(self, n: int, most_remembered: int, order: GroupedOrder | None = None) -> None:
        self._n = n
        self._order = order
        self._most_remembered = most_remembered
        self._remembered: dict[int, BadSample] = {}

    def read(
        self, read: Callable[[Indices], T], alone: Callable[[Indices], object], indices: Indices
    ) -> tuple[T, tuple[BadSample, ...]]:
        """`read(indices)`, and the bad samples among them, in the order of the indices.

        Args:
            read: is also given indices with substitutes, and names the sample in whose place one is
                or, if it can't be read, the substitute.
            alone: reads one sample as itself, to see whether it is good.

        Raises:
            SampleError: one that doesn't say which of the indices it is about; or no substitute can
                be found; or a sample that was good can't be read any more.
        """
        found: dict[int, BadSample] = {}
        while True:
            bad: dict[int, BadSample] = {}
            wanted = indices
            if found or self._remembered:
                numbers: list[int] = indices.tolist()
                for index in numbers:
                    known = found.get(index) or self._remembered.get(index)
                    if known is not None:
                        bad[index] = known
                chosen = [bad[index].substitute if index in bad else index for index in numbers]
                wanted = np.array(chosen, np.int64)
            try:
                return read(wanted), tuple(bad.values())
            except SampleError as error:
                if error.index is None or error.index in bad or error.index not in indices:
                    raise
                found[error.index] = self._found(alone, error.index, error)

    def _found(
        self, read: Callable[[Indices], object], index: int, error: SampleError
    ) -> BadSample:
        bad = BadSample(index, self._substitute(read, index, error), str(error), _plain(error))
        if len(self._remembered) < self._most_remembered:
            self._remembered[index] = bad
        return bad

    def _substitute(self, read: Callable[[Indices], object], index: int, error: SampleError) -> int:
        """The first sample on the walk of `index` that can be read."""
        seed = np.random.SeedSequence(index, spawn_key=(streams.SUBSTITUTES,))
        alike = range(self._n) if self._order is None else self._order.alike(index)
        tried = min(len(alike), _MOST_CANDIDATES)
        walk = Permutation(len(alike), seed)[np.arange(tried)]
        for candidate in (int(alike[place]) for place in walk.tolist()):
            if candidate == index or candidate in self._remembered:
                continue
            try:
                read(np.array([candidate], np.int64))
            except SampleError as another:
                if another.index != candidate:
                    raise
            else:
                return candidate
        error.add_note(
            f"headrace: on_error='replace' has tried {tried} samples"
            f"{'' if self._order is None else ' of its rung, class or source'} in its place, and "
            "none of them can be read"
        )
        raise error

    def __reduce__(self) -> tuple[type["Substitution"], tuple[int, int, GroupedOrder | None]]:
        return type(self), (self._n, self._most_remembered, self._order)


def substitution_of(
    on_error: OnError, max_bad_samples: int | None, n: int, order: Order
) -> Substitution | None:
    """The substitution that a loader of `n` samples in that order is asked for, or None.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed, or
            not together with the other.
    """
    if on_error not in get_args(OnError):
        raise bad_value("on_error", on_error, "'raise' or 'replace'")
    if on_error == "raise":
        if max_bad_samples is not None:
            remedy = "It is of on_error='replace'."
            raise bad_value("max_bad_samples", max_bad_samples, "left out", remedy)
        return None
    if max_bad_samples is None:
        raise bad_value(
            "max_bad_samples",
            max_bad_samples,
            "an int with on_error='replace'",
            "Say how many of the samples may be bad before it is an error.",
        )
    most = check_int("max_bad_samples", max_bad_samples, 1, MAX_SAMPLES)
    return Substitution(n, most, order if isinstance(order, GroupedOrder) else None)


class BadSamples:
    """The bad samples that a loader has met and replaced, of which there is a budget.

    Args:
        budget: how many different ones there may be.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._found: dict[int, BadSample] = {}
        self._lock = threading.Lock()

    def take(self, bad_samples: Iterable[BadSample], key: str) -> None:
        """Counts those of a batch that is delivered, and warns of those that are new.

        Args:
            bad_samples: of the batch.
            key: of the batch, as text.

        Raises:
            SampleError: the error of the first one beyond the budget.
        """
        for bad in bad_samples:
            with self._lock:
                if bad.index in self._found:
                    continue
                if len(self._found) >= self._budget:
                    raise self._beyond(bad, key)
                self._found[bad.index] = bad
                count = len(self._found)
            warnings.warn(
                f"{bad.reason}. Sample {bad.substitute} is taken in its place, in every epoch. It "
                f"is bad sample {count} of at most {self._budget} (max_bad_samples).",
                BadSampleWarning,
                stacklevel=2,
            )

    def listed(self) -> list[BadSample]:
        """All of them, in the order in which they were met."""
        with self._lock:
            return list(self._found.values())

    def _beyond(self, bad: BadSample, key: str) -> SampleError:
        before = [str(index) for index in self._found]
        more = f", ... {len(before)} in all" if len(before) > _MOST_LISTED else ""
        error = _plain(bad.error)
        error.add_note(f"headrace: while making the batch of {key}")
        error.add_note(
            f"headrace: max_bad_samples={self._budget}, and before it these were replaced: "
            f"{', '.join(before[:_MOST_LISTED])}{more}"
        )
        return error

    def __reduce__(self) -> tuple[type["BadSamples"], tuple[int]]:
        return type(self), (self._budget,)


def _plain(error: SampleError) -> SampleError:
    """The error without what it was raised from, or its words if it can't be pickled."""
    try:
        plain: SampleError = pickle.loads(pickle.dumps(error))
    except Exception:
        plain = SampleError(f"{type(error).__name__}: {error}")
    plain.index = error.index
    return plain
