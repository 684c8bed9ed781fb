"""Hdf5: datasets of an HDF5 file whose first axis runs over the samples. Requires h5py."""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy.typing as npt

from headrace.arguments import check_path
from headrace.arrays import Array, Indices
from headrace.errors import (
    ArgumentError,
    HeadraceError,
    SampleFormatError,
    SampleNotFoundError,
    bad_value,
    missing_extra,
)
from headrace.per_process import PerProcess
from headrace.readers.hdf5.layout import Deflated, Mapped, MappedChunks, ThroughH5py, open_dataset
from headrace.readers.reader import Specs, check_read
from headrace.readers.shared.block_cache import (
    DEFAULT_CACHE_BYTES,
    BlockCache,
    copy_rows,
    rows_of_blocks,
)
from headrace.readers.shared.named_arrays import (
    Chosen,
    ChosenArrays,
    StoredArray,
    check_chosen,
    stored_array,
)
from headrace.readers.shared.sample_files import FormatError
from headrace.storage.opening import is_url

# What h5py raises of a file or chunk that it can't read, and we.
_FAILURES = (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError, FormatError)


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
            as they are stored. Numbers are converted if that does not change their kind.
        cache_bytes: so many bytes of decompressed chunks are kept in memory.

    Raises:
        MissingExtraError: (an ImportError) h5py is not installed.
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such dataset, or
            not all are equally long, or of a kind that arrays can hold.
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) the file or a chunk in it is damaged.

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
        dtype: npt.DTypeLike | Mapping[str, npt.DTypeLike] | None = None,
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
        opened = _Opened(self._path, chosen)
        self._arrays = ChosenArrays("datasets", chosen, opened.stored, dtype, self._path)
        reopen = functools.partial(_reopened, self._path, self._arrays)
        self._opened: PerProcess[_Opened] = PerProcess(reopen, opened)
        self.in_memory = all(
            isinstance(data, Mapped | MappedChunks) for data in opened.data.values()
        )
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

    def read(self, indices: Indices, out: Any) -> None:
        check_read(len(self), self.spec, indices, out)
        opened = self._of_this_process()
        for key, part in self._arrays.parts(out):
            data = opened.data[key]
            if isinstance(data, Mapped | MappedChunks):
                data.read(indices, part)
            else:
                self._read_blocks(key, data, indices, part)

    def _of_this_process(self) -> "_Opened":
        opened = self._opened.get()
        cut = opened.cut()
        if cut is not None:
            raise SampleFormatError(
                f"{cut!r} can't be read: it has become shorter since it was opened"
            )
        return opened

    def _read_blocks(
        self, key: str, data: Deflated | ThroughH5py, indices: Indices, out: Array
    ) -> None:
        rows = dict(rows_of_blocks(indices // data.block))

        def load(wanted: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], Array]]:
            for key, block in wanted:
                try:
                    array = data.load(block)
                except _FAILURES as error:
                    index = int(indices[rows[block][0]])
                    raise SampleFormatError.at(
                        index,
                        f"sample {index} can't be read: {self._path!r}, dataset "
                        f"{self._arrays.found[key].name!r}: {error}",
                    ) from error
                yield (key, block), array

        blocks = [(key, block) for block in rows]
        # Chunks of one sample each are not worth keeping.
        loaded = load(blocks) if data.block == 1 else self._cache.each(blocks, load)
        for (_, block), array in loaded:
            chosen = rows[block]
            copy_rows(array, indices[chosen] - block * data.block, out, chosen)


class _Opened:
    """The datasets of a file that is open in this process, by their keys in a sample.

    Args:
        chosen: a dataset, a group, several datasets by key, or None: all.
    """

    def __init__(self, path: str, chosen: Chosen) -> None:
        h5py = _h5py()
        self.stored: dict[str, StoredArray] = {}
        self.data: dict[str, Mapped | MappedChunks | Deflated | ThroughH5py] = {}
        try:
            self._statuses = {path: os.stat(path)}
            # Where the file system has no locks, none is needed to read.
            self._file = h5py.File(path, "r", locking="best-effort")
            for key, name in _names(self._file, chosen, h5py).items():
                dataset = _dataset(self._file, name, h5py)
                behind_link = os.path.abspath(dataset.file.filename)
                self._statuses.setdefault(behind_link, os.stat(behind_link))
                # First, as it refuses what can't be read.
                stored = stored_array("datasets", name, dataset.shape, dataset.dtype, 1, path)
                data = self.data[key] = open_dataset(dataset)
                self.stored[key] = stored._replace(block=data.block)
        except FileNotFoundError:
            raise SampleNotFoundError(f"there is no file {path!r}") from None
        except HeadraceError:
            raise
        except _FAILURES as error:
            if getattr(error, "errno", None):
                error.add_note(f"headrace: while opening {path!r}")
                raise
            raise SampleFormatError(f"{path!r} can't be read: {error}") from error

    def cut(self) -> str | None:
        """A file that is shorter than it was, if any; HDF5 would read zeros, and a map crash."""
        for path, was in self._statuses.items():
            try:
                now = os.stat(path)
            except OSError:
                continue  # what is removed or out of reach by its name is still open
            if os.path.samestat(now, was) and now.st_size < was.st_size:
                return path
        return None


def _reopened(path: str, arrays: ChosenArrays) -> _Opened:
    """The datasets in another process than the one that chose them."""
    opened = _Opened(path, arrays.names)
    reason = arrays.check_again(opened.stored)
    if reason is not None:
        raise SampleFormatError(f"{path!r} can't be read: {reason}")
    return opened


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError:
        raise missing_extra("hr.Hdf5", "h5py", "hdf5") from None
    return h5py


def _names(file: Any, chosen: Chosen, h5py: Any) -> dict[str, str]:
    """The names of the datasets in the file, by key."""
    if isinstance(chosen, dict):
        return chosen
    group = file if chosen is None else file.get(chosen)
    if not isinstance(group, h5py.Group):
        return {str(chosen): str(chosen)}
    names = {name: f"{group.name}/{name}".strip("/") for name in _inside(group, h5py)}
    if not names:
        raise ArgumentError(
            f"path must contain datasets, but {group.name!r} in {file.filename!r} has none."
        )
    return names


def _inside(group: Any, h5py: Any) -> list[str]:
    """The names of all datasets below a group that have axes."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            names.append(name)

    group.visititems(visit)
    return names


def _dataset(file: Any, name: str, h5py: Any) -> Any:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
        there = ", ".join(map(repr, _inside(file, h5py))) or "none"
        raise bad_value("datasets", name, f"a dataset with axes in {file.filename!r}: {there}")
    return dataset
