"""An Arrow IPC file, mapped into memory: where its record batches lie, without reading those.

Requires pyarrow. Its own memory maps ask the system to read ahead all that is looked at, which
would be whole files here; so these are Python's.
"""

import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headrace.arrays import Indices
from headrace.readers.arrow.columns import explained
from headrace.readers.shared.format_error import FormatError, opening
from headrace.storage.local.regular import check_regular, opener

_MAGIC = b"ARROW1"
_FIRST_MESSAGE = 8
_FEATHER_1 = b"FEA1"
# The length of the footer, and the magic bytes.
_END_BYTES = 4 + len(_MAGIC)
_BLOCK_BYTES = 24


class IpcFile(NamedTuple):
    """What is known of a file.

    Attributes:
        path: where it lies.
        size: in bytes.
        rows: the number of rows of each record batch.
        compressed: whether any of them is.
        is_stream: without the footer of a file, as `datasets` writes them.
    """

    path: str
    size: int
    rows: Indices
    compressed: bool
    is_stream: bool

    @property
    def schema(self) -> pa.Schema:
        source = _source(self.map())
        return pa.ipc.open_stream(source).schema if self.is_stream else _open(source).schema

    def map(self) -> mmap.mmap:
        """The file in memory; a file descriptor goes with it.

        Raises:
            FormatError: it has another size than before.
        """
        with open(self.path, "rb", buffering=0, opener=opener) as file:
            size = os.fstat(file.fileno()).st_size
            if size != self.size:
                raise FormatError(f"it has {size} bytes of {self.size}")
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)

    def batches(self, data: mmap.mmap) -> list[pa.RecordBatch]:
        """All record batches of a file that is not compressed, in the memory of its map."""
        if self.is_stream:
            batches = list(pa.ipc.open_stream(_source(data)))
        else:
            opened = _open(_source(data))
            batches = [opened.get_batch(i) for i in range(opened.num_record_batches)]
        if [len(batch) for batch in batches] != self.rows.tolist():
            raise FormatError("it is not what it was when the reader was made")
        for batch in batches:
            batch.validate()
        return batches

    def batch(self, number: int, names: list[str]) -> pa.RecordBatch:
        """These columns of one record batch of a file that is no stream."""
        source = _source(self.map())
        schema = _open(source).schema
        fields = [schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        batch = pa.ipc.open_file(source, options=options).get_batch(number)
        if len(batch) != self.rows[number]:
            raise FormatError("it is not what it was when the reader was made")
        batch.validate()
        return batch


def scan(path: str) -> IpcFile:
    """What is known of the file at `path` from its metadata.

    Raises:
        SampleNotFoundError: there is no such file.
        SampleFormatError: it is damaged, or in another format.
        StorageError: it can't be read.
    """
    with opening(path), explained():
        return _scanned(path)


def _scanned(path: str) -> IpcFile:
    status = os.stat(path)
    check_regular(path, status.st_mode)
    found = IpcFile(path, status.st_size, np.empty(0, np.int64), False, False)
    if not found.size:
        raise FormatError("it is empty")
    source = _source(found.map())
    start = bytes(source.read(_FIRST_MESSAGE))
    if start.startswith(_FEATHER_1):
        raise FormatError(
            "it is of version 1 of Feather. Write it anew with pyarrow.feather.write_feather"
        )
    is_stream = not start.startswith(_MAGIC)
    source.seek(0)
    messages = pa.ipc.MessageReader.open_stream(source) if is_stream else _in_footer(source)
    headers = list(_batch_headers(messages))
    rows = np.array([length for length, _ in headers], np.int64)
    compressed = any(compressed for _, compressed in headers)
    if rows.min(initial=0) < 0:
        raise FormatError("it has a record batch of less than no rows")
    if is_stream and compressed:
        raise FormatError(
            "it is a compressed stream, of which no part can be read by itself. Write it as a "
            "file, with pyarrow.ipc.new_file"
        )
    found = found._replace(rows=rows, compressed=compressed, is_stream=is_stream)
    _ = found.schema.names  # which are only decoded when they are asked for
    return found


def _open(source: pa.NativeFile) -> pa.RecordBatchFileReader:
    return pa.ipc.open_file(source)


def _source(data: mmap.mmap) -> pa.NativeFile:
    """A map as a file of pyarrow's."""
    return pa.BufferReader(pa.py_buffer(data))


def _in_footer(source: pa.NativeFile) -> Iterator[pa.Message]:
    """The messages of record batches that the footer of a file names.

    What else lies before and between them is not looked at: Polars begins files with something of
    its own.
    """
    expected = _open(source).num_record_batches
    size = source.size()
    source.seek(size - _END_BYTES)
    length = _unpacked("<i", memoryview(source.read(4)), 0)
    source.seek(size - _END_BYTES - length)
    starts = _Table.root(memoryview(source.read(length))).starts_of_blocks(3)
    if len(starts) != expected:
        raise FormatError(f"its footer names {len(starts)} record batches in place of {expected}")
    for start in starts:
        source.seek(start)
        yield pa.ipc.read_message(source)


def _batch_headers(messages: Iterable[pa.Message]) -> Iterator[tuple[int, bool]]:
    """The number of rows of each record batch, and whether it is compressed.

    pyarrow tells neither without decompressing it, so their headers are parsed here: tables of
    Flatbuffers, as Arrow's Message.fbs lays them out.
    """
    for message in messages:
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

    def starts_of_blocks(self, field: int) -> list[int]:
        """Where the blocks of a vector of them begin in the file, as Arrow's File.fbs lays it out.

        A block has 24 bytes: where it begins, and the lengths of its metadata and its body.
        """
        offset = self.offset(field)
        if offset is None:
            return []
        vector = offset + self._unpack("<I", offset)
        n = self._unpack("<I", vector)
        if n * _BLOCK_BYTES > len(self._data):
            raise FormatError("its footer is damaged")
        return [self._unpack("<q", vector + 4 + i * _BLOCK_BYTES) for i in range(n)]

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
