"""What the headers of record batches say. pyarrow only tells it of those that it decompresses."""

import struct
from collections.abc import Iterator

import pyarrow as pa

from headrace.readers.shared.format_error import FormatError


def batch_headers(source: pa.NativeFile) -> Iterator[tuple[int, bool]]:
    """The number of rows of each record batch of a stream, and whether it is compressed.

    They are tables of Flatbuffers, as Arrow's Message.fbs lays them out.
    """
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type == "record batch":
            header = _Table.root(memoryview(message.metadata)).table(2)
            yield header.int64(0), header.offset(3) is not None


class _Table:
    """A table of Flatbuffers: fields by their numbers."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at

    @classmethod
    def root(cls, data: memoryview) -> "_Table":
        return cls(data, _unpacked("<I", data, 0))

    def offset(self, field: int) -> int | None:
        """Where the field lies, if it is there."""
        fields = self._at - self._unpack("<i", self._at)
        entry = 4 + 2 * field
        if entry >= self._unpack("<H", fields):
            return None
        at = self._unpack("<H", fields + entry)
        return self._at + at if at else None

    def table(self, field: int) -> "_Table":
        offset = self.offset(field)
        if offset is None:
            raise FormatError("a record batch has no header")
        return _Table(self._data, offset + self._unpack("<I", offset))

    def int64(self, field: int) -> int:
        offset = self.offset(field)
        return 0 if offset is None else self._unpack("<q", offset)

    def _unpack(self, code: str, at: int) -> int:
        if at < 0:
            raise FormatError("a record batch has no header")
        return _unpacked(code, self._data, at)


def _unpacked(code: str, data: memoryview, at: int) -> int:
    try:
        value: int = struct.unpack_from(code, data, at)[0]
    except struct.error as error:
        raise FormatError(str(error)) from None
    return value
