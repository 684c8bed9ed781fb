"""Which types of Arrow's can be samples: of what shape, and of what dtype. Requires pyarrow."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headrace.arrays import DType
from headrace.readers.shared.format_error import FormatError


class Stored(NamedTuple):
    """How the samples of a column are stored.

    Attributes:
        shape: of a sample, with None for the length of lists that may have any.
        axes: of that shape, in the order that the sample has.
        dtype: of its numbers.
    """

    shape: tuple[int | None, ...]
    axes: tuple[int, ...]
    dtype: DType


def stored_as(kind: pa.DataType, ragged: bool = False) -> Stored:
    """How samples of that type are stored; a `FormatError` if it is none of a sample.

    Args:
        kind: the type.
        ragged: whether the first axis may have any length; strings and binaries are then bytes.
    """
    if ragged:
        inner = _unwrapped(kind)
        if is_bytes(inner):
            return Stored((None,), (0,), np.dtype(np.uint8))
        if not is_list(inner):
            raise FormatError(f"is {kind}, whose values all have one shape")
        kind = inner
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = tuple(kind.shape)
        axes = tuple(kind.permutation or range(len(shape)))
        return Stored(shape, axes, stored_as(kind.value_type).dtype)
    if isinstance(kind, pa.BaseExtensionType):
        return stored_as(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return stored_as(kind.value_type)
    if pa.types.is_fixed_size_list(kind) or is_list(kind):
        inner = stored_as(kind.value_type)
        length = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        if length is not None and length < 0:
            raise FormatError(f"is {kind}")
        axes = (0, *(1 + axis for axis in inner.axes))
        return Stored((length, *inner.shape), axes, inner.dtype)
    return Stored((), (), _dtype_of(kind))


def _dtype_of(kind: pa.DataType) -> DType:
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
    raise FormatError(f"is {kind}")


def is_list(kind: pa.DataType) -> bool:
    """Whether values of that type are lists of any length."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or is_list_of_views(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of that type are strings or binaries of any length."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or is_view(kind)
    )


def is_view(kind: pa.DataType) -> bool:
    """Whether values of that type are strings or binaries, and lie anywhere, in any order."""
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def is_list_of_views(kind: pa.DataType) -> bool:
    """Whether values of that type are lists whose elements lie anywhere, in any order."""
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def has_any_length(kind: pa.DataType) -> bool:
    """Whether the first axis of samples of that type may have any length."""
    inner = _unwrapped(kind)
    return is_list(inner) or is_bytes(inner)


def _unwrapped(kind: pa.DataType) -> pa.DataType:
    """What values of extension types and dictionaries are stored as."""
    while not isinstance(kind, pa.FixedShapeTensorType):
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind):
            kind = kind.value_type
        else:
            break
    return kind


def is_encoded(kind: pa.DataType) -> bool:
    """Whether values of that type, or values in its lists, are dictionary-encoded, or views."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_encoded(kind.storage_type)
    if is_list_of_views(kind):
        return True
    if pa.types.is_fixed_size_list(kind) or is_list(kind):
        return is_encoded(kind.value_type)
    return bool(pa.types.is_dictionary(kind) or is_view(kind))
