"""tf.train.Example: named lists of bytes, floats or ints, in the wire format of Protocol Buffers.

    Example   1: Features    Features  1: entries    entry  1: the name, 2: a Feature
    Feature   1: BytesList, 2: FloatList or 3: Int64List, each with 1: the values

A tf.train.SequenceExample has its context where an Example has its features, and feature lists:

    SequenceExample  1: Features, 2: FeatureLists    FeatureLists  1: entries
    entry            1: the name, 2: a FeatureList   FeatureList   1: a Feature for each step

Examples of one file are mostly alike: they have the same bytes, but for those of the values. Where
the values of one lay is kept; where another has the same bytes around them, they lie there, too.
"""

from collections.abc import Container, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from headrace.arrays import Array, Indices
from headrace.readers.shared.format_error import FormatError

# A list of bytes, or a flat array.
Values: TypeAlias = list[bytes] | Array


class Steps(NamedTuple):
    """A feature list: the values of all its steps, one after another, and how many each has."""

    values: Values
    counts: Indices

    def each(self) -> list[Values]:
        """The values of each step."""
        stops = np.cumsum(self.counts).tolist()
        return [self.values[a:b] for a, b in zip([0, *stops], stops, strict=False)]


_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
# Of fewer bytes, a loop takes less time than numpy.
_LEAST_AS_ARRAY = 32
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_FEATURES, _FEATURE_LISTS = 1, 2
# Bytes of a number that goes on with the next.
_CONTINUED = bytes(range(128, 256))
# Of so many lengths of Examples, layouts are kept.
_MOST_LAYOUTS = 64
_CUT_INTS = "a list of ints is cut short"
_NO_EXAMPLE = "it is no tf.train.Example or SequenceExample, or is cut short"


class _Feature(NamedTuple):
    """Where the values of a feature lie: pieces of bytes, and which kind of list they are in.

    Of a feature list, `steps` are the numbers of pieces of each step.
    """

    name: str
    kind: int
    pieces: list[tuple[int, int, int]]  # the wire type, and where the piece begins and ends
    steps: list[int] | None = None


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

    def __reduce__(self) -> tuple[object, ...]:  # without what it has met
        return ExampleParser, (self._wanted,)

    def features(self, data: bytes) -> dict[str, Values | Steps]:
        """The features of an Example by name: a list of bytes, or a flat array, float32 or int64.

        Of a SequenceExample, the context and the feature lists, these as `Steps`.

        Raises:
            FormatError: it is neither of them.
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
    lists: dict[str, _Feature] = {}
    for number, wire, start, stop in _fields(data, 0, len(data)):
        if (number, wire) == (_FEATURES, _BYTES):
            for name, begin, end in _entries(data, start, stop):
                features[name] = _Feature(name, *_pieces(data, begin, end))
        elif (number, wire) == (_FEATURE_LISTS, _BYTES):
            for name, begin, end in _entries(data, start, stop):
                lists[name] = _list(data, name, begin, end)
    for name in features.keys() & lists.keys():
        raise FormatError(f"it has {name!r} in its context and in its feature lists. Use decode=")
    found = features | lists
    return [found[name] for name in sorted(found)]


def _entries(data: bytes, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
    """The name of each entry in a part, and where its value lies."""
    for entry in _fields(data, start, stop):
        if entry[:2] != (1, _BYTES):
            continue
        name, value = "", (0, 0)
        for part, wire, begin, end in _fields(data, *entry[2:]):
            if (part, wire) == (1, _BYTES):
                name = data[begin:end].decode("utf-8", "replace")
            elif (part, wire) == (2, _BYTES):
                value = begin, end
        yield name, *value


def _list(data: bytes, name: str, start: int, stop: int) -> _Feature:
    """The feature list of that name."""
    steps = [
        _pieces(data, begin, end)
        for number, wire, begin, end in _fields(data, start, stop)
        if (number, wire) == (1, _BYTES)
    ]
    kinds = {kind for kind, pieces in steps if pieces}
    if len(kinds) > 1:
        raise FormatError(f"the steps of feature list {name!r} have values of several kinds")
    all_pieces = [piece for _, pieces in steps for piece in pieces]
    return _Feature(name, max(kinds, default=0), all_pieces, [len(pieces) for _, pieces in steps])


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


def _values(data: bytes, feature: _Feature) -> Values | Steps:
    _, kind, pieces, steps = feature
    if steps is None:
        return _of_pieces(data, kind, pieces)
    of_pieces = np.array([_count(data, kind, *piece) for piece in pieces], np.int64)
    ends = np.cumsum(np.array([0, *steps], np.int64))
    totals = np.concatenate([[0], np.cumsum(of_pieces)])
    return Steps(_of_pieces(data, kind, pieces), np.diff(totals[ends]))


def _count(data: bytes, kind: int, wire: int, start: int, stop: int) -> int:
    """The number of values in a piece, each of which lies in it as a whole."""
    if kind == _FLOAT_LIST:
        return (stop - start) // 4 if wire in (_BYTES, _FIXED_32) else 0
    if kind == _BYTES_LIST:
        return 1
    return len(data[start:stop].translate(None, _CONTINUED)) if wire in (_BYTES, _VARINT) else 0


def _of_pieces(data: bytes, kind: int, pieces: list[tuple[int, int, int]]) -> Values:
    if kind == _BYTES_LIST:
        return [data[start:stop] for _, start, stop in pieces]
    if kind == _FLOAT_LIST:
        return _floats(data, pieces)
    if kind == _INT64_LIST:
        parts = [data[start:stop] for wire, start, stop in pieces if wire in (_BYTES, _VARINT)]
        if any(part[-1] >= 128 for part in parts if part):
            raise FormatError(_CUT_INTS)
        return _ints(parts[0] if len(parts) == 1 else b"".join(parts))
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
        raise FormatError(_CUT_INTS)
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
