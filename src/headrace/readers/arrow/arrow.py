"""Arrow: columns of Arrow IPC files (Feather), in place where they are not compressed.

A batch takes its rows of each column straight out of the file's memory, with numpy: several times
faster than `pyarrow.Table.take`. What is compressed is decompressed a record batch at a time.
"""

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arrays import Indices
from headrace.errors import (
    ArgumentError,
    SampleFormatError,
    SampleNotFoundError,
    bad_type,
    bad_value,
    missing_extra,
)
from headrace.readers.reader import Specs, check_read
from headrace.readers.shared.block_cache import DEFAULT_CACHE_BYTES, BlockCache, rows_of_blocks
from headrace.readers.shared.named_arrays import check_chosen
from headrace.readers.shared.names import check_names
from headrace.storage.local.folder import Folder
from headrace.storage.opening import Root, is_url
from headrace.storage.storage import Storage

if TYPE_CHECKING:
    from headrace.readers.arrow.columns import Column
    from headrace.readers.arrow.ipc_files import ArrowFile

_SUFFIXES = (".arrow", ".feather", ".ipc")
# Each takes a file descriptor.
_MOST_MAPS = 128


class Arrow:
    """Columns of one Arrow IPC file (Feather version 2 is the same), or of several as one reader.

    Files as `datasets` of Hugging Face stores them, streams, are read as well. The types of columns
    are as for `hr.Parquet`. Columns that are neither compressed nor dictionary-encoded are mapped
    into memory: any sample is read by itself. `pyarrow.feather.write_feather` compresses, unless
    given `compression="uncompressed"`; then a record batch is read as a whole.

    Args:
        root: a file; or a folder with files, in the order of their names.
        columns: the name of one column, whose values are the samples; or the names of several, or a
            dict of names, for samples that are dicts with these keys. Default: all columns.
        names: the files below root, in their order. Default: all that end with .arrow, .feather or
            .ipc.
        dtype: of the samples that are read; for several columns perhaps a dict, by key. Default: as
            they are stored. Numbers are converted if that does not change their kind. Of a
            binary of a fixed size, the dtype that is in it, with its shape, such as
            numpy.dtype(("uint8", (32, 32, 3))).
        cache_bytes: decoded record batches are kept in memory up to so many bytes in each process,
            and at least one. Those in use come on top.

    Raises:
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) a file is damaged, or its columns are not those of the
            first file. When samples are read, also: a value is null, or a list of another length.
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such column, or it
            can't become arrays; or the root is a URL.
        MissingExtraError: (an ImportError) without headrace[arrow] installed.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import os, tempfile
        >>> import pyarrow as pa
        >>> import pyarrow.feather
        >>> path = os.path.join(tempfile.mkdtemp(), "train.arrow")
        >>> x = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2))
        >>> table = pa.table({"x": x, "label": [0, 1, 0]})
        >>> pyarrow.feather.write_feather(table, path, compression="uncompressed")
        >>> out = np.empty((2, 2), np.float32)
        >>> hr.Arrow(path, "x").read(np.array([2, 1]), out)
        >>> out
        array([[5., 6.],
               [3., 4.]], dtype=float32)
    """

    def __init__(
        self,
        root: Root,
        columns: str | Iterable[str] | Mapping[str, str] | None = None,
        *,
        names: Iterable[str] | None = None,
        dtype: npt.DTypeLike | Mapping[str, npt.DTypeLike] | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        try:
            from headrace.readers.arrow import columns as arrow_columns
            from headrace.readers.arrow import ipc_files
        except ModuleNotFoundError:
            raise missing_extra("hr.Arrow", "pyarrow", "arrow") from None
        choice = check_chosen("columns", columns)
        self._cache: BlockCache[int] = BlockCache(cache_bytes)
        self._root, self._names = _paths(root, names)
        paths = [os.path.join(self._root, name) for name in self._names]
        self._files: list[ArrowFile] = [ipc_files.scan(path) for path in paths]
        # Of each record batch: its file, and its number there; and the first samples of all.
        counts = [len(file.rows) for file in self._files]
        self._file_of = np.repeat(np.arange(len(counts)), counts)
        self._number_of = np.concatenate([np.arange(count) for count in counts])
        rows = np.concatenate([file.rows for file in self._files])
        self._starts = np.concatenate([[0], np.cumsum(rows)])

        schemas = [file.schema for file in self._files]
        chosen = arrow_columns.choose_columns(schemas[0], choice, dtype, self._first_row, paths[0])
        self._columns: list[_Columns] = []  # of each file
        for file, schema in zip(self._files, schemas, strict=True):
            converts = dtype is not None
            fitted = arrow_columns.fit_file(chosen, schema, file.path, paths[0], converts)
            kinds = [schema.field(column.name).type for column in fitted]
            mapped = [
                column
                for column, kind in zip(fitted, kinds, strict=True)
                if not file.compressed and not arrow_columns.has_dictionary(kind)
            ]
            decoded = [column for column in fitted if column not in mapped]
            if decoded and file.is_stream:
                raise ArgumentError(
                    f"columns must not be dictionary-encoded in a stream, but {decoded[0].name!r} "
                    f"is in {file.path!r}. Store its values, or write a file with "
                    "pyarrow.ipc.new_file."
                )
            self._columns.append(_Columns(mapped, decoded))
        specs: Specs = {column.key: column.spec for column in chosen}
        several = isinstance(choice, dict) or len(chosen) > 1
        self._spec = specs if several else chosen[0].spec
        self._maps: dict[int, _Map] = {}

    @property
    def in_memory(self) -> bool:
        """Whether all columns are mapped."""
        return not any(columns.decoded for columns in self._columns)

    @property
    def block(self) -> int:
        """The samples in the largest record batch that is decoded as a whole; else 1."""
        pairs = zip(self._files, self._columns, strict=True)
        return max(
            int(file.rows.max(initial=1)) if columns.decoded else 1 for file, columns in pairs
        )

    @property
    def blocks_kept(self) -> int:
        """How many such record batches are kept decoded."""
        nbytes = max(sum(column.nbytes for column in columns.decoded) for columns in self._columns)
        return self._cache.blocks_kept(self.block * nbytes)

    @property
    def spec(self) -> Specs:
        return self._spec

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        place = self._files[0].path if len(self._files) == 1 else self._root
        return f"Arrow({place!r}, files={len(self._files)}, n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the files' names and numbers of rows, and of the columns' names."""
        rows = [int(file.rows.sum()) for file in self._files]
        names = [column.name for column in (*self._columns[0].mapped, *self._columns[0].decoded)]
        described = repr((self._names, rows, sorted(names)))
        return hashlib.blake2b(described.encode(), digest_size=8).hexdigest()

    def read(self, indices: Indices, out: Any) -> None:
        check_read(len(self), self.spec, indices, out)
        rows_of = dict(rows_of_blocks(np.searchsorted(self._starts, indices, "right") - 1))
        decoded = []
        for block, rows in rows_of.items():
            columns = self._columns[self._file_of[block]]
            if columns.mapped:
                values = self._mapped(block, int(indices[rows[0]]))
                self._copy(block, columns.mapped, values, rows, indices, out)
            if columns.decoded:
                decoded.append(block)

        def load(blocks: Sequence[int]) -> Iterator[tuple[int, Any]]:
            for block in blocks:
                yield block, self._decoded(block, int(indices[rows_of[block][0]]))

        for block, values in self._cache.each(decoded, load):
            columns = self._columns[self._file_of[block]]
            self._copy(block, columns.decoded, values, rows_of[block], indices, out)

    def _copy(
        self,
        block: int,
        columns: "list[Column]",
        values: dict[str, Any],
        rows: Indices,
        indices: Indices,
        out: Any,
    ) -> None:
        from headrace.readers.arrow import columns as arrow_columns

        at = indices[rows] - self._starts[block]
        for column in columns:
            part = out[column.key] if isinstance(out, dict) else out
            bad = arrow_columns.copy_rows(part, rows, values[column.key], at)
            if bad is not None:
                fault = arrow_columns.fault_of(values[column.key], int(at[bad]))
                index = int(indices[rows[bad]])
                raise self._error(block, index, f"column {column.name!r} {fault}")

    def _mapped(self, block: int, index: int) -> dict[str, Any]:
        """The columns of a record batch that are read in place."""
        from headrace.readers.arrow import columns as arrow_columns

        number = int(self._file_of[block])
        file = self._files[number]
        try:
            found = self._maps.get(number)
            if found is None:
                # Threads may map it twice at first; one of the maps is then dropped again.
                data = file.map()
                columns = self._columns[number].mapped
                values = [_values(batch, columns) for batch in file.batches(data)]
                found = self._maps[number] = _Map(data, values)
                if len(self._maps) > _MOST_MAPS:
                    self._maps.pop(next(iter(self._maps)), None)
            # To touch a page that the file no longer has would kill the process.
            if found.data.size() < file.size:
                raise arrow_columns.UnfitError(
                    f"it was cut to {found.data.size()} bytes of {file.size}"
                )
        except (*arrow_columns.ARROW_ERRORS, arrow_columns.UnfitError) as error:
            raise self._failure(block, index, error) from None
        return found.batches[int(self._number_of[block])]

    def _decoded(self, block: int, index: int) -> dict[str, Any]:
        """The columns of a record batch that are not."""
        from headrace.readers.arrow import columns as arrow_columns

        file = int(self._file_of[block])
        columns = self._columns[file].decoded
        names = list({column.name for column in columns})
        try:
            batch = self._files[file].batch(int(self._number_of[block]), names)
            return _values(batch, columns)
        except (*arrow_columns.ARROW_ERRORS, arrow_columns.UnfitError) as error:
            raise self._failure(block, index, error) from None

    def _failure(self, block: int, index: int, error: Exception) -> Exception:
        path = self._files[self._file_of[block]].path
        if isinstance(error, FileNotFoundError):
            return SampleNotFoundError.at(
                index, f"sample {index} does not exist: there is no file {path!r}"
            )
        if isinstance(error, OSError) and error.errno:
            error.add_note(f"headrace: while reading sample {index}, {path!r}")
            return error
        return self._error(block, index, str(error))

    def _error(self, block: int, index: int, reason: str) -> SampleFormatError:
        path, number = self._files[self._file_of[block]].path, self._number_of[block]
        return SampleFormatError.at(
            index, f"sample {index} can't be read: {path!r}, record batch {number}: {reason}"
        )

    def _first_row(self, names: list[str]) -> Any:
        """The record batch of the first sample, as a table."""
        import pyarrow as pa

        from headrace.readers.arrow import columns as arrow_columns

        if not len(self):
            raise ArgumentError(
                f"{self._root!r} must have samples to tell the lengths of the lists in columns "
                f"{names}, but has none. Store lists of a fixed size."
            )
        block = int(np.searchsorted(self._starts, 0, "right")) - 1
        file, number = self._files[self._file_of[block]], int(self._number_of[block])
        try:
            if file.is_stream:
                batch = file.batches(file.map())[number]
            else:
                batch = file.batch(number, names)
        except (*arrow_columns.ARROW_ERRORS, arrow_columns.UnfitError) as error:
            raise self._failure(block, 0, error) from None
        return pa.Table.from_batches([batch])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}


class _Map(NamedTuple):
    """A file in memory, and the columns of its record batches there."""

    data: mmap.mmap
    batches: list[dict[str, Any]]


class _Columns(NamedTuple):
    """The columns of a file that are read in place, and those that are not."""

    mapped: "list[Column]"
    decoded: "list[Column]"


def _values(batch: Any, columns: "list[Column]") -> dict[str, Any]:
    """The columns of a record batch as `arrow_columns.Values`, by their keys."""
    from headrace.readers.arrow import columns as arrow_columns

    return {
        column.key: arrow_columns.decode(batch.column(column.name), column) for column in columns
    }


def _paths(root: Root, names: Iterable[str] | None) -> tuple[str, list[str]]:
    """The folder, and the names of the files in it."""
    if isinstance(root, Storage):
        root = root.local_path() or root
    if not isinstance(root, str | os.PathLike):
        raise bad_type("root", root, "a file or folder of this machine")
    if is_url(root):
        raise bad_value(
            "root",
            root,
            "a file or folder of this machine",
            "Download it, or store the samples as Parquet, which is read from URLs as well.",
        )
    path = os.path.abspath(os.fspath(root))
    if names is None and os.path.isfile(path):
        folder, name = os.path.split(path)
        return folder, [name]
    if names is None and path.endswith(_SUFFIXES) and not os.path.exists(path):
        raise SampleNotFoundError(f"there is no file {path!r}")
    storage = Folder(path)
    if names is not None:
        return path, check_names(names)
    found = storage.names(_SUFFIXES)
    if not found:
        raise ArgumentError(
            f"root must be a file, or contain {', '.join(_SUFFIXES)} files, but {path!r} has none."
        )
    return path, found
