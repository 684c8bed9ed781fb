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
# Of samples that are cut, it is kept how many rows are cut off those before each block of so many:
# a search among fewer numbers, and then along lengths that lie side by side in memory.
_SAMPLES_IN_A_BLOCK = 64


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
        # The rows that are cut off samples before each block, and off all of them.
        self._cut: Array = np.zeros(1, np.uint8)
        left = lengths
        if lengths.max(initial=0) > length:
            cut, left = np.divmod(lengths, length)
            blocks = np.arange(0, len(lengths), _SAMPLES_IN_A_BLOCK)
            self._cut = compact(np.append(0, np.cumsum(np.add.reduceat(cut, blocks))))
        samples = np.flatnonzero(left)
        row_of = _fitted_rows(left[samples], length, max_segments, seed)
        # Within a row in the order of the source.
        self._samples = compact(samples[stable_argsort(row_of)])
        self._bounds = compact(np.cumsum(np.bincount(row_of + 1, minlength=1)))

    @property
    def _n_cut(self) -> int:
        return int(self._cut[-1])

    @property
    def nbytes(self) -> int:
        arrays = (self._lengths, self._samples, self._bounds, self._cut)
        return sum(array.nbytes for array in arrays)

    def __len__(self) -> int:
        return self._n_cut + len(self._bounds) - 1

    def pieces(self, rows: Indices) -> Pieces:
        if not self._n_cut:
            counts, samples = self._fitted(rows)
            which = _repeated(counts)
            lengths = _at(self._lengths, samples)
            begins = np.zeros(len(which), np.int64)
            return Pieces(which, _columns(counts, lengths), samples, begins, lengths, lengths)
        is_cut = rows < self._n_cut
        is_fitted = ~is_cut
        counts = np.ones(len(rows), np.int64)
        counts[is_fitted], fitted = self._fitted(rows[is_fitted] - self._n_cut)
        which = _repeated(counts)
        firsts = (np.cumsum(counts) - counts)[is_cut]
        samples = np.empty(len(which), np.int64)
        samples[is_fitted[which]] = fitted
        samples[firsts], cut_at = self._cut_off(rows[is_cut])
        lengths = _at(self._lengths, samples)
        sizes = lengths % self._length
        begins = lengths - sizes
        sizes[firsts], begins[firsts] = self._length, cut_at
        return Pieces(which, _columns(counts, sizes), samples, begins, sizes, lengths)

    def fingerprint(self) -> str:
        arrays = [self._lengths, self._samples, self._bounds]
        if self._n_cut:
            arrays.append(compact(np.cumsum(self._lengths.astype(np.int64) // self._length)))
        return _hash(f"fitted {self._length}", arrays)

    def _fitted(self, rows: Indices) -> tuple[Indices, Indices]:
        """How many samples lie in rows that best fit has filled, and which, row by row."""
        starts = _at(self._bounds, rows)
        counts = _at(self._bounds, rows + 1) - starts
        return counts, _at(self._samples, _ranges(starts, counts))

    def _cut_off(self, rows: Indices) -> tuple[Indices, Indices]:
        """Of which sample each of these rows is cut off, and where in that it begins."""
        blocks = self._cut[1:].searchsorted(rows.astype(self._cut.dtype), "right")
        rows = rows - _at(self._cut, blocks)
        blocks = blocks * _SAMPLES_IN_A_BLOCK
        # What is beyond the last sample lies behind the one that is sought.
        samples = blocks[:, None] + np.arange(_SAMPLES_IN_A_BLOCK)
        cut = self._lengths.take(samples, mode="clip") // self._length
        upto = np.cumsum(cut, axis=1, dtype=np.int64)
        found = np.arange(len(rows)), (upto > rows[:, None]).argmax(axis=1)
        return blocks + found[1], (rows - upto[found] + cut[found]) * self._length


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
        # Sample i of the order begins at bounds[i] and ends at bounds[i + 1].
        self._bounds = compact(np.append(0, np.cumsum(lengths[order])))
        # The sample of every so many values, so that a search begins near its end.
        values = -(-self._n_values // max(1, len(order) // _SAMPLES_IN_A_STEP))
        self._step = max(1, -(-values // length)) * length
        every = np.arange(self._n_values // self._step + 2) * self._step
        every = np.minimum(every, self._n_values).astype(self._bounds.dtype)
        self._near = compact(self._bounds[1:].searchsorted(every, "right"))

    @property
    def _n_values(self) -> int:
        return int(self._bounds[-1])

    @property
    def nbytes(self) -> int:
        return self._samples.nbytes + self._bounds.nbytes + self._near.nbytes

    def __len__(self) -> int:
        return -(-self._n_values // self._length)

    def pieces(self, rows: Indices) -> Pieces:
        bounds = np.minimum(np.concatenate([rows, rows + 1]) * self._length, self._n_values)
        starts, stops = bounds.reshape(2, -1)
        first, after = self._of_values(bounds).reshape(2, -1)
        # What comes at the end of a row is in it as well, unless it begins there.
        counts = after + (_at(self._bounds, after) < stops) - first
        at, which = _ranges(first, counts), _repeated(counts)
        sample_starts, sample_ends = _at(self._bounds, at), _at(self._bounds, at + 1)
        begins = np.maximum(starts[which] - sample_starts, 0)
        sizes = np.minimum(stops[which], sample_ends) - sample_starts - begins
        columns = sample_starts + begins - starts[which]
        lengths = sample_ends - sample_starts
        return Pieces(which, columns, _at(self._samples, at), begins, sizes, lengths)

    def fingerprint(self) -> str:
        return _hash(f"joined {self._length}", [self._samples, self._bounds[1:]])

    def _of_values(self, values: Indices) -> Indices:
        """Which of the samples, in their order, these values are in: the first that ends later.

        Of a value after the last, it is the number of samples.
        """
        near, beyond = np.divmod(values, self._step)
        low = _at(self._near, near)
        high = np.where(beyond > 0, _at(self._near, near + 1), low)
        while (low < high).any():
            middle = (low + high) // 2
            ends_later = self._bounds.take(middle + 1, mode="clip") > values
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


def _repeated(counts: Indices) -> Indices:
    """0, 1, 2, ..., each as often as its count says."""
    return np.repeat(np.arange(len(counts)), counts)


def _ranges(starts: Indices, counts: Indices) -> Indices:
    """The numbers of all ranges, one after the other."""
    stops = np.cumsum(counts)
    offsets = np.repeat(starts - stops + counts, counts)
    offsets += np.arange(len(offsets))
    return offsets


def _columns(counts: Indices, sizes: Indices) -> Indices:
    """Where each piece begins in its row, of rows without gaps that have so many pieces each."""
    before = np.cumsum(sizes) - sizes
    firsts = np.cumsum(counts) - counts
    columns: Indices = before - np.repeat(before[firsts], counts)
    return columns


def _hash(name: str, arrays: list[Array]) -> str:
    little = (array.astype(array.dtype.newbyteorder("<"), copy=False) for array in arrays)
    return fingerprint(name, *(array.data for array in little))
