"""Arrow IPC files as a table reader reads them: their columns, in place or decoded.

Requires pyarrow.
"""

import copy
import mmap
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from headrace.arrays import Indices
from headrace.errors import ArgumentError
from headrace.readers.arrow.columns import columns_of_files, explained
from headrace.readers.arrow.decoding import decode
from headrace.readers.arrow.fields import FieldPath, type_at, values_at
from headrace.readers.arrow.ipc.file_lists import FileLists
from headrace.readers.arrow.ipc.ipc_file import scan
from headrace.readers.arrow.table_reader import BlockValues, Tables
from headrace.readers.arrow.types import is_encoded
from headrace.readers.arrow.values import Column, RaggedValues, Wanted
from headrace.readers.shared.format_error import FormatError
from headrace.storage.storage import Storage

# Each takes a file descriptor.
_MOST_MAPS = 128


class IpcFiles(Tables):
    """The files of those names in a folder.

    Attributes:
        mapped: of each file, the columns that are read in place.
        decoded: of each file, those that are not: compressed, dictionary-encoded, or views.
        maps_lists: whether samples of any length are among those that are mapped.
    """

    def __init__(self, folder: Storage, names: list[str]) -> None:
        self.storage, self.names = folder, names
        self._files = [scan(folder.location(name)) for name in names]
        self.rows: list[Indices] = [file.rows for file in self._files]
        self.columns: list[list[Column]] = []
        self.mapped: list[list[Column]] = []
        self.decoded: list[list[Column]] = []
        self.maps_lists = False
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
        nbytes = []
        for file, columns in zip(self._files, self.decoded, strict=True):
            nbytes.append(sum(column.nbytes for column in columns))
            if any(column.spec.ragged for column in columns):
                # How long lists are is not known before they are decoded; a file tells the least.
                nbytes[-1] += file.size // max(1, int(file.rows.sum()))
        return max(nbytes)

    def choose(self, wanted: Wanted, first_rows: Callable[[list[FieldPath]], pa.Table]) -> None:
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
                encoded = file.compressed or is_encoded(type_at(schema, column.path))
                (decoded if encoded else mapped).append(column)
            if decoded and file.is_stream:
                raise ArgumentError(
                    "columns must not be views or dictionary-encoded in a stream, but "
                    f"{decoded[0].name!r} is in {file.path!r}. Store its values, or write a file "
                    "with pyarrow.ipc.new_file."
                )
            self.maps_lists = self.maps_lists or any(one.spec.ragged for one in mapped)
            self.mapped.append(mapped)
            self.decoded.append(decoded)

    def only(self, keys: set[str]) -> Self:
        files = copy.copy(self)
        files.mapped, files.decoded = (
            [[one for one in columns if one.key in keys] for columns in of_files]
            for of_files in (self.mapped, self.decoded)
        )
        files._maps = {}
        return files

    def table(self, file: int, number: int, paths: list[FieldPath]) -> pa.Table:
        found = self._files[file]
        with explained():
            if found.is_stream:
                batch = found.batches(found.map())[number]
            else:
                batch = found.batch(number, list({path[0] for path in paths}))
            return pa.Table.from_batches([batch])

    def in_place(self, file: int, number: int) -> BlockValues:
        """The mapped columns of a record batch.

        Raises:
            FormatError: it is damaged, or not what it was.
            OSError: it can't be read.
        """
        return self._map(file).batches[number]

    def lists_in_place(self, file: int) -> dict[str, FileLists]:
        """The mapped columns of lists, of all record batches together; as `in_place`."""
        return self._map(file).lists if self.mapped[file] else {}

    def _map(self, file: int) -> "_Map":
        found = self._maps.get(file)
        if found is None:
            # Threads may map it twice at first; one of the maps is then dropped again.
            with explained():
                data = self._files[file].map()
                batches = self._files[file].batches(data)
                values = [_values(batch, self.mapped[file]) for batch in batches]
                found = _Map(data, values, _lists(data, values, self.mapped[file]))
            self._maps[file] = found
            for oldest in list(self._maps)[:-_MOST_MAPS]:  # as other threads may map meanwhile
                self._maps.pop(oldest, None)
        # To touch a page that the file no longer has would kill the process.
        size = found.data.size()
        if size < self._files[file].size:
            raise FormatError(f"it was cut to {size} bytes of {self._files[file].size}")
        return found

    def decode(self, file: int, number: int) -> BlockValues:
        """The other columns of a record batch.

        Raises:
            FormatError: it is damaged, or not what it was.
            OSError: it can't be read.
        """
        names = list({column.path[0] for column in self.decoded[file]})
        with explained():
            return _values(self._files[file].batch(number, names), self.decoded[file])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}


class _Map(NamedTuple):
    """A file in memory, the columns of its record batches there, and lists in all of them."""

    data: mmap.mmap
    batches: list[BlockValues]
    lists: dict[str, FileLists]


def _values(batch: pa.RecordBatch, columns: list[Column]) -> BlockValues:
    return {column.key: decode(values_at(batch, column.path), column) for column in columns}


def _lists(
    data: mmap.mmap, batches: list[BlockValues], columns: list[Column]
) -> dict[str, FileLists]:
    """The columns of lists by their keys, of those that can be read in all batches together."""
    file = np.frombuffer(data, np.uint8)
    found = {}
    for column in columns if batches else ():
        values = [batch[column.key] for batch in batches]
        lists = [each for each in values if isinstance(each, RaggedValues)]
        joined = FileLists.of(file, lists) if lists else None
        if joined is not None:
            found[column.key] = joined
    return found
