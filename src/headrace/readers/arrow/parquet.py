"""Parquet: columns of Parquet files, here or behind a URL, a row group at a time.

Of each row group that a batch needs, the bytes of the wanted columns are fetched, all at once where
the storage is far away, and decoded in memory. So no file stays open, and any number of threads and
processes may read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headrace.arrays import fingerprint
from headrace.errors import missing_extra
from headrace.readers.arrow.table_reader import BlockValues, TableReader, open_files
from headrace.readers.arrow.values import Wanted
from headrace.readers.shared.block_cache import DEFAULT_CACHE_BYTES, BlockCache
from headrace.readers.shared.named_arrays import DTypes, check_chosen
from headrace.readers.shared.sample_files import fetched
from headrace.readers.shared.samples.ragged_parts import check_ragged
from headrace.storage.opening import Root
from headrace.storage.storage import Request

if TYPE_CHECKING:
    from headrace.readers.arrow.parquet_files import ParquetFiles

_SUFFIXES = (".parquet", ".pq")
_FAR_GROUPS_AT_ONCE = 16


class Parquet(TableReader):
    """Columns of one Parquet file, or of several as one reader.

    Numbers, bools, timestamps (as datetime64 in UTC), durations and dates become arrays of one
    number for each sample; lists, nested at will, arrays of their shape, which for lists of
    variable length is that of the first sample's and must be the same for all; tensors of a fixed
    shape and binaries of a fixed size (as void of so many bytes) what they are.

    Reading one sample takes decoding its row group, so shuffle with `hr.BlockShuffle`, and write
    row groups of some megabytes: `pyarrow.parquet.write_table(table, path, row_group_size=rows)`.
    Checksums of pages are verified where the file has them, with `write_page_checksum=True`.

    Args:
        root: a file; or a folder, URL or storage with files, in the order of their names.
        columns: the name of one column, whose values are the samples; or the names of several, or a
            dict of names, for samples that are dicts with these keys. Default: all columns of the
            files. A field of a struct is named by a dot, such as "image.bytes". A column may also
            stand in the names of folders, such as "label=0", as whole numbers (int64), others
            (float64) or dates; it is read if it is named.
        names: the files below root, in their order. Default: all that end with .parquet or .pq, but
            those whose name, or that of a folder, begins with a dot or an underscore.
        dtype: of the samples that are read; for several columns perhaps a dict, by key. Default: as
            they are stored. Numbers are converted if that does not change their kind; a sample with
            one that does not fit, such as 300 into int8, is an error. Of a binary of a fixed size,
            the dtype that is in it, with its shape, such as numpy.dtype(("uint8", (32, 32, 3))).
        ragged: True if lists may have any length, strings and binaries too, which are read as
            their bytes (uint8): a batch of such a column is a `Ragged`. Columns of one shape stay
            as they are. Or the keys of those columns.
        cache_bytes: decoded row groups are kept in memory up to so many bytes in each process, and
            at least one. Those in use come on top.

    Raises:
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) a file is damaged, or its columns are not those of the
            first file. When samples are read, also: a value is null, or a list of another length.
        ArgumentError: (a ValueError) there is no such column, or it can't become arrays; or root
            is a table of Delta, Iceberg or Hudi, or has the files of several splits.
        MissingExtraError: (an ImportError) without headrace[arrow] installed, or without a codec
            that the data need.

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

    _block_name = "row group"
    _tables: "ParquetFiles"

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
            from headrace.readers.arrow.parquet_files import ParquetFiles
        except ModuleNotFoundError:
            raise missing_extra("hr.Parquet", "pyarrow", "arrow") from None
        wanted = Wanted(check_chosen("columns", columns), dtype, ragged=check_ragged(ragged))
        cache: BlockCache[int] = BlockCache(cache_bytes)
        super().__init__(ParquetFiles(*open_files(root, names, _SUFFIXES)), wanted, cache)

    @property
    def block(self) -> int:
        """The samples in the largest row group; 1 if only folders' names are read."""
        if not self._tables.columns[0]:
            return 1
        return int(np.diff(self._blocks.starts).max(initial=1))

    @property
    def blocks_kept(self) -> int:
        """How many such row groups are kept decoded."""
        return self._cache.blocks_kept(self.block * self._tables.row_nbytes)

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and numbers of rows, and of the columns' names."""
        tables = self._tables
        rows = [int(of_file.sum()) for of_file in tables.rows]
        columns = list(self._column_names.values())
        return fingerprint(repr((tables.names, tables.sizes, rows, columns)))

    def _values(self, needed: dict[int, int]) -> Iterator[tuple[int, BlockValues]]:
        far = self._tables.storage.local_path() is None

        def load(blocks: Sequence[int]) -> Iterator[tuple[int, BlockValues]]:
            return self._load(blocks, needed)

        return self._cache.each(needed, load, at_once=_FAR_GROUPS_AT_ONCE if far else 1)

    def _load(
        self, blocks: Sequence[int], needed: dict[int, int]
    ) -> Iterator[tuple[int, BlockValues]]:
        """Decodes row groups as their bytes arrive."""
        requests: list[Request] = []
        owners: list[int] = []
        for block in blocks:
            with self._explained(block, needed[block]):
                of_block = self._tables.requests(*self._file_and_number(block))
            requests += of_block
            owners += [block] * len(of_block)
        missing = Counter(owners)
        pieces: dict[int, dict[int, memoryview]] = {block: {} for block in blocks}
        samples = np.array([needed[block] for block in owners], np.int64)
        for position, data in fetched(self._tables.storage, requests, samples):
            block = owners[position]
            pieces[block][requests[position].start] = data
            missing[block] -= 1
            if not missing[block]:
                with self._explained(block, needed[block]):
                    file, number = self._file_and_number(block)
                    values = self._tables.decode(file, number, pieces.pop(block))
                yield block, values
