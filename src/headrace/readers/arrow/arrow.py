"""Arrow: columns of Arrow IPC files (Feather), in place where they are not compressed.

A batch takes its rows of each column straight out of the file's memory, with numpy: several times
faster than `pyarrow.Table.take`. What is compressed is decompressed a record batch at a time.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headrace.arrays import Indices, fingerprint
from headrace.errors import bad_type, bad_value, missing_extra
from headrace.ragged import RaggedOut
from headrace.readers.arrow.table_reader import BlockValues, TableReader, open_files
from headrace.readers.arrow.values import Wanted
from headrace.readers.reader import Out
from headrace.readers.shared.block_cache import DEFAULT_CACHE_BYTES, BlockCache
from headrace.readers.shared.named_arrays import DTypes, check_chosen, part_of
from headrace.readers.shared.samples.ragged_parts import check_ragged
from headrace.storage.opening import Root, is_url
from headrace.storage.storage import Storage

if TYPE_CHECKING:
    from headrace.readers.arrow.ipc.file_lists import FileLists
    from headrace.readers.arrow.ipc.ipc_files import IpcFiles

_SUFFIXES = (".arrow", ".feather", ".ipc")


class Arrow(TableReader):
    """Columns of one Arrow IPC file (Feather version 2 is the same), or of several as one reader.

    Files as `datasets` of Hugging Face stores them, streams, are read as well, and of its folders
    those that the dataset is made of. The types of columns, and those that stand in the names of
    folders, are as for `hr.Parquet`. Columns that are neither compressed nor dictionary-encoded are
    mapped into memory: any sample is read by itself. `pyarrow.feather.write_feather` compresses,
    unless given `compression="uncompressed"`; then a record batch is read as a whole.

    Args:
        root: a file; or a folder with files, in the order of their names.
        columns: the name of one column, whose values are the samples; or the names of several, or a
            dict of names, for samples that are dicts with these keys. Default: all columns. A field
            of a struct is named by a dot, such as "image.bytes".
        names: the files below root, in their order. Default: all that end with .arrow, .feather or
            .ipc, but those whose name, or that of a folder, begins with a dot or an underscore.
        dtype: of the samples that are read; for several columns perhaps a dict, by key. Default: as
            they are stored. Numbers are converted if that does not change their kind; a sample with
            one that does not fit, such as 300 into int8, is an error. Of a binary of a fixed size,
            the dtype that is in it, with its shape, such as numpy.dtype(("uint8", (32, 32, 3))).
        ragged: True if lists may have any length, strings and binaries too, which are read as
            their bytes (uint8): a batch of such a column is a `Ragged`. Columns of one shape stay
            as they are. Or the keys of those columns.
        cache_bytes: decoded record batches are kept in memory up to so many bytes in each process,
            and at least one. Those in use come on top.

    Raises:
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) a file is damaged, or its columns are not those of the
            first file. When samples are read, also: a value is null, or a list of another length.
        StorageError: (an OSError) a file can't be read.
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such column, or it
            can't become arrays; or the root is a URL, or has several datasets.
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

    _block_name = "record batch"
    _tables: "IpcFiles"

    def __init__(
        self,
        root: Root,
        columns: str | Iterable[str] | Mapping[str, str] | None = None,
        *,
        names: Iterable[str] | None = None,
        dtype: DTypes = None,
        ragged: bool | Iterable[str] = False,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        try:
            from headrace.readers.arrow.ipc.ipc_files import IpcFiles
        except ModuleNotFoundError:
            raise missing_extra("hr.Arrow", "pyarrow", "arrow") from None
        wanted = Wanted(check_chosen("columns", columns), dtype, ragged=check_ragged(ragged))
        cache: BlockCache[int] = BlockCache(cache_bytes)
        super().__init__(IpcFiles(*_open(root, names)), wanted, cache)

    @property
    def in_memory(self) -> bool:
        """Whether all columns are mapped."""
        return not any(self._tables.decoded)

    @property
    def block(self) -> int:
        """The samples in the largest record batch that is decoded as a whole; else 1."""
        return self._tables.block

    @property
    def blocks_kept(self) -> int:
        """How many such record batches are kept decoded."""
        return self._cache.blocks_kept(self.block * self._tables.row_nbytes)

    def fingerprint(self) -> str:
        """A hash of the files' names and numbers of rows, and of the columns, in their order."""
        rows = [int(of_file.sum()) for of_file in self._tables.rows]
        columns = list(self._column_names.values())
        return fingerprint(repr((self._tables.names, rows, columns)))

    def _read_together(self, indices: Indices, blocks: Indices, out: Out) -> set[str]:
        if not self._tables.maps_lists:
            return set()
        if not len(indices):
            return set()
        if len(self._tables.names) == 1:
            with self._explained(int(blocks[0]), int(indices[0])):
                only = self._tables.lists_in_place(0)
            for key, of_key in only.items():
                self._read_file(key, of_key, indices, blocks, part_of(out, key))
            return set(only)
        files = self._blocks.file[blocks]
        wanted = np.unique(files).tolist()
        lists = {file: self._file_lists(file, files, indices, blocks) for file in wanted}
        keys = set.intersection(*map(set, lists.values()))
        for key in keys:
            part = part_of(out, key)
            for file in wanted:
                rows = np.flatnonzero(files == file)
                of_file = RaggedOut(len(rows), part.element, part.dtype)
                self._read_file(key, lists[file][key], indices[rows], blocks[rows], of_file)
                part[rows] = of_file.result
        return keys

    def _file_lists(
        self, file: int, files: Indices, indices: Indices, blocks: Indices
    ) -> "dict[str, FileLists]":
        first = int((files == file).argmax())
        with self._explained(int(blocks[first]), int(indices[first])):
            return self._tables.lists_in_place(file)

    def _read_file(
        self, key: str, lists: "FileLists", indices: Indices, blocks: Indices, out: RaggedOut
    ) -> None:
        at = indices - self._blocks.starts[blocks]
        fault = lists.read(self._blocks.number[blocks], at, out)
        if fault is not None:
            row, reason = fault
            raise self._bad(key, int(indices[row]), int(blocks[row]), reason)

    def _values(self, needed: dict[int, int]) -> Iterator[tuple[int, BlockValues]]:
        decoded = []
        for block, index in needed.items():
            file, number = self._file_and_number(block)
            if self._tables.mapped[file]:
                with self._explained(block, index):
                    values = self._tables.in_place(file, number)
                yield block, values
            if self._tables.decoded[file]:
                decoded.append(block)

        def load(blocks: Sequence[int]) -> Iterator[tuple[int, BlockValues]]:
            for block in blocks:
                with self._explained(block, needed[block]):
                    values = self._tables.decode(*self._file_and_number(block))
                yield block, values

        yield from self._cache.each(decoded, load)


def _open(root: Root, names: Iterable[str] | None) -> tuple[Storage, list[str]]:
    """The folder, and the names of the files in it."""
    path = root.local_path() if isinstance(root, Storage) else root
    if not isinstance(path, str | os.PathLike):
        raise bad_type("root", root, "a file or folder of this machine")
    if is_url(path):
        raise bad_value(
            "root",
            path,
            "a file or folder of this machine",
            "Download it, or store the samples as Parquet, which is read from URLs as well.",
        )
    return open_files(os.path.abspath(path), names, _SUFFIXES)
