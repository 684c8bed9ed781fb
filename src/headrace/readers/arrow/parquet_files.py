"""Parquet files where they lie: which there are, their footers, and pieces of them.

Requires pyarrow.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.arrays import Indices
from headrace.errors import (
    ArgumentError,
    FileMissingError,
    SampleFormatError,
    SampleNotFoundError,
)
from headrace.readers.arrow.columns import ARROW_ERRORS
from headrace.readers.shared.names import check_names
from headrace.storage.opening import Root, is_url, open_storage
from headrace.storage.ranged_file import RangedFile
from headrace.storage.storage import Request, Storage

SUFFIXES = (".parquet", ".pq")
# Footers are mostly smaller; of a larger one the rest is fetched, too.
_FOOTER_BYTES = 2**16


class Pieces(RangedFile):
    """A file of which some pieces are in memory, as pyarrow reads files without copying."""

    def read_buffer(self, nbytes: int) -> Any:
        return pa.py_buffer(self.view(nbytes))


class _ReachedError(Exception):
    """Data would be read."""


class Unread(Pieces):
    """A file whose data must not be read."""

    def view(self, nbytes: int) -> memoryview:
        raise _ReachedError


def parquet_file(source: Pieces | bytes, footer: Any = None, buffer_size: int = 0) -> Any:
    opened = pa.BufferReader(source) if isinstance(source, bytes) else pa.PythonFile(source, "r")
    return pq.ParquetFile(
        opened,
        metadata=footer,
        buffer_size=buffer_size,
        pre_buffer=False,
        page_checksum_verification=True,
    )


def leaves(footer: Any, names: list[str]) -> list[int]:
    """The numbers of the columns of numbers that make up the columns of those names."""
    paths = [footer.schema.column(number).path for number in range(footer.num_columns)]
    return [
        number
        for number, path in enumerate(paths)
        if path in names or any(path.startswith(f"{name}.") for name in names)
    ]


def check_group(unread: Unread, footer: Any, group: int, columns: list[str]) -> None:
    """Raises one of `ARROW_ERRORS` if the footer can't tell where the columns of a row group lie.

    To ask it for a column that it describes wrongly would end the process, as pyarrow's Python does
    not expect an error there. So they are opened for reading first, up to where data are needed.
    """
    opened = parquet_file(unread, footer, buffer_size=1)
    with contextlib.suppress(_ReachedError):
        next(opened.iter_batches(1, [group], columns, use_threads=False), None)


def open_files(root: Root, names: Iterable[str] | None) -> tuple[Storage, list[str]]:
    """The storage, and the names of the files in it."""
    if names is None and not isinstance(root, Storage):
        path = os.fspath(root)
        far = is_url(path)
        if path.endswith(SUFFIXES) if far else os.path.isfile(path):
            folder, _, name = (path if far else os.path.abspath(path)).rpartition("/")
            return open_storage(folder), [name]
        if path.endswith(SUFFIXES) and not os.path.exists(path):
            raise SampleNotFoundError(f"there is no file {path!r}")
    storage = open_storage(root)
    if names is not None:
        return storage, check_names(names)
    found = storage.names(SUFFIXES)
    if not found:
        raise ArgumentError(
            f"root must be a file, or contain {' or '.join(SUFFIXES)} files, but "
            f"{storage.root!r} has none."
        )
    return storage, found


def file_sizes(storage: Storage, names: list[str]) -> list[int]:
    try:
        return storage.sizes(names)
    except FileMissingError as error:
        raise SampleNotFoundError(str(error)) from None


def read_footers(storage: Storage, names: list[str], sizes: list[int]) -> list[Any]:
    """What pyarrow makes of the ends of the files."""
    footers: list[Any] = [None] * len(names)
    wanted = {file: min(size, _FOOTER_BYTES) for file, size in enumerate(sizes)}
    while wanted:
        files, longer = list(wanted), {}
        requests = [Request(names[file], sizes[file] - wanted[file], sizes[file]) for file in files]
        for position, data in storage.fetch(requests):
            file = files[position]
            needed = int.from_bytes(data[-8:-4], "little") + 8
            if len(data) < needed <= sizes[file] and bytes(data[-4:]) == b"PAR1":
                longer[file] = needed
            else:
                footers[file] = _footer(bytes(data), storage.location(names[file]))
        wanted = longer
    return footers


def _footer(end: bytes, path: str) -> Any:
    try:
        footer = parquet_file(end).metadata
        _ = leaves(footer, [])  # to decode the names
    except (*ARROW_ERRORS, UnicodeDecodeError) as error:
        raise SampleFormatError(f"{path!r} can't be read: {error}") from None
    rows = group_rows(footer)
    if rows.min(initial=0) < 0 or rows.sum() != footer.num_rows:
        raise SampleFormatError(
            f"{path!r} can't be read: its row groups have {rows.sum()} rows in place of "
            f"{footer.num_rows}"
        )
    return footer


def group_rows(footer: Any) -> Indices:
    """The number of rows in each row group."""
    rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    return np.array(rows, np.int64)
