"""Arrays of Arrow's as numpy arrays. Requires pyarrow.

Nothing is copied but what Arrow stores in another form than numpy: dictionaries and views.
"""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.arrays import Array, DType, Indices
from headrace.errors import MissingExtraError
from headrace.ragged import offsets_of
from headrace.readers.arrow.types import is_bytes, is_list, is_list_of_views, is_view
from headrace.readers.arrow.values import (
    NULL,
    OTHER_LENGTH,
    Bits,
    Column,
    RaggedValues,
    Values,
)
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.samples.ragged_parts import REMEDY

_Faults = npt.NDArray[np.uint8]


def decode(array: pa.Array, column: Column) -> "Values | RaggedValues":
    """The samples in an array of Arrow's, whose memory they share where they can.

    Raises:
        FormatError: the array is not what the schema says it is.
    """
    return _of_any_length(array, column) if column.spec.ragged else _of_one_shape(array, column)


def _of_any_length(array: pa.Array, column: Column) -> RaggedValues:
    n = len(array)
    faults: _Faults | None = None
    while True:
        if array.null_count:
            nulls = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
            faults = _with_faults(faults, n, nulls, NULL)
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array.validate(full=True)  # its indices, which decoding trusts
            array = array.dictionary_decode()
        elif is_view(array.type) or is_list_of_views(array.type):
            array = _in_order(array)
        else:
            break
    if not n:
        nothing = np.empty((0, *column.shape[1:]), column.stored)
        return RaggedValues(nothing, np.zeros(1, np.int64), None)
    if is_bytes(array.type):
        return RaggedValues(*_bytes_and_offsets(array), faults)
    offsets = array.offsets.to_numpy()
    first, last = int(offsets[0]), int(offsets[-1])
    inner = column._replace(
        shape=column.shape[1:],
        axes=tuple(axis - 1 for axis in column.axes[1:]),
        spec=Spec(column.spec.element, column.spec.dtype),
    )
    elements = _of_one_shape(_cut(array.values, first, last - first), inner)
    if elements.faults is not None:
        wrong = np.flatnonzero(elements.faults)
        # With offsets that do not ascend, any row will do: those rows are refused anyway.
        rows = np.clip(np.searchsorted(offsets, wrong + first, "right") - 1, 0, n - 1)
        for fault in (NULL, OTHER_LENGTH):
            faults = _with_faults(faults, n, rows[elements.faults[wrong] == fault], fault)
    data: Array | Bits = elements.data
    if isinstance(data, np.ndarray) and data.dtype.kind != inner.spec.dtype.kind == "M":
        data = data.astype(column.stored)  # days, which are stored as their numbers
    return RaggedValues(data, offsets, faults)


def _bytes_and_offsets(array: pa.Array) -> tuple[Array, Array]:
    """The bytes of strings or binaries, from the first offset to the last, and these offsets."""
    kind, (_, stored, data) = array.type, array.buffers()
    large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    dtype = np.dtype(np.int64 if large else np.int32)
    needed = (array.offset + len(array) + 1) * dtype.itemsize
    if stored is None or needed > stored.size:
        raise FormatError(f"ends after {0 if stored is None else stored.size} bytes of {needed}")
    offsets = np.frombuffer(stored, dtype, len(array) + 1, array.offset * dtype.itemsize)
    first, last = int(offsets[0]), int(offsets[-1])
    size = 0 if data is None else data.size
    if not 0 <= first <= last <= size:
        raise FormatError(f"ends after {size} bytes of {last}")
    whole = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return whole[first:last], offsets


def _of_one_shape(array: pa.Array, column: Column) -> Values:
    n, width, depth = len(array), 1, 0
    faults: _Faults | None = None
    while True:
        if array.null_count:
            nulls = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
            faults = _with_faults(faults, n, nulls // max(width, 1), NULL)
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            if isinstance(kind, pa.FixedShapeTensorType):
                depth += len(kind.shape) - 1  # of one list
            array = array.storage
        elif pa.types.is_dictionary(kind):
            array.validate(full=True)  # its indices, which decoding trusts
            array = array.dictionary_decode()
        elif is_list_of_views(kind):
            array = _in_order(array)
        elif pa.types.is_fixed_size_list(kind):
            width *= kind.list_size
            array = _cut(array.values, array.offset * kind.list_size, n * width)
            depth += 1
        elif is_list(kind):
            length = column.shape[depth]
            array, wrong = _equal_lists(array, length)
            faults = _with_faults(faults, n, wrong // max(width, 1), OTHER_LENGTH)
            width *= length
            depth += 1
        else:
            break
    data = _leaf(array, (n, *column.shape), column.stored)
    if column.axes != tuple(range(len(column.axes))):
        stored = data[np.arange(n)] if isinstance(data, Bits) else data
        data = stored.transpose(0, *(1 + axis for axis in column.axes))
    if column.stored.kind == "V":  # the bytes of an array each
        data = np.ascontiguousarray(data).view(column.spec.dtype).reshape(n, *column.spec.shape)
    return Values(data, faults)


def _in_order(array: pa.Array) -> pa.Array:
    """An array of views as one of lists or binaries, whose values lie in their order."""
    array.validate(full=True)  # where they lie, which is trusted below
    if is_view(array.type):
        try:
            return array.cast(pa.large_binary())
        except pa.ArrowNotImplementedError:
            remedy = f"pyarrow {pa.__version__} can't convert {array.type}. Install a later one"
            raise MissingExtraError(remedy) from None
    null = array.is_null().to_numpy(zero_copy_only=False)
    lengths = np.where(null, 0, array.sizes.to_numpy(zero_copy_only=False)).astype(np.int64)
    offsets = pa.array(offsets_of(lengths))
    return pa.LargeListArray.from_arrays(offsets, array.flatten(), mask=pa.array(null))


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column of a table as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    if is_bytes(column.type):  # chunks, as they have more bytes than 32-bit offsets can tell
        column = column.cast(pa.large_binary())
    return pa.concat_arrays(column.chunks)


def shape_of_first(array: pa.Array, ragged: bool = False) -> tuple[int | None, ...]:
    """The shape of the first sample; None and that of an element, if it may have any length."""
    if ragged:
        while not is_list(array.type):
            extended = isinstance(array.type, pa.BaseExtensionType)
            array = array.storage if extended else array.dictionary_decode()
        if is_list_of_views(array.type):
            array = _in_order(array)
        return (None, *shape_of_first(array.flatten()))
    shape: list[int | None] = []
    array = array.slice(0, 1)
    while True:
        if is_list_of_views(array.type):
            array = _in_order(array)
        if isinstance(array.type, pa.FixedShapeTensorType):
            return (*shape, *array.type.shape)
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif pa.types.is_fixed_size_list(array.type) or is_list(array.type):
            if not len(array) or array.null_count:
                raise FormatError(
                    f"its lists must tell the shape of all, but are null or empty. {REMEDY}"
                )
            if is_list(array.type):
                start, stop = array.offsets.to_numpy()[:2].tolist()
            else:
                start = array.offset * array.type.list_size
                stop = start + array.type.list_size
            shape.append(stop - start)
            array = _cut(array.values, start, stop - start).slice(0, 1)
        else:
            return tuple(shape)


def _equal_lists(array: pa.Array, length: int) -> tuple[pa.Array, Indices]:
    """The values of lists of that length one after the other, and which lists are of another.

    Those have nulls in place of their values.
    """
    offsets = array.offsets.to_numpy()
    wrong = np.diff(offsets) != length
    if array.null_count:
        wrong |= array.is_null().to_numpy(zero_copy_only=False)
    if not wrong.any():
        return _cut(array.values, int(offsets[0]), len(array) * length), np.flatnonzero(wrong)
    at = np.where(wrong, 0, offsets[:-1])[:, None] + np.arange(length)
    masked = pa.array(at.reshape(-1), mask=np.repeat(wrong, length))
    return array.values.take(masked), np.flatnonzero(wrong)


def _cut(array: pa.Array, start: int, length: int) -> pa.Array:
    if not 0 <= start <= start + length <= len(array):
        raise FormatError(f"ends after {len(array)} values of {start + length}")
    return array.slice(start, length)


def _with_faults(faults: _Faults | None, n: int, rows: Indices, fault: int) -> _Faults | None:
    """`faults`, with this one at rows that have none yet."""
    if not len(rows):
        return faults
    if faults is None:
        faults = np.zeros(n, np.uint8)
    faults[rows] = np.where(faults[rows] == 0, fault, faults[rows])
    return faults


def _leaf(array: pa.Array, shape: tuple[int, ...], dtype: DType) -> Array | Bits:
    """The numbers of an array of Arrow's, without a copy."""
    count = math.prod(shape)
    if len(array) != count:
        raise FormatError(f"has {len(array)} values in place of {count}")
    if not count or not dtype.itemsize:
        return np.empty(shape, dtype)
    buffer = array.buffers()[1]
    if dtype == np.bool_:
        if (array.offset + count + 7) // 8 > buffer.size:
            raise FormatError(f"ends after {buffer.size} bytes")
        return Bits(np.frombuffer(buffer, np.uint8), array.offset, shape)
    stored = np.dtype("i4") if dtype == "M8[D]" else dtype  # a conversion that copying does
    needed = (array.offset + count) * stored.itemsize
    if needed > buffer.size:
        raise FormatError(f"ends after {buffer.size} bytes of {needed}")
    return np.frombuffer(buffer, stored, count, array.offset * stored.itemsize).reshape(shape)
