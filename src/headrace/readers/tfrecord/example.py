"""tf.train.Example: named lists of bytes, floats or ints, in the wire format of Protocol Buffers.

    Example   1: Features    Features  1: entries    entry  1: the name, 2: a Feature
    Feature   1: BytesList, 2: FloatList or 3: Int64List, each with 1: the values

Examples of one file are mostly alike: they have the same bytes, but for those of the values. Where
the values of one lay is kept; where another has the same bytes around them, they lie there, too.
"""

from collections.abc import Container, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from headrace.arrays import Array
from headrace.readers.shared.format_error import FormatError

Values: TypeAlias = list[bytes] | Array

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
# Of fewer bytes, a loop takes less time than numpy.
_LEAST_AS_ARRAY = 32
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
# Of so many lengths of Examples, layouts are kept.
_MOST_LAYOUTS = 64
_NO_EXAMPLE = "it is no tf.train.Example, or is cut short"


class _Feature(NamedTuple):
    """Where the values of a feature lie: pieces of bytes, and which kind of list they are in."""

    name: str
    kind: int
    pieces: list[tuple[int, int, int]]  # the wire type, and where the piece begins and ends


class _Layout(NamedTuple):
    """What Examples that are alike have in common."""

    features: list[_Feature]
    around: list[tuple[int, int, bytes]]

    def fits(self, data: bytes) -> bool:
        """Whether an Example of the same length has the same bytes around its values."""
        return all(data[start:stop] == same for start, stop, same in self.around)


class ExampleParser:
    """Parses Examples. Threads may use it at once.

    Args:
        wanted: the names of the features to decode; of all others, there is an empty list. Default:
            all.
    """

    def __init__(self, wanted: Container[str] | None = None) -> None:
        self._wanted = wanted
        # By the length of an Example; None where there was one.
        self._layouts: dict[int, _Layout | None] = {}

    def features(self, data: bytes) -> dict[str, Values]:
        """The features of an Example by name: a list of bytes, or a flat array, float32 or int64.

        Raises:
            FormatError: it is not a tf.train.Example.
        """
        layout = self._layouts.get(len(data))
        if layout is None or not layout.fits(data):
            found = _found(data)
            if all(map(_ends_are_told, found)):
                if len(data) in self._layouts:
                    self._layouts[len(data)] = _Layout(found, _around(data, found))
                elif len(self._layouts) < _MOST_LAYOUTS:
                    self._layouts[len(data)] = None
        else:
            found = layout.features
        wanted = self._wanted
        return {
            one.name: _values(data, one) if wanted is None or one.name in wanted else []
            for one in found
        }


def _ends_are_told(feature: _Feature) -> bool:
    """Whether the bytes around its values say where they end, not those of unpacked ints."""
    return all(wire != _VARINT for wire, _, _ in feature.pieces)


def _found(data: bytes) -> list[_Feature]:
    """The features of an Example, sorted, as writers have them in any order."""
    features: dict[str, _Feature] = {}
    for number, wire, start, stop in _fields(data, 0, len(data)):
        for entry in _fields(data, start, stop) if (number, wire) == (1, _BYTES) else ():
            if entry[:2] != (1, _BYTES):
                continue
            name, value = "", (0, 0)
            for part, wire, begin, end in _fields(data, *entry[2:]):
                if (part, wire) == (1, _BYTES):
                    name = data[begin:end].decode("utf-8", "replace")
                elif (part, wire) == (2, _BYTES):
                    value = begin, end
            features[name] = _Feature(name, *_pieces(data, *value))
    return [features[name] for name in sorted(features)]


def _pieces(data: bytes, start: int, stop: int) -> tuple[int, list[tuple[int, int, int]]]:
    """The kind of the list of a Feature, and where its values lie."""
    kind, pieces = 0, []
    for number, wire, begin, end in _fields(data, start, stop):
        if number in (_BYTES_LIST, _FLOAT_LIST, _INT64_LIST) and wire == _BYTES:
            kind = number
            pieces = [field[1:] for field in _fields(data, begin, end) if field[0] == 1]
    return kind, pieces


def _around(data: bytes, features: list[_Feature]) -> list[tuple[int, int, bytes]]:
    """All that is not in a piece."""
    pieces = sorted(piece[1:] for feature in features for piece in feature.pieces)
    starts = [0, *(stop for _, stop in pieces)]
    stops = [*(start for start, _ in pieces), len(data)]
    return [(a, b, data[a:b]) for a, b in zip(starts, stops, strict=True)]


def _values(data: bytes, feature: _Feature) -> Values:
    _, kind, pieces = feature
    if kind == _BYTES_LIST:
        return [data[start:stop] for _, start, stop in pieces]
    if kind == _FLOAT_LIST:
        return _floats(data, pieces)
    if kind == _INT64_LIST:
        parts = [
            _ints(data[start:stop]) for wire, start, stop in pieces if wire in (_BYTES, _VARINT)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts])
    return np.empty(0, np.bool_)  # without values it has no kind, and any dtype will do


def _floats(data: bytes, pieces: list[tuple[int, int, int]]) -> Array:
    wanted = [(start, stop) for wire, start, stop in pieces if wire in (_BYTES, _FIXED_32)]
    if any((stop - start) % 4 for start, stop in wanted):
        raise FormatError("a list of floats is cut short")
    if len(wanted) == 1:
        ((start, stop),) = wanted
        return np.frombuffer(data, "<f4", (stop - start) // 4, start)
    return np.frombuffer(b"".join(data[start:stop] for start, stop in wanted), "<f4")


def _ints(data: bytes) -> Array:
    """The varints in the data."""
    if len(data) < _LEAST_AS_ARRAY:
        found, at = [], 0
        while at < len(data):
            value, at = _varint(data, at, len(data))
            found.append(value)
        return np.array(found, np.uint64).view(np.int64)
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


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The number and the wire type of each field in a part, and where its value lies."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            nbytes, at = _varint(data, at, end)
        elif wire == _VARINT:
            nbytes = _varint(data, at, end)[1] - at
        elif wire == _FIXED_32:
            nbytes = 4
        elif wire == _FIXED_64:
            nbytes = 8
        else:
            raise FormatError(_NO_EXAMPLE)
        if not number or at + nbytes > end:
            raise FormatError(_NO_EXAMPLE)
        yield number, wire, at, at + nbytes
        at += nbytes


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    value = 0
    for k in range(min(_MOST_VARINT_BYTES, end - at)):
        byte = data[at + k]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at + k + 1
    raise FormatError(_NO_EXAMPLE)
