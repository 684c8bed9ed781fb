"""The header of a .npy file, parsed without `ast` and without ever unpickling.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
numpy's own parser goes through `ast`, which can fail when several threads of CPython 3.11 parse at
once, and a header is untrusted input. This parser knows the few literals that a header may hold,
and scalars such as np.int64(4), which numpy 2 writes where they are in a shape, and does not read.
"""

import functools
import io
import math
import re
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from headrace.arrays import DType
from headrace.readers.shared.format_error import FormatError

# The longest header, with what precedes its text; and as much as almost any has.
MAX_START_BYTES = 12 + 65536
USUAL_START_BYTES = 1024

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 65536
_MAX_DEPTH = 16
_MAX_BYTES = 2**63 - 1
# One less than numpy's own limit, as a batch has an axis more.
_MAX_AXES = 63 if int(np.__version__.split(".")[0]) >= 2 else 31
_TOKEN = re.compile(
    r"[ \t\n\r]*(?:(?P<string>'[^'\\\x00-\x1f]*'|\"[^\"\\\x00-\x1f]*\")|(?P<int>0|[1-9][0-9]{0,19})"
    r"L?|np\.u?(?:int(?:8|16|32|64)|intc|long|longlong)\((?P<scalar>0|[1-9][0-9]{0,19})\)"
    r"|(?P<name>True|False)|np\.(?P<bool>True_|False_)|(?P<mark>[{}()\[\]:,]))"
)
# What kind of thing it is, and its text.
_Token: TypeAlias = tuple[str | None, str]
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class NpyLayout(NamedTuple):
    """What a header says: how the array lies in the file, and where its data begins."""

    dtype: DType
    shape: tuple[int, ...]
    fortran_order: bool
    data_offset_bytes: int

    @property
    def data_nbytes(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the header and the data."""
        return self.data_offset_bytes + self.data_nbytes


def read_header(file: BinaryIO | io.RawIOBase) -> bytes:
    """All bytes before the data of the .npy file that `file` stands at the beginning of."""
    start = _read_exactly(file, 8)
    if start[:6] != _MAGIC:
        raise FormatError(f"it begins with {start[:6]!r}, and a .npy file with {_MAGIC!r}")
    if start[6] not in (1, 2, 3) or start[7] != 0:
        raise FormatError(f"its format version is {start[6]}.{start[7]}; known are 1.0 to 3.0")
    length = _read_exactly(file, 2 if start[6] == 1 else 4)
    header_bytes = int.from_bytes(length, "little")
    if header_bytes > _MAX_HEADER_BYTES:
        raise FormatError(f"its header claims {header_bytes} bytes; at most {_MAX_HEADER_BYTES}")
    return start + length + _read_exactly(file, header_bytes)


# Thousands of files have few different headers.
@functools.lru_cache(maxsize=256)
def parse_header(header: bytes) -> NpyLayout:
    """The layout that the bytes of `read_header` describe."""
    version = header[6]
    try:
        text = header[10 if version == 1 else 12 :].decode("utf8" if version == 3 else "latin1")
    except UnicodeDecodeError:
        raise FormatError("its header is not text") from None
    if not text.startswith("{"):
        raise FormatError(f"its header begins with {text[:20]!r}, not with '{{'")
    fields = _parse_literal(text, has_longs=version < 3)
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise FormatError("its header does not have exactly descr, fortran_order and shape")
    shape = fields["shape"]
    if not isinstance(shape, tuple) or not all(type(length) is int for length in shape):
        raise FormatError(f"its shape is {shape!r}, not a tuple of ints")
    if type(fields["fortran_order"]) is not bool:
        raise FormatError(f"its fortran_order is {fields['fortran_order']!r}, not a bool")
    try:
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
    except Exception as error:  # numpy raises whatever its many parsers meet
        raise FormatError(f"its dtype {fields['descr']!r} is not known: {error}") from None
    if dtype.hasobject:
        raise FormatError("it holds pickled Python objects, which are never unpickled")
    if not dtype.itemsize or dtype.subdtype is not None:
        raise FormatError(f"its dtype {fields['descr']!r} is not one of a sample")
    # As numpy counts: axes of length zero don't make the others smaller.
    size = math.prod(length or 1 for length in shape) * dtype.itemsize
    if len(shape) > _MAX_AXES or size > _MAX_BYTES:
        raise FormatError(f"its shape {shape} is not one that arrays can have")
    return NpyLayout(dtype, shape, fields["fortran_order"], len(header))


def _read_exactly(file: BinaryIO | io.RawIOBase, size: int) -> bytes:
    data = file.read(size) or b""
    if len(data) < size:
        raise FormatError("it ends within its header")
    return data


def _parse_literal(text: str, has_longs: bool) -> object:
    """The value of a literal of strings, ints, bools, tuples, lists and dicts.

    Ints may end with an L, as Python 2 wrote them, if it `has_longs`.
    """
    tokens: list[_Token] = []
    at, end = 0, len(text.removesuffix("\n").rstrip(" "))  # as headers are padded
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or (match[0].endswith("L") and not has_longs):
            raise FormatError(f"its header is malformed at {text[at : at + 20]!r}")
        tokens.append((match.lastgroup, match.group(match.lastgroup or 0)))
        at = match.end()
    tokens.append(("end", "its end"))
    value, position = _parse_value(tokens, 0, 0)
    if tokens[position][0] != "end":
        raise FormatError(f"its header goes on with {tokens[position][1]!r} after its value")
    return value


def _parse_value(tokens: list[_Token], at: int, depth: int) -> tuple[object, int]:
    """The value that begins at token `at`, and the position of the token that follows it."""
    kind, text = tokens[at]
    if kind == "string":
        return text[1:-1], at + 1
    if kind in ("int", "scalar"):
        return int(text), at + 1
    if kind in ("name", "bool"):
        return text.startswith("True"), at + 1
    if text not in _CLOSING or depth == _MAX_DEPTH:
        raise FormatError(f"its header is malformed at {text!r}")
    closing = _CLOSING[text]
    items: list[Any] = []
    comma = False
    at += 1
    while tokens[at][1] != closing or tokens[at][0] != "mark":
        if items and not comma:
            raise FormatError(f"its header lacks a comma or {closing!r} before {tokens[at][1]!r}")
        item, at = _parse_value(tokens, at, depth + 1)
        if text == "{":
            if tokens[at] != ("mark", ":") or not isinstance(item, str):
                raise FormatError("its header has a dict without string keys")
            value, at = _parse_value(tokens, at + 1, depth + 1)
            item = (item, value)
        items.append(item)
        comma = tokens[at] == ("mark", ",")
        at += comma
    if text == "{":
        fields = dict(items)
        if len(fields) < len(items):
            raise FormatError("its header has a key twice")
        return fields, at + 1
    if text == "[":
        return items, at + 1
    # Without a comma, parentheses only group.
    return (items[0] if len(items) == 1 and not comma else tuple(items)), at + 1
