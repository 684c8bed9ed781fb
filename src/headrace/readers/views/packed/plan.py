"""Plans: which samples, or pieces of them, lie in which row. They are made of lengths alone.

sample      |0 0 0|1 1 1 1 1 1|2|3 3|             rows of 4

"long"       row 0: 1 1 1 1                       what is cut comes first
             row 1: 0 0 0 2                       and then what fits, by best fit
             row 2: 1 1 3 3

"always"     row 0: 3 3 0 0                       one after the other, in an order of the seed
             row 1: 0 1 1 1
             row 2: 1 1 1 2

Samples without values are in no row. A plan keeps at most 16 bytes a sample, up to 2**32 samples in
as many rows of less than 2**32 values.
"""

from typing import NamedTuple, Protocol

import numpy as np

from headrace.arrays import Array, Indices, fingerprint
from headrace.readers.views.packed.best_fit import best_fit
from headrace.readers.views.packed.compact import compact
from headrace.readers.views.packed.ordering import stable_argsort
from headrace.readers.views.packed.spread import spread
from headrace.readers.views.random_keys import random_keys

# Of samples that are joined, it is kept which comes where each row begins; of shorter rows, where
# one of those begins that have so many samples together, to find others in little time.
_SAMPLES_IN_A_STEP = 4


class Pieces(NamedTuple):
    """What lies in some rows: samples or pieces of them, row by row. All int64, shape (pieces,).

    Attributes:
        rows: in which of the rows it is, ascending.
        columns: where in its row it begins.
        samples: of which sample it is.
        begins: where in its sample it begins.
        sizes: how many values it has, at least one.
        lengths: how many values its sample has.
    """

    rows: Indices
    columns: Indices
    samples: Indices
    begins: Indices
    sizes: Indices
    lengths: Indices


class Plan(Protocol):
    """What each row holds.

    Attributes:
        nbytes: of memory that it takes.
    """

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def pieces(self, rows: Indices) -> Pieces:
        """What lies in these rows, which must be in range."""
        ...

    def fingerprint(self) -> str:
        """A hash of what lies in all rows."""
        ...


class Fitted:
    """Samples that fit, by best fit; from longer ones, full rows are cut off first.

    Args:
        lengths: of all samples, int64, from 0.
        length: values in a row.
        max_segments: the most samples in a row that best fit fills; None for any number.
        seed: of samples of the same length, it decides which goes where.
    """

    def __init__(self, lengths: Indices, length: int, max_segments: int | None, seed: int) -> None:
        self._length, self._lengths = length, compact(lengths)
        # Of all samples up to each, the rows that are cut off; None if none are.
        self._cut: Array | None = None
        left = lengths
        if lengths.max(initial=0) > length:
            self._cut = compact(np.cumsum(lengths // length))
            left = lengths % length
        samples = np.flatnonzero(left)
        row_of = _fitted_rows(left[samples], length, max_segments, seed)
        # Within a row in the order of the source.
        self._samples = compact(samples[stable_argsort(row_of)])
        self._bounds = compact(np.cumsum(np.bincount(row_of + 1, minlength=1)))

    @property
    def _n_cut(self) -> int:
        return 0 if self._cut is None else int(self._cut[-1])

    def _arrays(self) -> list[Array]:
        cut = [] if self._cut is None else [self._cut]
        return [self._lengths, self._samples, self._bounds, *cut]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays())

    def __len__(self) -> int:
        return self._n_cut + len(self._bounds) - 1

    def pieces(self, rows: Indices) -> Pieces:
        if self._cut is None:
            return self._fitted(np.arange(len(rows)), rows)
        is_cut, fitted = rows < self._n_cut, rows - self._n_cut
        both = (
            self._cut_off(np.flatnonzero(is_cut), rows[is_cut]),
            self._fitted(np.flatnonzero(~is_cut), fitted[~is_cut]),
        )
        joined = [np.concatenate(parts) for parts in zip(*both, strict=True)]
        in_order = np.argsort(joined[0], kind="stable")
        return Pieces(*(part[in_order] for part in joined))

    def fingerprint(self) -> str:
        return _hash(f"fitted {self._length}", self._arrays())

    def _fitted(self, numbers: Indices, rows: Indices) -> Pieces:
        """What lies in rows that best fit has filled, which are the rows of these numbers."""
        which, at = _ranges(_at(self._bounds, rows), _at(self._bounds, rows + 1))
        samples = _at(self._samples, at)
        lengths = _at(self._lengths, samples)
        sizes = lengths if self._cut is None else lengths % self._length
        columns = _columns(which, sizes)
        return Pieces(numbers[which], columns, samples, lengths - sizes, sizes, lengths)

    def _cut_off(self, numbers: Indices, rows: Indices) -> Pieces:
        """What lies in rows that are cut off longer samples."""
        assert self._cut is not None
        samples = self._cut.searchsorted(rows.astype(self._cut.dtype), "right")
        lengths, length = _at(self._lengths, samples), self._length
        first = _at(self._cut, samples) - lengths // length
        sizes = np.full(len(rows), length)
        columns = np.zeros(len(rows), np.int64)
        return Pieces(numbers, columns, samples, (rows - first) * length, sizes, lengths)


class Joined:
    """All samples one after the other, in an order of the seed, cut where a row is full.

    Args:
        lengths: of all samples, int64, from 0.
        length: values in a row.
        seed: of the order.
    """

    def __init__(self, lengths: Indices, length: int, seed: int) -> None:
        self._length = length
        samples = np.flatnonzero(lengths)
        order = samples[stable_argsort(_keys(len(samples), seed))]
        self._samples = compact(order)
        self._ends = compact(np.cumsum(lengths[order]))
        # The sample of every so many values, so that a search begins near its end.
        values = -(-self._n_values // max(1, len(order) // _SAMPLES_IN_A_STEP))
        self._step = max(1, -(-values // length)) * length
        every = np.arange(self._n_values // self._step + 2) * self._step
        every = np.minimum(every, self._n_values).astype(self._ends.dtype)
        self._near = compact(self._ends.searchsorted(every, "right"))

    @property
    def _n_values(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def nbytes(self) -> int:
        return self._samples.nbytes + self._ends.nbytes + self._near.nbytes

    def __len__(self) -> int:
        return -(-self._n_values // self._length)

    def pieces(self, rows: Indices) -> Pieces:
        bounds = np.minimum(np.concatenate([rows, rows + 1]) * self._length, self._n_values)
        starts, stops = bounds.reshape(2, -1)
        first, after = self._of_values(bounds).reshape(2, -1)
        # What comes at the end of a row is in it as well, unless it begins there.
        which, at = _ranges(first, after + (self._starts(after) < stops))
        sample_starts, sample_ends = self._starts(at), _at(self._ends, at)
        lengths = sample_ends - sample_starts
        begins = np.maximum(starts[which] - sample_starts, 0)
        sizes = np.minimum(stops[which], sample_ends) - sample_starts - begins
        columns = sample_starts + begins - starts[which]
        return Pieces(which, columns, _at(self._samples, at), begins, sizes, lengths)

    def fingerprint(self) -> str:
        return _hash(f"joined {self._length}", [self._samples, self._ends])

    def _starts(self, at: Indices) -> Indices:
        """Where these samples begin, by their places in the order."""
        return np.where(at > 0, _at(self._ends, at - 1), 0)

    def _of_values(self, values: Indices) -> Indices:
        """Which of the samples, in their order, these values are in: the first that ends later.

        Of a value after the last, it is the number of samples.
        """
        near, beyond = np.divmod(values, self._step)
        low = _at(self._near, near)
        high = np.where(beyond > 0, _at(self._near, near + 1), low)
        while (low < high).any():
            middle = (low + high) // 2
            ends_later = self._ends.take(middle, mode="clip") > values
            high = np.where(ends_later, middle, high)
            low = np.minimum(np.where(ends_later, low, middle + 1), high)
        return low


def _fitted_rows(lengths: Indices, length: int, max_segments: int | None, seed: int) -> Indices:
    """The row of each sample, by best fit. Rows are in the order of their first samples."""
    # As short as it can be: numpy sorts 16 bits in much less time.
    shortness = compact(length - lengths)
    by_length = stable_argsort(_keys(len(lengths), seed))
    by_length = by_length[np.argsort(shortness[by_length], kind="stable")]
    row_of = np.empty(len(lengths), np.int64)
    if max_segments is None:
        row_of[by_length] = best_fit(lengths[by_length], length, len(lengths))
    else:
        row_of[by_length] = spread(lengths[by_length], length, max_segments)
    # Where a row is given several samples, the last one stays: that which comes first.
    first = np.empty(row_of.max(initial=-1) + 1, np.int64)
    first[row_of[::-1]] = np.arange(len(row_of))[::-1]
    number_of = np.empty(len(first), np.int64)
    number_of[stable_argsort(first)] = np.arange(len(first))
    numbers: Indices = number_of[row_of]
    return numbers


def _keys(n: int, seed: int) -> Array:
    return random_keys(n, "packed", seed)


def _at(numbers: Array, indices: Indices) -> Indices:
    """Some of the numbers, as int64."""
    return numbers[indices].astype(np.int64)


def _ranges(starts: Indices, stops: Indices) -> tuple[Indices, Indices]:
    """The numbers of all ranges, one after the other, and of which range each is."""
    counts = stops - starts
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) + (starts - np.cumsum(counts) + counts)[which]


def _columns(rows: Indices, sizes: Indices) -> Indices:
    """Where each piece begins in its row, of rows without gaps."""
    before = np.cumsum(sizes) - sizes
    is_first = np.diff(rows, prepend=-1) > 0
    columns: Indices = before - before[is_first][np.cumsum(is_first) - 1]
    return columns


def _hash(name: str, arrays: list[Array]) -> str:
    little = (array.astype(array.dtype.newbyteorder("<"), copy=False) for array in arrays)
    return fingerprint(name, *(array.data for array in little))
