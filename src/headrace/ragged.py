"""Ragged: a batch of samples of any length, in one array; and what a reader fills it by.

The layout is that of lists in Apache Arrow, of `tf.RaggedTensor` (values and row splits) and of
PyTorch's jagged nested tensors: the elements of all samples one after another, and where each
begins.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, overload

import numpy as np

from headrace.arrays import Array, DType, Indices, aligned_empty
from headrace.arrays.conversion import UnheldError, held, may_change
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError, bad_type, bad_value

Empty = Callable[[tuple[int, ...], DType], Array]

# Samples of less elements on average are gathered element by element.
_LEAST_COPIED_BY_SAMPLE = 48
# Those of less bytes are joined as bytes, which takes half as long for each as slices of an array.
# For longer ones, the copy more that it takes weighs more.
_LEAST_BYTES_SLICED = 2048
# Memory for so many sizes in each doubling, so that memory of another batch can be used again.
_SIZES_IN_A_DOUBLING = 8


class Ragged:
    """Samples of any length: sample i is `values[offsets[i] : offsets[i + 1]]`.

    Args:
        values: the elements of all samples, shape (total, *element).
        offsets: int64, shape (n + 1,): where each sample begins, and where the last one ends. They
            begin with 0, never decrease, and end with `len(values)`.

    Attributes:
        values, offsets: as given.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) they do not fit together.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> batch = hr.Ragged(np.array([5, 6, 7, 8]), np.array([0, 3, 3, 4]))
        >>> len(batch), batch[0], batch[1].shape, batch.lengths
        (3, array([5, 6, 7]), (0,), array([3, 0, 1]))
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: Array, offsets: Indices) -> None:
        self.values: Array = values
        self.offsets: Indices = check_offsets(values, offsets)

    @property
    def lengths(self) -> Indices:
        """The number of elements of each sample: int64, shape (n,)."""
        return np.diff(self.offsets)

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """(n, None, *element)"""
        return (len(self), None, *self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """The bytes of the values and the offsets."""
        return self.values.nbytes + self.offsets.nbytes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Array]:
        """A view of each sample."""
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, sample: int) -> Array: ...
    @overload
    def __getitem__(self, sample: slice) -> "Ragged": ...
    def __getitem__(self, sample: int | slice) -> "Array | Ragged":
        """A view of a sample, shape (length, *element); or of a run of samples, as a `Ragged`."""
        if isinstance(sample, slice):
            first, stop, step = sample.indices(len(self))
            if step != 1:
                raise bad_value("slice", sample, "one without a step")
            offsets = self.offsets[first : max(first, stop) + 1]
            return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        n = len(self)
        try:
            sample = operator.index(sample)
        except TypeError:
            remedy = "For several samples use Ragged.of([ragged[i] for i in ...])."
            raise bad_type("sample", sample, "an int or a slice", remedy) from None
        if not -n <= sample < n:
            raise OutOfRangeError(f"sample must lie in range({n}), but {sample} was given.")
        sample = sample % n
        return self.values[self.offsets[sample] : self.offsets[sample + 1]]

    def __repr__(self) -> str:
        return f"Ragged(shape={self.shape}, dtype={self.dtype}, total={len(self.values)})"

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise ArgumentTypeError(
            f"{self!r} is no array, as its samples may differ in length. Use headrace.pad to make "
            "one of it, its .values and .offsets, or ragged[i] for sample i."
        )

    @classmethod
    def of(cls, samples: Sequence[Array]) -> "Ragged":
        """A copy of samples of one dtype and shape but for the first axis; at least one."""
        lengths = np.fromiter(map(len, samples), np.int64, len(samples))
        return cls(np.concatenate(samples), offsets_of(lengths))


class RaggedOut:
    """What a reader gets as `out` for samples of any length.

    Either it calls `allocate`, then fills what that gives; or it sets each row, as that of an
    array: `out[i] = sample`, which copies the sample twice in all.

    Args:
        n: number of samples.
        element: shape of the samples without their first axis.
        dtype: of the samples.
        empty: where memory comes from, as `aligned_empty`.

    Example:
        >>> import numpy as np
        >>> from headrace.ragged import RaggedOut
        >>> out = RaggedOut(2, (), np.dtype("int64"))
        >>> out.allocate(np.array([3, 1])).values[:] = [5, 6, 7, 8]
        >>> out.result[1]
        array([8])
    """

    __slots__ = ("_allocated", "_empty", "_rows", "dtype", "element", "n")

    def __init__(
        self, n: int, element: tuple[int, ...], dtype: DType, empty: Empty = aligned_empty
    ) -> None:
        self.n: int = n
        self.element: tuple[int, ...] = element
        self.dtype: DType = dtype
        self._empty = empty
        self._allocated: Ragged | None = None
        self._rows: dict[int, Array] = {}

    def __len__(self) -> int:
        return self.n

    def allocate(self, lengths: Indices) -> Ragged:
        """The samples to be filled, of these lengths. To be called once, for all of them.

        Args:
            lengths: int64, shape (n,), none negative.
        """
        if lengths.shape != (self.n,):
            raise bad_value("lengths", lengths, f"one for each of {self.n} samples")
        if self._allocated is not None:
            raise ArgumentError("allocate was called twice for one read; call it once, for all.")
        offsets = offsets_of(lengths)
        total = int(offsets[-1])
        # Rounded up, as batches of exactly the same size hardly ever come.
        step = max(64, 1 << max(0, total.bit_length() - 1)) // _SIZES_IN_A_DOUBLING
        values = self._empty((-(-total // step) * step, *self.element), self.dtype)
        self._allocated = Ragged(values[:total], offsets)
        return self._allocated

    def __setitem__(self, row: "int | Indices", sample: "Array | Ragged") -> None:
        """Sets a sample, shape (length, *element); or rows to the samples of a `Ragged`.

        A sample is copied, as its reader may use its memory again. A `Ragged` is not.
        """
        if isinstance(sample, Ragged):
            rows = np.atleast_1d(row).tolist()
            self._rows.update(zip(rows, iter(sample), strict=True))
            return
        copy = np.array(sample, self.dtype, order="C")
        if copy.shape[1:] != self.element or not copy.ndim:
            allowed = f"of shape {(None, *self.element)}"
            raise bad_value("sample", f"an array of shape {copy.shape}", allowed)
        self._rows[int(row)] = copy

    def take(self, samples: Sequence[Array]) -> None:
        """Allocates and fills with copies of these samples, one for each."""
        lengths = np.fromiter(map(len, samples), np.int64, len(samples))
        values = self.allocate(lengths).values
        if samples:
            np.concatenate(samples, out=values, casting="same_kind")

    @property
    def result(self) -> Ragged:
        """The samples.

        Raises:
            ArgumentError: (a ValueError) the reader has not allocated them.
        """
        if self._allocated is None and len(self._rows) == self.n:
            self.take([self._rows[row] for row in range(self.n)])
            self._rows.clear()
        if self._allocated is None:
            raise ArgumentError(
                "a reader of samples of any length must call out.allocate(lengths), or set "
                f"each of {self.n} rows, but has set {len(self._rows)}."
            )
        return self._allocated


def offsets_of(lengths: Indices) -> Indices:
    """Where samples of these lengths begin that lie one after another, and where the last ends."""
    # `numpy.zeros` would let go of Python's lock, which other threads then take.
    offsets = np.empty(len(lengths) + 1, np.int64)
    offsets[0] = 0
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def elements_of(starts: Indices, lengths: Indices, offsets: Indices) -> Indices:
    """The positions of all elements of samples that begin at `starts`, one after another.

    Args:
        starts, lengths: of each sample.
        offsets: `offsets_of(lengths)`.
    """
    # The distance of each element from its place among them is that of its sample.
    elements = np.repeat(starts - offsets[:-1], lengths)
    elements += np.arange(len(elements))
    return elements


def bytes_of(values: Array) -> memoryview:
    """Those of an array, which may have a dtype that a memoryview has no letter for.

    They can be set if the array is C-contiguous; if not, they are those of a copy.
    """
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def gather(values: Array, starts: Indices, lengths: Indices, out: RaggedOut) -> None:
    """Fills `out` with the elements `values[start : start + length]`, for each of the samples."""
    fill(values, starts, lengths, out.allocate(lengths))


def fill(values: Array, starts: Indices, lengths: Indices, target: Ragged) -> None:
    """Fills `target`, of these lengths, with the elements `values[start : start + length]`.

    Raises:
        UnheldError: a sample has a value that does not fit into the dtype of `target`.
    """
    total, n = len(target.values), len(lengths)
    if not target.values.nbytes:
        return
    alike = values.dtype == target.dtype
    if total >= _LEAST_COPIED_BY_SAMPLE * n or not alike:
        if alike and values.flags.c_contiguous and target.values.nbytes < _LEAST_BYTES_SLICED * n:
            size = target.values.nbytes // total
            every, starts = bytes_of(values), starts * size
            stops = (starts + lengths * size).tolist()
            joined = b"".join([every[a:b] for a, b in zip(starts.tolist(), stops, strict=True)])
            bytes_of(target.values)[:] = joined
            return
        stops = (starts + lengths).tolist()
        pieces = [values[a:b] for a, b in zip(starts.tolist(), stops, strict=True)]
        if may_change(values.dtype, target.dtype):
            elements = np.concatenate(pieces)
            target.values[...] = held_samples(elements, target.offsets, target.dtype)
        else:
            np.concatenate(pieces, out=target.values, casting="same_kind")
        return
    at = elements_of(starts, lengths, target.offsets)
    if values.flags.c_contiguous and values.flags.aligned:
        np.asarray(values).take(at, 0, target.values, "clip")
    else:
        target.values[...] = values[at]


def held_samples(values: Array, offsets: Indices, dtype: DType) -> Array:
    """`values` themselves, if all of them fit into `dtype`.

    Raises:
        UnheldError: one does not; `row` is the sample that it is of.
    """
    try:
        return held(values, dtype)
    except UnheldError as error:
        raise error.at(int(np.searchsorted(offsets, error.row, "right")) - 1) from None


def check_offsets(values: Array, offsets: Indices) -> Indices:
    """`offsets`, if they say where samples in `values` begin; as `Ragged` takes them."""
    if not isinstance(values, np.ndarray):
        raise bad_type("values", values, "a numpy.ndarray without Python objects")
    if values.dtype.hasobject:
        raise ArgumentTypeError(
            "values must be a numpy.ndarray without Python objects, but one of them was given. "
            "Join the samples, as headrace.Ragged.of does."
        )
    if not values.ndim:
        raise bad_value("values", values, "an array of at least one dimension")
    if not isinstance(offsets, np.ndarray):
        raise bad_type("offsets", offsets, "a numpy.ndarray of integers")
    if offsets.dtype.kind not in "iu":
        raise ArgumentTypeError(
            f"offsets must be a numpy.ndarray of integers, but one of {offsets.dtype} was given. "
            "If they are whole numbers, pass offsets.astype('int64')."
        )
    if offsets.ndim != 1 or not len(offsets):
        raise bad_value("offsets", offsets, "of one dimension, with n + 1 values for n samples")
    first, last = int(offsets[0]), int(offsets[-1])
    if first or last != len(values):
        raise bad_value(
            "offsets",
            f"offsets from {first} to {last}",
            f"from 0 to {len(values)}, the length of values",
            "With lengths, pass numpy.cumsum([0, *lengths]).",
        )
    # Compared, not subtracted, as differences of unsigned numbers are never negative.
    decreasing = offsets[1:] < offsets[:-1]
    if decreasing.any():
        at = int(decreasing.argmax())
        raise bad_value(
            "offsets",
            f"{int(offsets[at + 1])} after {int(offsets[at])} at {at + 1}",
            "never decreasing",
        )
    return offsets if offsets.dtype == np.int64 else offsets.astype(np.int64)
