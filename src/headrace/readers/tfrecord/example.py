"""tf.train.Example: named lists of bytes, floats or ints, in the wire format of Protocol Buffers.

Example   1: Features    Features  1: entries    entry  1: the name, 2: a Feature
Feature   1: BytesList, 2: FloatList or 3: Int64List, each with 1: the values
"""

from collections.abc import Container, Iterator
from typing import TypeAlias

import numpy as np

from headrace.arrays import Array
from headrace.readers.shared.format_error import FormatError

Values: TypeAlias = list[bytes] | Array

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
# Of fewer bytes, a loop takes less time than numpy.
_LEAST_AS_ARRAY = 32
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def features(data: bytes, wanted: Container[str] | None = None) -> dict[str, Values]:
    """The features of an Example by name: a list of bytes, or a flat array, float32 or int64.

    Args:
        data: the Example.
        wanted: which to decode; of all others, there is an empty list. Default: all.

    Raises:
        FormatError: it is not a tf.train.Example.
    """
    found: dict[str, Values] = {}
    for number, features_ in _messages(data):
        for entry_number, entry in _messages(features_) if number == 1 else ():
            if entry_number != 1:
                continue
            name, feature = "", b""
            for part_number, part in _messages(entry):
                if part_number == 1:
                    name = part.decode("utf-8", "replace")
                elif part_number == 2:
                    feature = part
            found[name] = _values(feature) if wanted is None or name in wanted else []
    return dict(sorted(found.items()))  # writers have them in any order


def _values(feature: bytes) -> Values:
    # Without values it has no kind, and any dtype will do.
    values: Values = np.empty(0, np.bool_)
    for kind, listed in _messages(feature):
        if kind == _BYTES_LIST:
            values = [value for number, value in _messages(listed) if number == 1]
        elif kind == _FLOAT_LIST:
            values = _floats(listed)
        elif kind == _INT64_LIST:
            values = _ints(listed)
    return values


def _floats(data: bytes) -> Array:
    parts = []
    for number, wire, value in _fields(data):
        if number == 1 and wire in (_BYTES, _FIXED_32):
            assert isinstance(value, bytes)
            if len(value) % 4:
                raise FormatError("a list of floats is cut short")
            parts.append(value)
    return np.frombuffer(b"".join(parts), "<f4").astype(np.float32, copy=False)


def _ints(data: bytes) -> Array:
    parts: list[Array] = []
    for number, _, value in _fields(data):
        if number == 1:
            parts.append(_packed(value) if isinstance(value, bytes) else _signed([value]))
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts])


def _packed(data: bytes) -> Array:
    """The varints in the data."""
    if len(data) < _LEAST_AS_ARRAY:
        found, at = [], 0
        while at < len(data):
            value, at = _varint(data, at)
            found.append(value)
        return _signed(found)
    code = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(code < 128)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1 if len(ends) else np.empty(0, np.int64)
    if code[-1] >= 128 or lengths.max() > _MOST_VARINT_BYTES:
        raise FormatError("a list of ints is cut short")
    values = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        rows = np.flatnonzero(lengths > k) if k else slice(None)
        bits = (code[starts[rows] + k] & 127).astype(np.uint64)
        values[rows] |= bits << np.uint64(7 * k)
    return values.view(np.int64)


def _signed(values: list[int]) -> Array:
    return np.array(values, np.uint64).view(np.int64)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and bytes of each field that has bytes."""
    for number, wire, value in _fields(data):
        if wire == _BYTES:
            assert isinstance(value, bytes)
            yield number, value


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The number, the wire type and the value of each field."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            nbytes, at = _varint(data, at)
        elif wire in (_FIXED_64, _FIXED_32):
            nbytes = 8 if wire == _FIXED_64 else 4
        else:
            raise FormatError("it is no tf.train.Example")
        if not number or at + nbytes > end:
            raise FormatError("it is no tf.train.Example, or is cut short")
        yield number, wire, data[at : at + nbytes]
        at += nbytes


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    value = 0
    for k in range(_MOST_VARINT_BYTES):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise FormatError("it is no tf.train.Example, or is cut short")
