"""TextTable: columns of a CSV file or of a frame of pandas, without an object for each cell."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_path
from headrace.arrays import Array, Indices
from headrace.errors import ArgumentError, bad_type, unreadable
from headrace.readers.shared.frames import has_default_index, is_frame
from headrace.storage.local.regular import opener

Table: TypeAlias = Any  # the path of a CSV file, or a DataFrame

_MOST_LISTED = 8
_OTHER_DELIMITERS = (";", "\t", "|")
# Up to here, float64 has all ints.
_EXACT_INTS = 2**53
# What parts the values of a cell that is a list: a character for this, in no one's text.
SEVERAL = "\x1f"


class TextTable:
    """The columns of a table as text, of which no cell is interpreted.

    A CSV file has the names of its columns in its first line, is in UTF-8, and has as many cells in
    each line; lines without any are passed over, and so are spaces before a cell.

    Args:
        table: the path of a CSV file, or a DataFrame.
        columns: those to keep, each with the argument of the reader that names it.
        delimiter: between the cells of a CSV file.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such column, it is
            no such table, or a row is not as long as the first line.
        StorageError: (an OSError) the file can't be read.
    """

    def __init__(self, table: Table, columns: Mapping[str, str], delimiter: str = ",") -> None:
        self._lines: Indices | None = None
        self._index: npt.NDArray[np.str_] | None = None
        if is_frame(table) and hasattr(table, "columns"):
            self.name = "table"
            places = _places(list(map(str, table.columns)), columns, self.name)
            cells = [_texts(table.iloc[:, at]) for at in places]
            if not has_default_index(table):
                self._index = _array([str(label) for label in table.index])
        elif isinstance(table, str | os.PathLike):
            self.name = check_path("table", table)
            cells, lines = _of_csv(self.name, columns, delimiter)
            self._lines = np.array(lines, np.int64)
        else:
            raise bad_type("table", table, "the path of a CSV file, or a DataFrame of pandas")
        # Of each column the texts that differ, and which of them each row has.
        self._columns = {name: _distinct(of) for name, of in zip(columns, cells, strict=True)}
        if not len(self):
            raise ArgumentError(f"table must have rows, but {self.name!r} has none.")

    def __len__(self) -> int:
        _, which = next(iter(self._columns.values()))
        return len(which)

    def __getitem__(self, column: str) -> npt.NDArray[np.str_]:
        """The cells of a column; "" where there is none."""
        texts, which = self._columns[column]
        return texts[which]

    def row(self, number: int) -> str:
        """How a row is named in errors."""
        if self._lines is not None:
            return f"line {self._lines[number]} of {self.name!r}"
        if self._index is not None:
            return f"row {number} of table, which is {str(self._index[number])!r},"
        return f"row {number} of table"

    def chosen(self, rows: Indices, columns: Sequence[str]) -> "TextTable":
        """The table of these rows and columns alone; of no columns, it only names its rows."""
        other = TextTable.__new__(TextTable)
        other.name = self.name
        every = ((name, *self._columns[name]) for name in columns)
        other._columns = {name: (texts, which[rows]) for name, texts, which in every}
        other._lines = None if self._lines is None else self._lines[rows]
        other._index = None if self._index is None else self._index[rows]
        return other

    def numbers(self, column: str) -> Array:
        """The cells of a column as float64.

        Raises:
            ArgumentError: one is none, which names its row.
        """
        cells = self[column]
        try:
            numbers = cells.astype(np.float64)
        except ValueError:
            numbers = np.full(len(cells), np.nan)
        if np.isfinite(numbers).all():
            return numbers
        for row, cell in enumerate(cells.tolist()):
            try:
                good = np.isfinite(float(cell))
            except ValueError:
                good = False
            if not good:
                raise ArgumentError(
                    f"column {column!r} must have a finite number in each row, but "
                    f"{self.row(row)} has {cell.replace(SEVERAL, ', ')!r}."
                )
        return np.array(list(map(float, cells.tolist())))

    def check_filled(self, column: str, filled: npt.NDArray[np.bool_] | bool = True) -> None:
        """Raises an ArgumentError that names the first row without a cell in this column.

        Args:
            filled: which rows have something in their cells; all that are not empty, by default.
        """
        empty = np.flatnonzero(~(filled & (self[column] != "")))
        if len(empty):
            raise ArgumentError(
                f"column {column!r} must have a value in each row, but {self.row(int(empty[0]))} "
                f"has none{_and_more(len(empty))}."
            )


def _and_more(count: int) -> str:
    return f", and {count - 1} others" if count > 1 else ""


def _array(cells: Sequence[str]) -> npt.NDArray[np.str_]:
    return np.array(cells, np.str_) if cells else np.empty(0, "U1")


def _distinct(cells: Sequence[str]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int32]]:
    numbers: dict[str, int] = {}
    which = np.array([numbers.setdefault(cell, len(numbers)) for cell in cells], np.int32)
    return _array(list(numbers)), which


def _texts(column: Any) -> list[str]:
    """The cells of a column of a frame.

    Ints that pandas has made floats, as some are missing, are as they were.
    """
    cells = column.tolist()
    texts = list(map(_text, cells))
    if getattr(column.dtype, "kind", "") != "f":
        return texts
    numbers = [float(cell) if text else 0.0 for cell, text in zip(cells, texts, strict=True)]
    if not all(number.is_integer() and abs(number) < _EXACT_INTS for number in numbers):
        return texts
    return [text and str(int(number)) for text, number in zip(texts, numbers, strict=True)]


def _text(cell: object) -> str:
    """A cell of a frame: "" for None, NaN and pandas' NA; of a list, with `SEVERAL` in between.

    One in which something is missing is "", too.
    """
    if isinstance(cell, np.ndarray):  # as lists in Parquet become
        cell = cell.tolist()
    if isinstance(cell, list | tuple | set):
        if any(map(_is_missing, cell)):
            return ""
        return SEVERAL.join(map(str, sorted(cell) if isinstance(cell, set) else cell))
    return "" if _is_missing(cell) else str(cell)


def _is_missing(cell: object) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell


def _of_csv(
    path: str, columns: Mapping[str, str], delimiter: str
) -> tuple[list[list[str]], list[int]]:
    """The cells of the wanted columns, and the line of each row."""
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise bad_type("delimiter", delimiter, "a single character, such as ','")
    cells: list[list[str]] = [[] for _ in columns]
    lines: list[int] = []
    try:
        # Such as Excel's files begin with a byte order mark, which is no part of a name.
        with open(path, newline="", encoding="utf-8-sig", opener=opener) as file:
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            header = next(_rows(path, rows), None)
            if header is None:
                raise ArgumentError(f"table must have a line of names, but {path!r} is empty.")
            places = _places(header, columns, path)
            for row in _rows(path, rows):
                if len(row) != len(header):
                    raise ArgumentError(
                        f"line {rows.line_num} of {path!r} must have {len(header)} cells, as the "
                        f"first line has, but has {len(row)}."
                    )
                lines.append(rows.line_num)
                for column, place in zip(cells, places, strict=True):
                    column.append(row[place])
    except UnicodeDecodeError as error:
        raise ArgumentError(f"table must be in UTF-8, but {path!r} is not: {error}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    return cells, lines


def _rows(path: str, rows: Any) -> Iterator[list[str]]:
    """Those with cells; an error of the csv module names the line."""
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ArgumentError(f"line {rows.line_num} of {path!r} is no CSV: {error}.") from None
        if row is None:
            return
        if row:
            yield row


def _places(header: list[str], columns: Mapping[str, str], table: str) -> list[int]:
    """Where the wanted columns are."""
    for column, argument in columns.items():
        if header.count(column) != 1:
            many = "several" if column in header else "none"
            listed = ", ".join(map(repr, header[:_MOST_LISTED]))
            more = f", ... {len(header)} in all" if len(header) > _MOST_LISTED else ""
            remedy = f"Name it with {argument}=."
            others = [one for one in _OTHER_DELIMITERS if one in header[0]]
            if len(header) == 1 and others:
                remedy = f"If its cells are parted by it, pass delimiter={others[0]!r}."
            raise ArgumentError(
                f"{table!r} must have one column {column!r}, but has {many}; it has {listed}{more}."
                f" {remedy}"
            )
    return [header.index(column) for column in columns]
