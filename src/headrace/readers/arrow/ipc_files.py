"""Arrow IPC files as a table reader reads them: their columns, in place or decoded.

Requires pyarrow.
"""

import mmap
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from headrace.arrays import Indices
from headrace.errors import ArgumentError
from headrace.readers.arrow.columns import columns_of_files, explained
from headrace.readers.arrow.decoding import decode
from headrace.readers.arrow.ipc_file import scan
from headrace.readers.arrow.table_reader import BlockValues, Tables
from headrace.readers.arrow.types import has_dictionary
from headrace.readers.arrow.values import Column, Wanted
from headrace.readers.shared.format_error import FormatError
from headrace.storage.storage import Storage

# Each takes a file descriptor.
_MOST_MAPS = 128


class IpcFiles(Tables):
    """The files of those names in a folder.

    Attributes:
        mapped: of each file, the columns that are read in place.
        decoded: of each file, those that are not, as they are compressed or dictionary-encoded.
    """

    def __init__(self, folder: Storage, names: list[str]) -> None:
        self.storage, self.names = folder, names
        self._files = [scan(folder.location(name)) for name in names]
        self.rows: list[Indices] = [file.rows for file in self._files]
        self.columns: list[list[Column]] = []
        self.mapped: list[list[Column]] = []
        self.decoded: list[list[Column]] = []
        self._maps: dict[int, _Map] = {}

    @property
    def column_names(self) -> list[str]:
        return list(self._files[0].schema.names)

    @property
    def block(self) -> int:
        """The rows in the largest record batch that is decoded as a whole; else 1."""
        return max(
            int(rows.max(initial=1)) if decoded else 1
            for rows, decoded in zip(self.rows, self.decoded, strict=True)
        )

    @property
    def row_nbytes(self) -> int:
        """The bytes of a row that are decoded, of the file where they are most."""
        return max(sum(column.nbytes for column in columns) for columns in self.decoded)

    def choose(self, wanted: Wanted, first_rows: Callable[[list[str]], pa.Table]) -> None:
        schemas = [file.schema for file in self._files]
        locations = [file.path for file in self._files]
        lengths = [int(rows.sum()) for rows in self.rows]
        self.columns = columns_of_files(wanted, schemas, locations, lengths, first_rows)
        for file, schema, length, columns in zip(
            self._files, schemas, lengths, self.columns, strict=True
        ):
            mapped: list[Column] = []
            decoded: list[Column] = []
            for column in columns if length else ():
                encoded = file.compressed or has_dictionary(schema.field(column.name).type)
                (decoded if encoded else mapped).append(column)
            if decoded and file.is_stream:
                raise ArgumentError(
                    f"columns must not be dictionary-encoded in a stream, but {decoded[0].name!r} "
                    f"is in {file.path!r}. Store its values, or write a file with "
                    "pyarrow.ipc.new_file."
                )
            self.mapped.append(mapped)
            self.decoded.append(decoded)

    def table(self, file: int, number: int, names: list[str]) -> pa.Table:
        found = self._files[file]
        with explained():
            if found.is_stream:
                batch = found.batches(found.map())[number]
            else:
                batch = found.batch(number, names)
            return pa.Table.from_batches([batch])

    def in_place(self, file: int, number: int) -> BlockValues:
        """The mapped columns of a record batch.

        Raises:
            FormatError: it is damaged, or not what it was.
            OSError: it can't be read.
        """
        found = self._maps.get(file)
        if found is None:
            # Threads may map it twice at first; one of the maps is then dropped again.
            with explained():
                data = self._files[file].map()
                batches = self._files[file].batches(data)
                found = _Map(data, [_values(batch, self.mapped[file]) for batch in batches])
            self._maps[file] = found
            if len(self._maps) > _MOST_MAPS:
                self._maps.pop(next(iter(self._maps)), None)
        # To touch a page that the file no longer has would kill the process.
        size = found.data.size()
        if size < self._files[file].size:
            raise FormatError(f"it was cut to {size} bytes of {self._files[file].size}")
        return found.batches[number]

    def decode(self, file: int, number: int) -> BlockValues:
        """The other columns of a record batch.

        Raises:
            FormatError: it is damaged, or not what it was.
            OSError: it can't be read.
        """
        names = list({column.name for column in self.decoded[file]})
        with explained():
            return _values(self._files[file].batch(number, names), self.decoded[file])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}


class _Map(NamedTuple):
    """A file in memory, and the columns of its record batches there."""

    data: mmap.mmap
    batches: list[BlockValues]


def _values(batch: pa.RecordBatch, columns: list[Column]) -> BlockValues:
    return {column.key: decode(batch.column(column.name), column) for column in columns}
