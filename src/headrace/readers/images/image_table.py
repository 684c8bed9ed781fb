"""ImageTable: images that a table lists, with their labels in other columns.

Requires Pillow, imported when a reader is made that decodes.
"""

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Unpack

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_ids
from headrace.arrays import Indices
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.readers.images.image_folder import labels_of_classes
from headrace.readers.images.images import Images
from headrace.readers.images.pixels import ImageOptions
from headrace.readers.labels import Labels
from headrace.readers.shared.near_names import instead_of_missing
from headrace.readers.shared.text_table import SEVERAL, Table, TextTable
from headrace.readers.views.split import Shares, part_of_ids
from headrace.storage.local import paths
from headrace.storage.opening import Root, open_storage
from headrace.storage.storage import Storage

TableLabelMode = Literal["int", "categorical", "binary", "raw"]


class ImageTable(Images):
    """Images that a CSV file or a DataFrame lists, as Keras' `flow_from_dataframe` takes them.

    Each row names a file, and has its labels in other columns: classes, numbers for a regression,
    or both. Where Keras leaves out rows, here each is an error that names the row: a file that is
    not there, or comes twice, a class that is not among `class_names`, and a label that is missing.

    Args:
        table: the path of a CSV file, with the names of its columns in the first line; or a
            DataFrame of pandas.
        size: (height, width) of the samples, or one int for both.
        root: the folder or URL below which the files are. Default: the folder of the CSV file.
        files: the column with the names of the files below root, such as "cats/17.jpg".
        labels: the column with the labels, or several. Default: none.
        suffix: what is added to the names of the files, such as ".png".
        class_names: the classes in the order of their labels; for several columns of labels, a dict
            by column. Default: all that the table has in any of its rows, sorted; if all of them
            are whole numbers, by these.
        split: which rows to take: a part and the column that names the part of each row, such as
            ("train", "split"); or a part and the shares of all, as for `hr.ImageFolder`, such as
            ("train", {"train": 0.8, "test": 0.2}). Default: all rows.
        seed: of shares.
        separator: what parts the classes of a row that has several, such as " ". In a DataFrame,
            such a cell may also be a list.
        delimiter: what parts the cells of a CSV file, such as "\\t".
        decode: False for the bytes of the files, as samples of any length: see `Images`.
        **options: as those of `Images`: see `ImageDecoder`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed, or
            a row is wrong.
        StorageError: (an OSError) the table or the folder can't be read.

    Example:
        >>> import headrace as hr
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in "abc":
        ...     Image.new("RGB", (64, 48)).save(root / f"{name}.png")
        >>> lines = ["filename,class,age", "a.png,dog,3", "b.png,cat,1.5"]
        >>> _ = (root / "pets.csv").write_text("\\n".join(lines))
        >>> images = hr.ImageTable(root / "pets.csv", 32, labels=["class", "age"])
        >>> images.ids, images.class_names["class"]
        (['a.png', 'b.png'], ['cat', 'dog'])
        >>> source = images, images.labels("int", "class"), images.labels("raw", "age")
        >>> x, pets, ages = hr.Loader(source, batch_size=2, shuffle=False).batch(0, 0)
        >>> pets.tolist(), ages.tolist()
        ([1, 0], [3.0, 1.5])
    """

    def __init__(
        self,
        table: Table,
        size: int | tuple[int, int] | None = None,
        root: Root | None = None,
        *,
        files: str = "filename",
        labels: str | Sequence[str] = (),
        suffix: str = "",
        class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        split: tuple[str, str | Shares] | None = None,
        seed: int = 0,
        separator: str | None = None,
        delimiter: str = ",",
        decode: bool = True,
        **options: Unpack[ImageOptions],
    ) -> None:
        if not isinstance(labels, Iterable):
            raise bad_type("labels", labels, "the name of a column, or several")
        self._label_columns = [labels] if isinstance(labels, str) else check_ids(labels, "labels")
        part, by = _check_split(split)
        _check_columns([files, *self._label_columns])
        columns = {by: "split"} if isinstance(by, str) else {}
        columns |= {**dict.fromkeys(self._label_columns, "labels"), files: "files"}
        whole = TextTable(table, columns, delimiter)
        if root is None and not isinstance(table, str | os.PathLike):
            raise bad_value("root", root, "a folder, where table is a DataFrame")
        storage = open_storage(os.path.dirname(whole.name) if root is None else root)
        whole.check_filled(files)
        names = _below(whole, [f"{name}{suffix}" for name in whole[files].tolist()], storage)
        _check_once(whole, names)  # also in two parts, of which one is to test the other
        rows = _rows(whole, names, part, by, seed)
        self._table = whole.chosen(rows, self._label_columns)
        self._separator = _check_separator(separator)
        given = _by_column(class_names, self._label_columns)
        self._classes = {
            column: _classes(whole, column, self._separator, given.get(column))
            for column in self._label_columns
        }
        chosen = [names[row] for row in rows.tolist()]
        _check_there(self._table, chosen, storage)
        super().__init__(storage, chosen, size=size, decode=decode, **options)

    @property
    def class_names(self) -> Any:
        """The classes in the order of their labels, in a new list; of several columns of labels a
        dict of these lists."""
        names = {column: classes.tolist() for column, classes in self._classes.items()}
        return names[self._label_columns[0]] if len(names) == 1 else names

    def labels(
        self, mode: TableLabelMode = "int", column: str | Sequence[str] | None = None
    ) -> Labels:
        """The labels of the images, in their order, to be read together with them.

        Args:
            mode: "int" for int32 numbers of the classes, shape (); "categorical" for float32
                vectors, shape (classes,), with ones for the classes of the row; "binary", of two
                classes, for float32 0 or 1, shape (1,); "raw" for float32 numbers as they are in
                the table, such as the targets of a regression, shape (), or (columns,) of several.
            column: of the labels; several, for "raw". Default: all `labels` that were given.

        Raises:
            ArgumentError: (a ValueError) a row has no label, or another than `mode` needs.
        """
        if mode not in ("int", "categorical", "binary", "raw"):
            raise bad_value("mode", mode, "'int', 'categorical', 'binary' or 'raw'")
        if mode == "raw":
            return self._raw(column)
        if not isinstance(column, str | None):
            raise bad_type("column", column, f"the name of one column with mode={mode!r}")
        name = self._column(column)
        rows, codes = self._codes(name)
        classes = self._classes[name]
        if mode == "categorical":
            hot = np.zeros((len(self), len(classes)), np.float32)
            hot[rows, codes] = 1
            return Labels(hot, self.ids)
        several = np.flatnonzero(np.bincount(rows, minlength=len(self)) > 1)
        if len(several):
            raise ArgumentError(
                f"mode must be 'categorical' where a row has several classes, as "
                f"{self._table.row(int(several[0]))} in {name!r}, but {mode!r} was given."
            )
        return labels_of_classes(mode, codes, self.ids, len(classes))

    def _raw(self, column: str | Sequence[str] | None) -> Labels:
        if column is None:
            only = len(self._label_columns) == 1
            column = self._label_columns[0] if only else self._label_columns
        names = [column] if isinstance(column, str) else check_ids(column, "column")
        numbers = [self._table.numbers(self._column(name)) for name in names]
        if not numbers:
            raise bad_value("column", column, "one of the columns that were given as labels=")
        values = numbers[0] if isinstance(column, str) else np.stack(numbers, axis=1)
        return Labels(values, self.ids, dtype=np.float32)

    def _codes(self, column: str) -> tuple[Indices, npt.NDArray[np.int32]]:
        """The rows, and the number of the class of each; a row with several comes as often."""
        rows, texts = _split(self._table[column], self._separator)
        self._table.check_filled(column, np.bincount(rows, minlength=len(self)) > 0)
        classes = self._classes[column]
        order = np.argsort(classes)
        found = order[np.searchsorted(classes, texts, sorter=order).clip(max=len(classes) - 1)]
        wrong = np.flatnonzero(classes[found] != texts)
        if len(wrong):
            row, text = int(rows[wrong[0]]), str(texts[wrong[0]])
            raise ArgumentError(
                f"class_names must have the classes of all rows in {column!r}, but "
                f"{self._table.row(row)} has {text!r}. They are {_listed(classes.tolist())}."
            )
        return rows, found.astype(np.int32)

    def _column(self, column: str | None) -> str:
        if column is None and len(self._label_columns) == 1:
            return self._label_columns[0]
        if column is None or column not in self._label_columns:
            allowed = f"one of labels={self._label_columns}"
            raise bad_value("column", column, allowed, "Name it in labels= when making the reader.")
        return column


def _check_columns(columns: list[str]) -> None:
    for column in columns:
        if not isinstance(column, str):
            raise bad_type("labels or files", column, "names of columns")


def _check_split(split: object) -> tuple[str, str | Shares | None]:
    if split is None:
        return "", None
    if not isinstance(split, tuple) or len(split) != 2:
        allowed = 'a part and a column, such as ("train", "split"), or a part and the shares of all'
        raise bad_value("split", split, allowed)
    part, by = split
    return (str(part), by) if isinstance(by, str) else (part, by)


def _rows(
    table: TextTable, names: list[str], part: str, by: str | Shares | None, seed: int
) -> Indices:
    """The rows that are wanted."""
    if by is None:
        return np.arange(len(table))
    if not isinstance(by, str):
        rows = part_of_ids(names, part, by, seed)
        if not len(rows):
            raise ArgumentError(f"split must leave images for {part!r}, but it has none.")
        return rows
    rows = np.flatnonzero(table[by] == part)
    if not len(rows):
        there = np.unique(table[by]).tolist()
        raise bad_value("split", (part, by), f"with a part that {by!r} has, {_listed(there)}")
    return rows


def _by_column(
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None, columns: list[str]
) -> dict[str, list[str]]:
    if class_names is None:
        return {}
    if not isinstance(class_names, Mapping):
        if len(columns) != 1:
            raise bad_value("class_names", class_names, "a dict by column, with several labels")
        class_names = {columns[0]: class_names}
    given = {}
    for column, names in class_names.items():
        texts = [str(name) for name in check_ids(names, "class_names")]
        if column not in columns or not texts or len(set(texts)) < len(texts):
            raise bad_value("class_names", class_names, f"different names for columns of {columns}")
        given[column] = texts
    return given


def _classes(
    table: TextTable, column: str, separator: str, given: list[str] | None
) -> npt.NDArray[np.str_]:
    """The classes of a column, of all rows, so that parts of a table have the same."""
    if given is not None:
        return np.array(given)
    classes = np.unique(_split(table[column][table[column] != ""], separator)[1])
    for dtype in (np.int64, np.float64):
        try:
            numbers = classes.astype(dtype)
        except (ValueError, OverflowError):
            continue
        if (np.isfinite(numbers) & (numbers == np.trunc(numbers))).all():
            return classes[np.argsort(numbers, kind="stable")]
    return classes


def _split(cells: npt.NDArray[np.str_], separator: str) -> tuple[Indices, npt.NDArray[np.str_]]:
    """The parts of cells, and the row of each."""
    together = "".join(cells.tolist())
    if separator not in together and SEVERAL not in together:
        return np.arange(len(cells)), cells
    parts = [
        [part.strip() for part in cell.replace(separator, SEVERAL).split(SEVERAL)]
        for cell in cells.tolist()
    ]
    kept = [[part for part in of_row if part] for of_row in parts]
    rows = np.repeat(np.arange(len(cells)), list(map(len, kept)))
    return rows, np.array([part for of_row in kept for part in of_row], np.str_)


def _below(table: TextTable, names: list[str], storage: Storage) -> list[str]:
    """The names below the root, also of files that are named with all of their path."""
    folder = storage.local_path()
    if folder is None:
        return names
    if any(map(os.path.isabs, names)):
        below = [os.path.relpath(name, folder) if os.path.isabs(name) else name for name in names]
    else:
        below = names
    for row, name in enumerate(below):
        if os.pardir in name and os.pardir in name.split(os.sep):
            raise ArgumentError(
                f"table must have files below root, {folder!r}, named without '..', but "
                f"{table.row(row)} has {names[row]!r}."
            )
    return below


def _check_separator(separator: str | None) -> str:
    if separator is None:
        return SEVERAL
    if not isinstance(separator, str) or not separator:
        raise bad_type("separator", separator, "text between classes, such as ' '")
    return separator


def _check_once(table: TextTable, names: list[str]) -> None:
    names = [posixpath.normpath(name) if "./" in name or "//" in name else name for name in names]
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        before = first.setdefault(name, row)
        if before != row:
            raise ArgumentError(
                f"table must have each file once, but {table.row(row)} has {name!r}, which "
                f"{table.row(before)} has, too."
            )


def _check_there(table: TextTable, names: list[str], storage: Storage) -> None:
    """Raises an error that names the first row whose file is not there."""
    folder = storage.local_path()
    if folder is not None:
        missing = [
            row for row, name in enumerate(names) if not paths.is_file(os.path.join(folder, name))
        ]
    else:
        there = set(storage.names())
        missing = [row for row, name in enumerate(names) if name not in there]
    if missing:
        row = missing[0]
        location = storage.location(names[row])
        near = "" if folder is None else instead_of_missing(location)
        raise ArgumentError(
            f"table must have files that are there, but {table.row(row)} has {names[row]!r}, and "
            f"there is no file {location!r}{near}. {len(missing)} of {len(names)} are not there."
        )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (f", ... {len(names)} in all" if names[20:] else "")
