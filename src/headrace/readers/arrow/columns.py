"""Columns of Arrow data as samples: which types can be samples, and their memory as numpy arrays.

Requires pyarrow. Nothing is copied but what Arrow stores in another form than numpy: dictionaries.
What can't be a sample, such as a null, is found with the columns and raised with the sample.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.arguments import check_dtype, keeps_kind
from headrace.arrays import Array, DType, Indices
from headrace.errors import ArgumentError, SampleFormatError, bad_value
from headrace.readers.array import take_rows
from headrace.readers.reader import Spec
from headrace.readers.shared.named_arrays import Chosen

ARROW_ERRORS = (pa.ArrowException, OSError, EOFError)

_STORE_NUMBERS = "Store numbers, or read it with hr.GetItem."
_FAULTS = {
    1: "is null or holds a null, which numpy has no value for. Fill it before it is stored",
    2: "is a list of another length than that of sample 0",
}


class UnfitError(Exception):
    """A column can't be read as samples; the message says why, as "it ..."."""


class Column(NamedTuple):
    """A column, and what becomes of it.

    Attributes:
        key: of its array in a sample.
        name: in the file.
        shape: of a sample as it is stored.
        axes: of that shape, in the order that the sample has.
        stored: the dtype in the file.
        spec: of the sample.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    stored: DType
    spec: Spec

    @property
    def nbytes(self) -> int:
        """Bytes of one sample as it is stored."""
        return math.prod(self.shape) * self.stored.itemsize


class Values(NamedTuple):
    """The samples of a block: what they are, and which of them have which fault, if any has."""

    data: "Array | Bits"
    faults: npt.NDArray[np.uint8] | None


class Bits:
    """An array of bools as Arrow stores them, one bit each; indexed by an array of rows."""

    def __init__(self, data: Array, offset: int, shape: tuple[int, ...]) -> None:
        self._data, self._offset, self._shape = data, offset, shape[1:]
        self.nbytes = data.nbytes

    def __getitem__(self, rows: Indices) -> Array:
        width = math.prod(self._shape)
        at = rows[:, None] * width + (np.arange(width) + self._offset)
        bits = (self._data[at >> 3] >> (at & 7).astype(np.uint8)) & 1
        unpacked: Array = bits.view(np.bool_).reshape(len(rows), *self._shape)
        return unpacked


def choose_columns(
    schema: Any,
    chosen: Chosen,
    dtype: npt.DTypeLike | Mapping[str, npt.DTypeLike] | None,
    first_row: Callable[[list[str]], Any],
    file: str,
) -> list[Column]:
    """The columns to read.

    Args:
        schema: that of the first file.
        chosen: the columns asked for, as `check_chosen` gives them.
        dtype: what to convert them to; perhaps by key.
        first_row: gives the first row of columns, as a table, to tell the length of lists.
        file: the first file, for messages.

    Raises:
        ArgumentError: the file has no such columns, or can't give them.
        SampleFormatError: the first row does not tell the length of lists.
    """
    names = _names_by_key(schema.names, chosen, file)
    layouts, unfit = {}, {}
    for name in names.values():
        try:
            layouts[name] = _layout(schema.field(name).type)
        except UnfitError as error:
            unfit[name] = f"column {name!r} {error}"
    if unfit:
        fitting = [name for name in names.values() if name not in unfit]
        others = f" To leave it out, pass columns={fitting}." if fitting else ""
        raise ArgumentError(
            f"columns must be numbers of a fixed size, but in {file!r} "
            f"{'; '.join(unfit.values())}. {_STORE_NUMBERS}{others}"
        )
    listed = [name for name in layouts if None in layouts[name][0]]
    row = first_row(listed) if listed else {}
    if isinstance(dtype, Mapping) and dtype.keys() - names.keys():
        raise bad_value("dtype", dtype, f"a dtype by key for {', '.join(map(repr, names))}")
    columns = []
    for key, name in names.items():
        shape, axes, stored = layouts[name]
        if name in listed:
            try:
                shape = _shape_of_first(whole(row[name]))
            except UnfitError as error:
                raise SampleFormatError.at(
                    0, f"sample 0 can't be read: {file!r}, column {name!r}: {error}"
                ) from None
        wanted: Any = dtype.get(key) if isinstance(dtype, Mapping) else dtype
        inner: tuple[int, ...] = ()
        if wanted is not None and stored.kind == "V":
            target, inner = _inside(wanted, stored, name)
        else:
            target = stored if wanted is None else check_dtype(wanted)
            if not keeps_kind(stored, target):
                allowed = f"one that column {name!r}, of dtype {stored}, can become"
                raise bad_value("dtype", dtype, f"{allowed} without changing its kind")
        spec = Spec((*(shape[axis] for axis in axes), *inner), target)
        columns.append(Column(key, name, shape, axes, stored, spec))
    return columns


def fit_file(
    columns: list[Column], schema: Any, file: str, first: str, converts: bool
) -> list[Column]:
    """The columns as another file stores them.

    Raises:
        SampleFormatError: they would not be the same samples; names both files.
    """
    fitted = []
    for column in columns:
        if column.name not in schema.names:
            raise SampleFormatError(f"{file!r} has no column {column.name!r}, which {first!r} has")
        kind = schema.field(column.name).type
        try:
            shape, axes, stored = _layout(kind)
        except UnfitError as error:
            raise SampleFormatError(
                f"{file!r}: column {column.name!r} {error}; in {first!r} it can be read"
            ) from None
        if len(shape) == len(column.shape):
            pairs = zip(shape, column.shape, strict=True)
            shape = tuple(ours if theirs is None else theirs for theirs, ours in pairs)
        same = (shape, axes, stored) == (column.shape, column.axes, column.stored)
        as_other = (shape, axes) == (column.shape, column.axes) and converts
        if not same and not (as_other and keeps_kind(stored, column.spec.dtype)):
            raise SampleFormatError(
                f"column {column.name!r} must be the same in all files, but is {kind} in {file!r}, "
                f"and of shape {column.shape} and dtype {column.stored} in {first!r}. "
                "dtype= converts numbers"
            )
        fitted.append(column._replace(stored=stored))
    return fitted


def decode(array: Any, column: Column) -> Values:
    """The samples in an array of Arrow's, whose memory they share where they can.

    Raises:
        UnfitError: the array is not what the schema says it is.
    """
    n, width, depth = len(array), 1, 0
    faults = None
    while True:
        if array.null_count:
            nulls = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
            faults = _with_faults(faults, n, nulls // max(width, 1), 1)
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            if isinstance(kind, pa.FixedShapeTensorType):
                depth += len(kind.shape) - 1  # of one list
            array = array.storage
        elif pa.types.is_dictionary(kind):
            array.validate(full=True)  # its indices, which decoding trusts
            array = array.dictionary_decode()
        elif pa.types.is_fixed_size_list(kind):
            width *= kind.list_size
            array = _cut(array.values, array.offset * kind.list_size, n * width)
            depth += 1
        elif _is_list(kind):
            length = column.shape[depth]
            array, wrong = _equal_lists(array, length)
            faults = _with_faults(faults, n, wrong // max(width, 1), 2)
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


def copy_rows(out: Array, rows: Indices, values: Values, at: Indices) -> int | None:
    """Writes sample `at[i]` of the values into `out[rows[i]]`.

    `rows` are ascending. Returns the position in `at` of the first one that has a fault, or None.
    """
    if values.faults is not None and values.faults[at].any():
        return int(values.faults[at].argmax())
    if len(rows) == len(out) and isinstance(values.data, np.ndarray):
        take_rows(values.data, at, out)
    else:
        out[rows] = values.data[at]
    return None


def fault_of(values: Values, at: int) -> str:
    """What is wrong with the sample `at`."""
    assert values.faults is not None
    return _FAULTS[int(values.faults[at])]


def has_dictionary(kind: Any) -> bool:
    """Whether values of that type, or values in its lists, are dictionary-encoded."""
    if isinstance(kind, pa.BaseExtensionType):
        return has_dictionary(kind.storage_type)
    if pa.types.is_fixed_size_list(kind) or _is_list(kind):
        return has_dictionary(kind.value_type)
    return bool(pa.types.is_dictionary(kind))


def whole(column: Any) -> Any:
    """A column of a table as one array."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _names_by_key(present: list[str], chosen: Chosen, file: str) -> dict[str, str]:
    if isinstance(chosen, dict):
        names = chosen
    else:
        names = {name: name for name in (present if chosen is None else [chosen])}
    for name in names.values():
        if name not in present:
            raise bad_value("columns", name, f"among {', '.join(map(repr, present))} of {file!r}")
        if present.count(name) > 1:
            raise ArgumentError(
                f"columns must be told by their names, but {file!r} has {name!r} "
                f"{present.count(name)} times."
            )
    if not names:
        raise ArgumentError(f"columns must be at least one, but {file!r} has none.")
    return names


def _inside(wanted: Any, stored: DType, name: str) -> tuple[DType, tuple[int, ...]]:
    """Dtype and shape of the arrays whose bytes are in binaries of a fixed size."""
    try:
        whole = np.dtype(wanted)
    except (TypeError, ValueError):
        raise bad_value("dtype", wanted, "a dtype of numpy") from None
    if whole.itemsize != stored.itemsize:
        allowed = f"of {stored.itemsize} bytes, as each value of column {name!r}"
        raise bad_value("dtype", whole, allowed)
    base, shape = whole.subdtype or (whole, ())
    if not base.isnative:
        raise bad_value("dtype", whole, "of the machine's byte order, as nothing is swapped")
    return check_dtype(base), shape


def _layout(kind: Any) -> tuple[tuple[Any, ...], tuple[int, ...], DType]:
    """Shape of a sample as stored, with None for the length of lists; order of axes; dtype."""
    if isinstance(kind, pa.FixedShapeTensorType):
        _, _, dtype = _layout(kind.value_type)
        shape = tuple(kind.shape)
        return shape, tuple(kind.permutation or range(len(shape))), dtype
    if isinstance(kind, pa.BaseExtensionType):
        return _layout(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _layout(kind.value_type)
    if pa.types.is_fixed_size_list(kind) or _is_list(kind):
        shape, axes, dtype = _layout(kind.value_type)
        length = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        if length is not None and length < 0:
            raise UnfitError(f"is {kind}")
        return (length, *shape), (0, *(1 + axis for axis in axes)), dtype
    return (), (), _dtype_of(kind)


def _dtype_of(kind: Any) -> DType:
    types = pa.types
    if types.is_timestamp(kind):
        return np.dtype(f"M8[{kind.unit}]")
    if types.is_duration(kind):
        return np.dtype(f"m8[{kind.unit}]")
    if types.is_date(kind):
        return np.dtype("M8[D]" if types.is_date32(kind) else "M8[ms]")
    if types.is_fixed_size_binary(kind):
        return np.dtype(f"V{kind.byte_width}")
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        dtype: DType = np.dtype(kind.to_pandas_dtype())
        return dtype
    raise UnfitError(f"is {kind}")


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _shape_of_first(array: Any) -> tuple[int, ...]:
    """The shape of the first sample."""
    shape: list[int] = []
    array = array.slice(0, 1)
    while True:
        if isinstance(array.type, pa.FixedShapeTensorType):
            return (*shape, *array.type.shape)
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif pa.types.is_fixed_size_list(array.type) or _is_list(array.type):
            if not len(array) or array.null_count:
                raise UnfitError("its lists must tell the shape of all, but are null or empty")
            if _is_list(array.type):
                start, stop = array.offsets.to_numpy()[:2].tolist()
            else:
                start = array.offset * array.type.list_size
                stop = start + array.type.list_size
            shape.append(stop - start)
            array = _cut(array.values, start, stop - start).slice(0, 1)
        else:
            return tuple(shape)


def _equal_lists(array: Any, length: int) -> tuple[Any, Indices]:
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


def _cut(array: Any, start: int, length: int) -> Any:
    if not 0 <= start <= start + length <= len(array):
        raise UnfitError(f"ends after {len(array)} values of {start + length}")
    return array.slice(start, length)


def _with_faults(faults: Any, n: int, rows: Indices, fault: int) -> Any:
    """`faults`, with this one at rows that have none yet."""
    if not len(rows):
        return faults
    if faults is None:
        faults = np.zeros(n, np.uint8)
    faults[rows] = np.where(faults[rows] == 0, fault, faults[rows])
    return faults


def _leaf(array: Any, shape: tuple[int, ...], dtype: DType) -> "Array | Bits":
    """The numbers of an array of Arrow's, without a copy."""
    count = math.prod(shape)
    if len(array) != count:
        raise UnfitError(f"has {len(array)} values in place of {count}")
    if not count or not dtype.itemsize:
        return np.empty(shape, dtype)
    buffer = array.buffers()[1]
    if dtype == np.bool_:
        if (array.offset + count + 7) // 8 > buffer.size:
            raise UnfitError(f"ends after {buffer.size} bytes")
        return Bits(np.frombuffer(buffer, np.uint8), array.offset, shape)
    stored = np.dtype("i4") if dtype == "M8[D]" else dtype  # a conversion that copying does
    needed = (array.offset + count) * stored.itemsize
    if needed > buffer.size:
        raise UnfitError(f"ends after {buffer.size} bytes of {needed}")
    return np.frombuffer(buffer, stored, count, array.offset * stored.itemsize).reshape(shape)
