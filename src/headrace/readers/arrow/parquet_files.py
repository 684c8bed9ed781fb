"""Parquet files as a table reader reads them: their footers, and the columns of row groups.

Requires pyarrow.
"""

import copy
from collections.abc import Callable
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.arrays import Indices
from headrace.errors import FileMissingError, SampleNotFoundError
from headrace.readers.arrow.columns import columns_of_files, explained
from headrace.readers.arrow.decoding import decode, whole
from headrace.readers.arrow.fields import FieldPath, values_at
from headrace.readers.arrow.parquet_file import (
    Pieces,
    check_group,
    column_numbers,
    group_rows,
    opened,
    read_footers,
)
from headrace.readers.arrow.table_reader import BlockValues, Tables
from headrace.readers.arrow.values import Column, Wanted
from headrace.readers.shared.format_error import FormatError
from headrace.storage.coalesce import coalesce
from headrace.storage.storage import Request, Storage

# Columns that lie closer together are fetched in one piece.
_MOST_BETWEEN_BYTES = 2**14


class ParquetFiles(Tables):
    """The files of those names in a storage.

    Attributes:
        sizes: of each file, its bytes.
    """

    def __init__(self, storage: Storage, names: list[str]) -> None:
        self.storage, self.names = storage, names
        try:
            self.sizes = storage.sizes(names)
        except FileMissingError as error:
            raise SampleNotFoundError(str(error)) from None
        self._footers = read_footers(storage, names, self.sizes)
        self.rows: list[Indices] = [group_rows(footer) for footer in self._footers]
        self.columns: list[list[Column]] = []
        # Of each file, the columns of its own that make up the wanted ones.
        self._numbers: list[list[int]] = []
        self._checked = self._none_checked()

    def _none_checked(self) -> list[npt.NDArray[np.bool_]]:
        return [np.zeros(len(rows), np.bool_) for rows in self.rows]

    def __getstate__(self) -> dict[str, object]:
        # What was read is no part of what it is: by its pickle, `Cached` finds what it has kept.
        return {name: value for name, value in vars(self).items() if name != "_checked"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._checked = self._none_checked()

    @property
    def column_names(self) -> list[str]:
        return list(opened(b"", self._footers[0]).schema_arrow.names)

    @property
    def row_nbytes(self) -> int:
        """The bytes of a row; on average, where samples may have any length."""
        columns = self.columns[0]
        fixed = sum(column.nbytes for column in columns if not column.spec.ragged)
        names = [".".join(column.path) for column in columns if column.spec.ragged]
        if not names:
            return fixed
        stored: int = sum(
            footer.row_group(group).column(number).total_uncompressed_size
            for footer in self._footers
            for number in column_numbers(footer, names)
            for group in range(footer.num_row_groups)
        )
        return fixed + stored // max(1, sum(int(rows.sum()) for rows in self.rows))

    def choose(self, wanted: Wanted, first_rows: Callable[[list[FieldPath]], pa.Table]) -> None:
        schemas = [opened(b"", footer).schema_arrow for footer in self._footers]
        locations = [self.storage.location(name) for name in self.names]
        lengths = [int(rows.sum()) for rows in self.rows]
        self.columns = columns_of_files(wanted, schemas, locations, lengths, first_rows)
        self._number()

    def _number(self) -> None:
        names = self._column_names(0)
        self._numbers = [column_numbers(footer, names) for footer in self._footers]

    def only(self, keys: set[str]) -> Self:
        files = copy.copy(self)
        files.columns = [[one for one in columns if one.key in keys] for columns in self.columns]
        files._number()
        # Of fewer columns, which does not tell of the others.
        files._checked = self._none_checked()
        return files

    def table(self, file: int, number: int, paths: list[FieldPath]) -> pa.Table:
        return self._row_group(file, number, [".".join(path) for path in paths], {})

    def requests(self, file: int, number: int) -> list[Request]:
        """For the bytes of the columns of a row group.

        Raises:
            FormatError: the footer is damaged.
        """
        footer, size = self._footers[file], self.sizes[file]
        if not self._checked[file][number]:
            names = self._column_names(file)
            with explained():
                check_group(self.storage, self.names[file], size, footer, number, names)
            self._checked[file][number] = True
        group = footer.row_group(number)
        ranges = []
        for column in self._numbers[file]:
            chunk = group.column(column)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            ranges.append((start, start + chunk.total_compressed_size))
        if not all(0 <= start <= stop <= size for start, stop in ranges):
            raise FormatError("its footer names places that it does not have")
        starts, stops = np.array(ranges, np.int64).reshape(-1, 2).T
        files = np.full(len(ranges), file)
        joined = coalesce(files, starts, stops, most_between_bytes=_MOST_BETWEEN_BYTES)
        return [Request(self.names[file], one.start, one.stop) for one in joined]

    def decode(self, file: int, number: int, pieces: dict[int, memoryview]) -> BlockValues:
        """The columns of a row group.

        Args:
            file, number: of the row group.
            pieces: of the file, by where they begin: what `requests` ask for.

        Raises:
            FormatError: the row group is damaged.
            OSError: what is not in the pieces can't be read.
        """
        n = int(self.rows[file][number])
        table = self._row_group(file, number, self._column_names(file), pieces)
        if table.num_rows != n:
            raise FormatError(f"it has {table.num_rows} rows in place of {n}")
        with explained():
            return {
                column.key: decode(whole(values_at(table, column.path)), column)
                for column in self.columns[file]
            }

    def _row_group(
        self, file: int, number: int, names: list[str], pieces: dict[int, memoryview]
    ) -> pa.Table:
        source = Pieces(self.storage, self.names[file], self.sizes[file], pieces)
        with explained():
            parquet = opened(source, self._footers[file])
            return parquet.read_row_group(number, names, use_threads=False)

    def _column_names(self, file: int) -> list[str]:
        return list({".".join(column.path) for column in self.columns[file]})
