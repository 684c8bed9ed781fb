"""Parquet: columns of Parquet files, here or behind a URL, a row group at a time.

Of each row group that a batch needs, the bytes of the wanted columns are fetched, all at once where
the storage is far away, and decoded in memory. So no file stays open, and any number of threads and
processes may read.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headrace.arrays import Indices
from headrace.errors import (
    ArgumentError,
    SampleFormatError,
    StorageError,
    missing_extra,
)
from headrace.readers.reader import Specs, check_read
from headrace.readers.shared.block_cache import DEFAULT_CACHE_BYTES, BlockCache, rows_of_blocks
from headrace.readers.shared.named_arrays import check_chosen
from headrace.readers.shared.sample_files import fetched
from headrace.storage.coalesce import coalesce
from headrace.storage.opening import Root
from headrace.storage.storage import Request

if TYPE_CHECKING:
    from headrace.readers.arrow.columns import Column

# Columns that lie closer together are fetched in one piece.
_MOST_BETWEEN_BYTES = 2**14
_FAR_GROUPS_AT_ONCE = 16


class Parquet:
    """Columns of one Parquet file, or of several as one reader.

    Numbers, bools, timestamps (as datetime64 in UTC), durations and dates become arrays of one
    number for each sample; lists, nested at will, arrays of their shape, which for lists of
    variable length is that of the first sample's and must be the same for all; tensors of a fixed
    shape and binaries of a fixed size (as void of so many bytes) what they are.

    Reading one sample takes decoding its row group, so shuffle with `hr.BlockShuffle`, and write
    row groups of some megabytes: `pyarrow.parquet.write_table(table, path, row_group_size=rows)`.
    Checksums of pages are verified where the file has them, with `write_page_checksum=True`.

    Args:
        root: a file; or a folder, URL or storage with files, in the order of their names. Folders
            of the form "key=value" are folders as any other.
        columns: the name of one column, whose values are the samples; or the names of several, or a
            dict of names, for samples that are dicts with these keys. Default: all columns.
        names: the files below root, in their order. Default: all that end with .parquet or .pq.
        dtype: of the samples that are read; for several columns perhaps a dict, by key. Default: as
            they are stored. Numbers are converted if that does not change their kind. Of a
            binary of a fixed size, the dtype that is in it, with its shape, such as
            numpy.dtype(("uint8", (32, 32, 3))).
        cache_bytes: decoded row groups are kept in memory up to so many bytes in each process, and
            at least one. Those in use come on top.

    Raises:
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) a file is damaged, or its columns are not those of the
            first file. When samples are read, also: a value is null, or a list of another length.
        ArgumentError: (a ValueError) there is no such column, or it can't become arrays.
        MissingExtraError: (an ImportError) without headrace[arrow] installed.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import os, tempfile
        >>> import pyarrow as pa
        >>> import pyarrow.parquet
        >>> path = os.path.join(tempfile.mkdtemp(), "train.parquet")
        >>> x = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2))
        >>> pa.parquet.write_table(pa.table({"x": x, "label": [0, 1, 0]}), path)
        >>> hr.Parquet(path).spec["x"]
        Spec(shape=(2,), dtype=dtype('float32'))
        >>> out = np.empty(2, np.int64)
        >>> hr.Parquet(path, "label").read(np.array([2, 1]), out)
        >>> out
        array([0, 1])
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
            from headrace.readers.arrow import parquet_files
        except ModuleNotFoundError:
            raise missing_extra("hr.Parquet", "pyarrow", "arrow") from None
        choice = check_chosen("columns", columns)
        self._cache: BlockCache[int] = BlockCache(cache_bytes)
        self._storage, self._names = parquet_files.open_files(root, names)
        self._sizes = parquet_files.file_sizes(self._storage, self._names)
        self._footers = parquet_files.read_footers(self._storage, self._names, self._sizes)
        groups = [parquet_files.group_rows(footer) for footer in self._footers]
        # Of each row group: its file, and its number there; and the first samples of all.
        self._files = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
        self._groups = np.concatenate([np.arange(len(rows)) for rows in groups])
        self._starts = np.concatenate([[0], np.cumsum(np.concatenate(groups))])
        self._checked = np.zeros(len(self._groups), np.bool_)

        schemas = [parquet_files.parquet_file(b"", footer).schema_arrow for footer in self._footers]
        first = self._path(0)
        chosen = arrow_columns.choose_columns(schemas[0], choice, dtype, self._first_row, first)
        self._columns: list[list[Column]] = [chosen]  # of each file
        for file, schema in enumerate(schemas[1:], 1):
            fitted = arrow_columns.fit_file(
                chosen, schema, self._path(file), first, dtype is not None
            )
            self._columns.append(chosen if fitted == chosen else fitted)
        names_in_file = [column.name for column in chosen]
        self._leaves = [parquet_files.leaves(footer, names_in_file) for footer in self._footers]
        specs: Specs = {column.key: column.spec for column in chosen}
        several = isinstance(choice, dict) or len(chosen) > 1
        self._spec = specs if several else chosen[0].spec

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def block(self) -> int:
        """The samples in the largest row group."""
        return int(np.diff(self._starts).max(initial=1))

    @property
    def blocks_kept(self) -> int:
        """How many such row groups are kept decoded."""
        sample_nbytes = sum(column.nbytes for column in self._columns[0])
        return self._cache.blocks_kept(self.block * sample_nbytes)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        files = self._path(0) if len(self._names) == 1 else self._storage.root
        return f"Parquet({files!r}, files={len(self._names)}, n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and numbers of rows, and of the columns' names."""
        rows = [footer.num_rows for footer in self._footers]
        columns = [column.name for column in self._columns[0]]
        described = repr((self._names, self._sizes, rows, columns))
        return hashlib.blake2b(described.encode(), digest_size=8).hexdigest()

    def read(self, indices: Indices, out: Any) -> None:
        from headrace.readers.arrow import columns as arrow_columns

        check_read(len(self), self.spec, indices, out)
        rows_of = dict(rows_of_blocks(np.searchsorted(self._starts, indices, "right") - 1))
        first = {block: int(indices[rows[0]]) for block, rows in rows_of.items()}
        far = self._storage.local_path() is None

        def load(blocks: Sequence[int]) -> Iterator[tuple[int, Any]]:
            return self._load(blocks, first)

        each = self._cache.each(rows_of, load, at_once=_FAR_GROUPS_AT_ONCE if far else 1)
        for block, table in each:
            rows = rows_of[block]
            at = indices[rows] - self._starts[block]
            for column in self._columns[0]:
                values = table[column.key]
                part = out[column.key] if isinstance(out, dict) else out
                bad = arrow_columns.copy_rows(part, rows, values, at)
                if bad is not None:
                    fault = arrow_columns.fault_of(values, int(at[bad]))
                    reason = f"column {column.name!r} {fault}"
                    raise self._error(block, int(indices[rows[bad]]), reason)

    def _load(self, blocks: Sequence[int], first: dict[int, int]) -> Iterator[tuple[int, Any]]:
        """Decodes row groups as their bytes arrive; `first[block]` is a sample, for messages."""
        requests: list[Request] = []
        owners: list[int] = []
        for block in blocks:
            ranges = self._ranges(block, first[block])
            name = self._names[self._files[block]]
            requests += [Request(name, start, stop) for start, stop in ranges]
            owners += [block] * len(ranges)
        missing = Counter(owners)
        pieces: dict[int, dict[int, memoryview]] = {block: {} for block in blocks}
        samples = np.array([first[block] for block in owners], np.int64)
        for position, data in fetched(self._storage, requests, samples):
            block = owners[position]
            pieces[block][requests[position].start] = data
            missing[block] -= 1
            if not missing[block]:
                yield block, self._decoded(block, pieces.pop(block), first[block])

    def _ranges(self, block: int, index: int) -> list[tuple[int, int]]:
        """Where the columns of a row group lie in their file."""
        from headrace.readers.arrow import columns as arrow_columns
        from headrace.readers.arrow import parquet_files

        file, number = int(self._files[block]), int(self._groups[block])
        footer, size = self._footers[file], self._sizes[file]
        if not self._checked[block]:
            unread = parquet_files.Unread(self._storage, self._names[file], size, {})
            names = list({column.name for column in self._columns[file]})
            try:
                parquet_files.check_group(unread, footer, number, names)
            except arrow_columns.ARROW_ERRORS as error:
                raise self._error(block, index, str(error)) from None
            self._checked[block] = True
        group = footer.row_group(number)
        ranges: list[tuple[int, int]] = []
        for leaf in self._leaves[file]:
            chunk = group.column(leaf)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            ranges.append((start, start + chunk.total_compressed_size))
        if not all(0 <= start <= stop <= size for start, stop in ranges):
            raise self._error(block, index, "its footer names places that it does not have")
        starts, stops = np.array(ranges, np.int64).T
        files = np.zeros(len(ranges), np.int64)
        joined = coalesce(files, starts, stops, most_between_bytes=_MOST_BETWEEN_BYTES)
        return [(one.start, one.stop) for one in joined]

    def _decoded(self, block: int, pieces: dict[int, memoryview], index: int) -> dict[str, Any]:
        """The columns of a row group as `arrow_columns.Values`, by their keys."""
        from headrace.readers.arrow import columns as arrow_columns
        from headrace.readers.arrow import parquet_files

        file = int(self._files[block])
        n = int(self._starts[block + 1] - self._starts[block])
        source = parquet_files.Pieces(self._storage, self._names[file], self._sizes[file], pieces)
        names = list({column.name for column in self._columns[file]})
        try:
            opened = parquet_files.parquet_file(source, self._footers[file])
            table = opened.read_row_group(int(self._groups[block]), names, use_threads=False)
            if table.num_rows != n:
                raise arrow_columns.UnfitError(f"it has {table.num_rows} rows in place of {n}")
            return {
                column.key: arrow_columns.decode(
                    arrow_columns.whole(table.column(column.name)), column
                )
                for column in self._columns[file]
            }
        except StorageError:
            raise
        except (*arrow_columns.ARROW_ERRORS, arrow_columns.UnfitError) as error:
            raise self._error(block, index, str(error)) from None

    def _error(self, block: int, index: int, reason: str) -> SampleFormatError:
        path = self._path(int(self._files[block]))
        return SampleFormatError.at(
            index,
            f"sample {index} can't be read: {path!r}, row group {self._groups[block]}: {reason}",
        )

    def _path(self, file: int) -> str:
        return self._storage.location(self._names[file])

    def _first_row(self, columns: list[str]) -> Any:
        """The row group of the first sample, as a table."""
        from headrace.readers.arrow import columns as arrow_columns
        from headrace.readers.arrow import parquet_files

        if not len(self):
            raise ArgumentError(
                f"{self._storage.root!r} must have samples to tell the lengths of the lists in "
                f"columns {columns}, but has none. Store lists of a fixed size."
            )
        block = int(np.searchsorted(self._starts, 0, "right")) - 1
        file = int(self._files[block])
        source = parquet_files.Pieces(self._storage, self._names[file], self._sizes[file], {})
        opened = parquet_files.parquet_file(source, self._footers[file])
        try:
            return opened.read_row_group(int(self._groups[block]), columns, use_threads=False)
        except StorageError:
            raise
        except arrow_columns.ARROW_ERRORS as error:
            raise self._error(block, 0, str(error)) from None
