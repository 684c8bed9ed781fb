"""RaggedArray: samples of any length in one array, in memory or memory-mapped."""

import numpy as np

from headrace.arrays import Array, Indices, fingerprint
from headrace.ragged import check_offsets, gather
from headrace.readers.access import Access
from headrace.readers.array import ArrayReader, array_of
from headrace.readers.reader import Out, Spec, check_read


class RaggedArray:
    """Sample i is `values[offsets[i] : offsets[i + 1]]`, such as the tokens of a document.

    It takes arrays in memory and memory-mapped ones, as of `numpy.load(path, mmap_mode="r")` and
    `numpy.memmap`, which pickle as their files' names. A batch is a `Ragged`.

    Args:
        values: the elements of all samples, one after another, shape (total, *element).
        offsets: integers, shape (n + 1,): where each sample begins, and where the last one ends;
            from 0 to `len(values)`, never decreasing. Of lengths, `numpy.cumsum([0, *lengths])`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) they do not fit together.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> tokens = hr.RaggedArray(np.array([5, 6, 7, 8]), np.array([0, 3, 3, 4]))
        >>> batch = hr.Loader(tokens, batch_size=3, shuffle=False).batch(epoch=0, step=0)
        >>> batch[0], batch.lengths
        (array([5, 6, 7]), array([3, 0, 1]))
    """

    access = Access(in_memory=True)

    def __init__(self, values: Array, offsets: Indices) -> None:
        check_offsets(values, offsets)
        self._set(ArrayReader(values), ArrayReader(offsets))

    def _set(self, values: ArrayReader, offsets: ArrayReader) -> None:
        self._values, self._offsets = values, offsets
        self._spec = Spec((None, *values.spec.shape), values.spec.dtype)

    @property
    def spec(self) -> Spec:
        return self._spec

    def sample_lengths(self) -> Indices:
        """The number of elements of each sample: int64, shape (n,)."""
        offsets: Indices = array_of(self._offsets).astype(np.int64, copy=False)
        return offsets[1:] - offsets[:-1]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __repr__(self) -> str:
        return f"RaggedArray(n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the number of elements, and of the lengths of the samples."""
        return fingerprint(self.sample_lengths().data)

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        offsets = array_of(self._offsets)
        starts = offsets[indices].astype(np.int64, copy=False)
        lengths = offsets[indices + 1].astype(np.int64, copy=False) - starts
        gather(array_of(self._values), starts, lengths, out)

    def read_pieces(self, indices: Indices, begins: Indices, lengths: Indices, out: Out) -> None:
        """Reads a piece of each of the samples; as `read_pieces_of` says."""
        starts = array_of(self._offsets)[indices].astype(np.int64, copy=False) + begins
        gather(array_of(self._values), starts, lengths, out)

    def __reduce__(self) -> tuple[object, ...]:
        return _ragged_array, (self._values, self._offsets)


def _ragged_array(values: ArrayReader, offsets: ArrayReader) -> RaggedArray:
    reader = RaggedArray.__new__(RaggedArray)
    reader._set(values, offsets)
    return reader
