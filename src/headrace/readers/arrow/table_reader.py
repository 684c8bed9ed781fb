"""What the readers of tables have in common: Arrow's and Parquet's. Requires no pyarrow.

Rows lie in blocks, which are record batches or row groups. A batch takes its rows out of the
columns of each block that it needs, with numpy: several times faster than `pyarrow.Table.take`.

    file    0        0        1        1
    block   0        1        2        3         of `Blocks`
    number  0        1        0        1         within its file
    rows    0 .. 3   4 .. 9   10 .. 13 14 .. 19  those where a block begins are `starts`
"""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self, TypeAlias

import numpy as np

from headrace.arrays import Indices
from headrace.errors import ArgumentError, MissingExtraError, SampleFormatError, StorageError
from headrace.pytree import Tree, leaves, map_leaves
from headrace.readers.arrow.folders.folder_columns import (
    FolderColumn,
    folder_column,
    names_in_folders,
)
from headrace.readers.arrow.folders.table_files import table_files
from headrace.readers.arrow.values import Column, RaggedValues, Values, Wanted
from headrace.readers.reader import Arrays, Out, Specs, check_read
from headrace.readers.shared.block_cache import BlockCache, rows_of_blocks
from headrace.readers.shared.format_error import (
    FormatError,
    bad_sample,
    sample_error,
)
from headrace.readers.shared.named_arrays import dtypes_by_key, part_of
from headrace.readers.shared.names import check_names
from headrace.readers.shared.sharded.shards import folder_of
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import Stamps, stamps_of_samples
from headrace.storage.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.readers.arrow.fields import FieldPath

# The columns of a block, or some of them, by their keys in a sample.
BlockValues: TypeAlias = dict[str, Values | RaggedValues]


class Tables(Protocol):
    """The files that a table reader reads, each of which has several blocks. Uses pyarrow.

    Attributes:
        storage: where they lie.
        names: of the files.
        rows: of each file, the number of rows in each of its blocks.
        columns: of each file, those that make a sample, when they are chosen.
        column_names: of the first file.
    """

    storage: Storage
    names: list[str]
    rows: list[Indices]
    columns: list[list[Column]]

    @property
    def column_names(self) -> list[str]: ...

    def choose(self, wanted: Wanted, first_rows: "Callable[[list[FieldPath]], pa.Table]") -> None:
        """Chooses the columns.

        Args:
            wanted: what is asked for.
            first_rows: gives some columns of the first rows of all, to tell the length of lists.
        """
        ...

    def only(self, keys: set[str]) -> Self:
        """The same files, of which only the columns of these keys are read."""
        ...

    def table(self, file: int, number: int, paths: "list[FieldPath]") -> "pa.Table":
        """Some columns of a block.

        Raises:
            FormatError: it is damaged.
            OSError: it can't be read.
        """
        ...


class Blocks(NamedTuple):
    """The blocks of all files.

    Attributes:
        file: of each block, the number of its file.
        number: of each block, its number in the file.
        starts: of each block, its first row; and the number of all rows at the end.
    """

    file: Indices
    number: Indices
    starts: Indices

    @classmethod
    def of(cls, rows: Sequence[Indices]) -> "Blocks":
        """Those of files, of each of which the number of rows in each block is given."""
        counts = [len(of_file) for of_file in rows]
        return cls(
            np.repeat(np.arange(len(counts)), counts),
            np.concatenate([np.arange(count) for count in counts]),
            np.concatenate([[0], np.cumsum(np.concatenate(rows))]),
        )

    def holding(self, indices: Indices) -> Indices:
        """The block of each row."""
        if len(self.starts) == 2:
            return np.zeros(len(indices), np.int64)
        return np.searchsorted(self.starts, indices, "right") - 1


class TableReader:
    """Samples in the rows of tables.

    A subclass says what a block is called, and gives the values in blocks.
    """

    _block_name: ClassVar[str]

    def __init__(self, tables: Tables, wanted: Wanted, cache: BlockCache[int]) -> None:
        self._tables = tables
        self._cache = cache
        self._blocks = Blocks.of(tables.rows)
        of_files, self._folders = self._split(wanted)
        tables.choose(of_files, self._first_rows)
        found = {column.key: (column.name, column.spec) for column in tables.columns[0]}
        for key, (name, column) in self._folders.items():
            found[key] = name, column.spec
        is_dict = isinstance(wanted.chosen, dict)
        # In the order in which they were asked for.
        keys = list(wanted.chosen) if isinstance(wanted.chosen, dict) else list(found)
        self._column_names = {key: found[key][0] for key in keys}
        specs: Specs = {key: found[key][1] for key in keys}
        self._spec = specs if is_dict or len(found) > 1 else found[keys[0]][1]

    @property
    def spec(self) -> Specs:
        return self._spec

    def __len__(self) -> int:
        return int(self._blocks.starts[-1])

    def __repr__(self) -> str:
        tables = self._tables
        files = len(tables.names)
        root = self._location(0) if files == 1 else tables.storage.root
        return f"{type(self).__name__}({root!r}, files={files}, n={len(self)}, {self.spec})"

    def sample_lengths(self) -> Tree[Indices | None]:
        """How long each sample is; as `lengths_of` says.

        Of columns that lie in a file as they are, offsets alone are read. Others are decoded once,
        a block at a time, with none but the columns of samples of any length.

        Raises:
            SampleFormatError, StorageError: as for reading them.
        """
        keys = list(self._column_names)  # in the order of the specs
        specs = zip(keys, leaves(self._spec), strict=True)
        ragged = {key for key, spec in specs if spec.ragged}
        lengths = self._only(ragged)._all_lengths(ragged) if ragged else {}
        names = iter(keys)
        return map_leaves(lambda _: lengths.get(next(names)), self._spec)

    def _only(self, keys: set[str]) -> Self:
        """A reader of the same rows that decodes these columns alone, and keeps none of them."""
        reader = copy.copy(self)
        reader._tables = self._tables.only(keys)
        reader._cache = BlockCache(1)
        return reader

    def _all_lengths(self, keys: set[str]) -> dict[str, Indices]:
        """The lengths of all samples in these columns."""
        # Block by block, as the number of rows that a damaged file claims may be any.
        lengths: dict[str, dict[int, Indices]] = {key: {} for key in keys}
        starts = self._blocks.starts.tolist()
        bounds = enumerate(itertools.pairwise(starts))
        needed = {block: start for block, (start, stop) in bounds if start < stop}
        for block, values in self._values(needed):
            for key, of_column in values.items():
                assert isinstance(of_column, RaggedValues)
                with self._explained(block, starts[block]):
                    found = of_column.lengths()
                    if found.min(initial=0) < 0:
                        raise FormatError("it has lists of less than no values")
                lengths[key][block] = found
        return {
            key: np.concatenate([np.empty(0, np.int64), *(found[block] for block in needed)])
            for key, found in lengths.items()
        }

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file."""
        files = self._blocks.file[self._blocks.holding(indices)]
        return stamps_of_samples(self._tables.storage, self._tables.names.__getitem__, files)

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        if self._folders:
            self._read_folders(indices, out)
            if not self._tables.columns[0]:
                return
        blocks = self._blocks.holding(indices)
        done = self._read_together(indices, blocks, out)
        if len(done) == len(self._column_names) - len(self._folders):
            return
        rows_of = dict(rows_of_blocks(blocks))
        # Of each block that is needed, a sample in it, for messages.
        needed = {block: int(indices[rows[0]]) for block, rows in rows_of.items()}
        for block, values in self._values(needed):
            rows = rows_of[block]
            at = indices[rows] - self._blocks.starts[block]
            for key, of_column in values.items():
                if key in done:
                    continue
                fault = of_column.copy_rows(at, part_of(out, key), rows)
                if fault is not None:
                    raise self._bad(key, int(indices[rows[fault[0]]]), block, fault[1])

    def _read_together(self, indices: Indices, blocks: Indices, out: Out) -> set[str]:
        """Reads columns whose blocks need not be told apart; returns their keys.

        Args:
            indices, out: as for `read`.
            blocks: of each of the indices.
        """
        return set()

    def _bad(self, key: str, index: int, block: int, fault: str) -> SampleFormatError:
        (column,) = (one for one in self._tables.columns[0] if one.key == key)
        reason = f"column {column.name!r} {column.explain(fault)}"
        return bad_sample(index, self._where(block), reason)

    def _split(self, wanted: Wanted) -> tuple[Wanted, dict[str, tuple[str, FolderColumn]]]:
        """What is wanted of the files; and by key, the columns that stand in folders' names."""
        tables = self._tables
        in_folders = tuple(names_in_folders(tables.names))
        if not in_folders:
            return wanted, {}
        chosen, dtype = wanted.chosen, wanted.dtype
        if chosen is None:
            return wanted._replace(in_folders=in_folders), {}
        names = {chosen: chosen} if isinstance(chosen, str) else chosen
        dtypes = dtypes_by_key(dtype, names)
        outside = set(in_folders) - set(tables.column_names)
        locations = [tables.storage.location(name) for name in tables.names]
        folders = {
            key: (name, folder_column(name, tables.names, locations, dtypes[key]))
            for key, name in names.items()
            if name in outside
        }
        if folders:
            chosen = {key: name for key, name in names.items() if key not in folders}
            if dtype is not None:
                dtype = {key: dtypes[key] for key in chosen}
        return Wanted(chosen, dtype, in_folders, wanted.ragged), folders

    def _read_folders(self, indices: Indices, out: Arrays) -> None:
        """Fills in the columns that stand in folders' names."""
        blocks = self._blocks.holding(indices)
        files = self._blocks.file[blocks]
        for key, (name, column) in self._folders.items():
            null = np.flatnonzero(column.is_null[files])
            fault = (int(null[0]), "is null") if len(null) else None
            if fault is None:
                fault = Values(column.values, None).copy_rows(files, part_of(out, key), files)
            if fault is not None:
                row, reason = fault
                where = repr(self._location(int(files[row])))
                raise bad_sample(int(indices[row]), where, f"column {name!r} {reason}")

    def _values(self, needed: dict[int, int]) -> Iterator[tuple[int, BlockValues]]:
        """Yields the columns of each block in any order, perhaps some of them at a time.

        Args:
            needed: of each block, the index of a sample in it, which errors are to name.
        """
        raise NotImplementedError

    def _first_rows(self, paths: "list[FieldPath]") -> "pa.Table":
        """Some columns of the block of the first sample."""
        if not len(self):
            raise ArgumentError(
                f"{self._tables.storage.root!r} must have samples to tell the lengths of the lists "
                f"in columns {['.'.join(path) for path in paths]}, but has none. Store lists of a "
                "fixed size."
            )
        block = int(self._blocks.holding(np.array([0]))[0])
        with self._explained(block, 0):
            return self._tables.table(*self._file_and_number(block), paths)

    @contextlib.contextmanager
    def _explained(self, block: int, index: int) -> Iterator[None]:
        """What is raised within, over damage in a block, comes as an error about a sample."""
        try:
            yield
        except StorageError:
            raise
        except MissingExtraError as error:
            location = self._location(self._file_and_number(block)[0])
            raise MissingExtraError(f"{location!r} can't be read: {error}") from None
        except (OSError, FormatError) as error:
            file, number = self._file_and_number(block)
            part = f"{self._block_name} {number}"
            raise sample_error(error, index, self._location(file), part) from None

    def _where(self, block: int) -> str:
        file, number = self._file_and_number(block)
        return f"{self._location(file)!r}, {self._block_name} {number}"

    def _file_and_number(self, block: int) -> tuple[int, int]:
        return int(self._blocks.file[block]), int(self._blocks.number[block])

    def _location(self, file: int) -> str:
        return self._tables.storage.location(self._tables.names[file])


def open_files(
    root: Root, names: Iterable[str] | None, suffixes: tuple[str, ...]
) -> tuple[Storage, list[str]]:
    """The storage, and the names of the files in it: `root` may be a single file, too."""
    if names is None:
        root, names = folder_of(root, lambda found: [n for n in found if n.endswith(suffixes)])
    storage = open_storage(root)
    if names is not None:
        return storage, check_names(names)
    return storage, table_files(storage, suffixes)
