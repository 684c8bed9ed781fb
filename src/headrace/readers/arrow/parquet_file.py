"""One Parquet file, as pyarrow reads it: its footer, and pieces of it.

Requires pyarrow.
"""

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.arrays import Indices
from headrace.readers.arrow.columns import explained
from headrace.readers.shared.format_error import FormatError, bad_file
from headrace.storage.ranged_file import RangedFile
from headrace.storage.storage import Request, Storage

# Footers are mostly smaller; of a larger one the rest is fetched, too.
_FOOTER_BYTES = 2**16


class Pieces(RangedFile):
    """A file of which some pieces are in memory, as pyarrow reads files without copying."""

    def read_buffer(self, nbytes: int) -> pa.Buffer:
        return pa.py_buffer(self.view(nbytes))


class _ReachedError(Exception):
    """Data would be read."""


class _Unread(Pieces):
    """A file whose data must not be read."""

    def view(self, nbytes: int) -> memoryview:
        raise _ReachedError


def opened(
    source: Pieces | bytes, footer: pq.FileMetaData | None = None, buffer_size: int = 0
) -> pq.ParquetFile:
    """The file of these bytes; with a footer, of none but those that are asked for."""
    return pq.ParquetFile(
        pa.BufferReader(source) if isinstance(source, bytes) else pa.PythonFile(source, "r"),
        metadata=footer,
        buffer_size=buffer_size,
        pre_buffer=False,
        page_checksum_verification=True,
    )


def column_numbers(footer: pq.FileMetaData, names: list[str]) -> list[int]:
    """The numbers of the columns of numbers that make up the columns of those names."""
    wanted, schema = set(names), footer.schema

    def is_wanted(path: str) -> bool:  # by itself, or as a part of a column
        ends = [end for end, character in enumerate(path) if character == "."]
        return any(path[:end] in wanted for end in (*ends, None))

    return [n for n in range(footer.num_columns) if is_wanted(schema.column(n).path)]


def check_group(
    storage: Storage, name: str, size: int, footer: pq.FileMetaData, group: int, columns: list[str]
) -> None:
    """Raises what pyarrow does if the footer can't tell where the columns of a row group lie.

    To ask it for a column that it describes wrongly would end the process, as pyarrow's Python does
    not expect an error there. So they are opened for reading first, up to where data are needed.
    """
    unread = opened(_Unread(storage, name, size, {}), footer, buffer_size=1)
    with contextlib.suppress(_ReachedError):
        next(unread.iter_batches(1, [group], columns, use_threads=False), None)


def group_rows(footer: pq.FileMetaData) -> Indices:
    """The number of rows in each row group."""
    rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    return np.array(rows, np.int64)


def read_footers(storage: Storage, names: list[str], sizes: list[int]) -> list[pq.FileMetaData]:
    """What pyarrow makes of the ends of the files.

    Raises:
        SampleFormatError: a footer is damaged.
        StorageError: it can't be read.
    """
    footers: list[pq.FileMetaData] = [None] * len(names)
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


def _footer(end: bytes, location: str) -> pq.FileMetaData:
    try:
        with explained():
            footer = opened(end).metadata
            _ = column_numbers(footer, [])  # to decode the names
            rows = group_rows(footer)
        if rows.min(initial=0) < 0 or rows.sum() != footer.num_rows:
            raise FormatError(
                f"its row groups have {rows.sum()} rows in place of {footer.num_rows}"
            )
    except FormatError as error:
        raise bad_file(location, error) from None
    return footer
