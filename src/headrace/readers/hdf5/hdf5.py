"""Hdf5: datasets of an HDF5 file whose first axis runs over the samples.

Requires h5py, imported when a reader is made.
"""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from headrace.arguments import check_path
from headrace.arrays import Indices
from headrace.arrays.conversion import UnheldError
from headrace.errors import bad_value, missing_extra
from headrace.per_process import PerProcess
from headrace.pytree import Tree
from headrace.ragged import Ragged, RaggedOut, gather
from headrace.readers.hdf5.layout import FAILURES, ByBlock, BySample, RaggedThroughH5py
from headrace.readers.reader import Batched, Out, Specs, check_read
from headrace.readers.shared.block_cache import (
    DEFAULT_CACHE_BYTES,
    BlockCache,
    copy_rows,
    rows_of_blocks,
)
from headrace.readers.shared.format_error import bad_file, sample_error
from headrace.readers.shared.named_arrays import ChosenArrays, DTypes, check_chosen
from headrace.readers.shared.samples.ragged_parts import check_ragged
from headrace.storage.opening import is_url
from headrace.storage.stamps import Stamps, stamp_of_path

if TYPE_CHECKING:
    from headrace.readers.hdf5.opened import Opened


class Hdf5:
    """The rows of one or several datasets in an HDF5 file.

    Several datasets make a sample that is a dict. Contiguous datasets, and chunks that are not
    compressed, are memory-mapped; chunks compressed with gzip are decompressed by any number of
    threads at once. All else is read through h5py, one thread at a time.

    Args:
        path: the file. It must not be written to meanwhile.
        datasets: the name of one dataset, such as "train/images", whose rows are the samples; or
            the names of several, or a dict of names, for samples that are dicts with these keys; or
            the name of a group, for all datasets below it. Default: all datasets in the file. Of
            groups, the keys are the names below them; links are not followed; and if there is but
            one dataset in it, the samples are its rows.
        dtype: of the samples that are read; for several datasets perhaps a dict, by key. Default:
            as they are stored. Numbers are converted if that does not change their kind; a sample
            with one that does not fit, such as 300 into int8, is an error.
        ragged: True if datasets of rows of any length, such as `h5py.vlen_dtype("int32")` and
            strings, are to be read: a batch of them is a `Ragged`; of strings, of their bytes. Or
            the keys of those datasets.
        cache_bytes: so many bytes of decompressed chunks are kept in memory.

    Raises:
        MissingExtraError: (an ImportError) h5py is not installed, or a filter that the data need.
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such dataset, or
            not all are equally long, or of a kind that arrays can hold.
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) the file or a chunk in it is damaged.
        StorageError: (an OSError) the file can't be read, or is open for writing.

    Example:
        >>> import headrace as hr
        >>> import h5py, os, tempfile
        >>> import numpy as np
        >>> path = os.path.join(tempfile.mkdtemp(), "data.h5")
        >>> with h5py.File(path, "w") as file:
        ...     file["images"] = np.zeros((10, 8, 8), "uint8")
        ...     file["labels"] = np.arange(10)
        >>> hr.Hdf5(path, "images").spec
        Spec(shape=(8, 8), dtype=dtype('uint8'))
        >>> loader = hr.Loader(hr.Hdf5(path), batch_size=2, shuffle=False)
        >>> loader.batch(0, 1)["labels"].tolist()
        [2, 3]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        datasets: str | Iterable[str] | Mapping[str, str] | None = None,
        *,
        dtype: DTypes = None,
        ragged: bool | Iterable[str] = False,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        if is_url(path):
            raise bad_value(
                "path",
                path,
                "a file of this machine",
                "Download it, or store the samples as Zarr, Parquet or files.",
            )
        self._path = check_path("path", path)
        self._cache: BlockCache[tuple[str, int]] = BlockCache(cache_bytes)
        chosen = check_chosen("datasets", datasets)
        any_length = check_ragged(ragged)
        try:
            from headrace.readers.hdf5.opened import Opened, reopened
        except ModuleNotFoundError:
            raise missing_extra("hr.Hdf5", "h5py", "hdf5") from None
        opened = Opened(self._path, chosen, any_length)
        self._arrays = ChosenArrays("datasets", chosen, opened.stored, dtype, self._path)
        reopen = functools.partial(reopened, self._path, self._arrays)
        self._opened: PerProcess[Opened] = PerProcess(reopen, opened)
        self.in_memory = all(isinstance(data, BySample) for data in opened.data.values())
        self.block = self._arrays.block
        self.blocks_kept = self._cache.blocks_kept(self._arrays.block_nbytes)

    @property
    def spec(self) -> Specs:
        return self._arrays.spec

    def __len__(self) -> int:
        return self._arrays.length

    def __repr__(self) -> str:
        return f"Hdf5({self._path!r}, n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the names of the datasets."""
        return self._arrays.fingerprint()

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with the file."""
        return np.full(len(indices), stamp_of_path(self._path), np.uint64)

    def sample_lengths(self) -> Tree[Indices | None]:
        """How long each sample is; as `lengths_of` says.

        The file has lengths beside the places of rows, which are not read; but of datasets that are
        compressed with another filter than gzip, all rows are.

        Raises:
            SampleFormatError: as for reading them.
        """
        known: dict[str, Tree[Indices | None]] = {
            key: self._lengths(key, data) if isinstance(data, RaggedThroughH5py) else None
            for key, data in self._open().data.items()
        }
        return known if isinstance(self.spec, dict) else next(iter(known.values()))

    def _lengths(self, key: str, data: RaggedThroughH5py) -> Indices:
        lengths = [np.empty(0, np.int64)]
        try:
            lengths += data.lengths()
        except FAILURES as error:
            raise self._error(error, sum(map(len, lengths)), key) from error
        return np.concatenate(lengths)

    def _error(self, error: Exception, index: int, key: str) -> Exception:
        dataset = f"dataset {self._arrays.found[key].name!r}"
        return sample_error(error, index, self._path, dataset)

    def _open(self) -> "Opened":
        opened = self._opened.get()
        cut = opened.cut()
        if cut is not None:
            raise bad_file(cut, "it has become shorter since it was opened")
        return opened

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        opened = self._open()
        for key, part in self._arrays.parts(out):
            data = opened.data[key]
            try:
                if isinstance(data, BySample):
                    data.read(indices, part)
                else:
                    self._read_blocks(key, data, indices, part)
            except UnheldError as error:
                raise self._error(error, int(indices[error.row]), key) from None

    def _read_blocks(self, key: str, data: ByBlock, indices: Indices, out: Out) -> None:
        rows = dict(rows_of_blocks(indices // data.block))

        def load(wanted: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], Batched]]:
            for key, block in wanted:
                try:
                    array = data.load(block)
                except FAILURES as error:
                    raise self._error(error, int(indices[rows[block][0]]), key) from error
                yield (key, block), array

        blocks = [(key, block) for block in rows]
        # Chunks of one sample each are not worth keeping.
        loaded = load(blocks) if data.block == 1 else self._cache.each(blocks, load)
        for (_, block), array in loaded:
            chosen = rows[block]
            at = indices[chosen] - block * data.block
            if isinstance(array, Ragged):
                part = RaggedOut(len(chosen), out.element, out.dtype)
                try:
                    gather(array.values, array.offsets[at], array.lengths[at], part)
                except UnheldError as error:
                    raise error.at(int(chosen[error.row])) from None
                out[chosen] = part.result
            else:
                copy_rows(array, at, out, chosen)
