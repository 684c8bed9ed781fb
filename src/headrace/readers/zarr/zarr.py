"""Zarr: arrays in Zarr format 2 or 3 whose first axis runs over the samples.

Requires zarr, imported when a reader is made.
"""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from headrace.arrays import Array, Indices
from headrace.arrays.conversion import UnheldError
from headrace.errors import (
    FileMissingError,
    SampleNotFoundError,
    StorageError,
    bad_value,
    missing_extra,
)
from headrace.per_process import PerProcess
from headrace.readers.reader import Arrays, Specs, check_read
from headrace.readers.shared.block_cache import (
    DEFAULT_CACHE_BYTES,
    BlockCache,
    copy_rows,
    rows_of_blocks,
)
from headrace.readers.shared.format_error import bad_sample, while_reading
from headrace.readers.shared.named_arrays import ChosenArrays, DTypes, check_chosen
from headrace.storage.local import paths
from headrace.storage.opening import Root, is_url, open_storage
from headrace.storage.stamps import Stamps, stamp_of_folder
from headrace.storage.storage import Storage

Missing = Literal["fill", "error"]
# So many blocks are read at once at most.
_MOST_AT_ONCE = 64


class Zarr:
    """The rows of a Zarr array, or of several arrays in a group, of format 2 or 3, sharded or not.

    Several arrays make a sample that is a dict. The chunks that a batch needs are read at once,
    and each of them once; shards are not read as a whole. A chunk that is not there is legal in
    Zarr, and its samples are the array's fill value: a chunk that was lost looks the same, unless
    there is a manifest (see `headrace.Verified`), or with missing="error".

    Args:
        root: the folder of an array or a group, or a .zip file of one; a URL; or a storage.
        arrays: the name of one array in the group, such as "train/images"; or the names of several,
            or a dict of names, for samples that are dicts with these keys. Default: the array at
            root, or all arrays of the group by their names; if there is but one, its rows. Behind a
            URL, a group can only be asked for its arrays if its metadata are consolidated.
        dtype: of the samples that are read; for several arrays perhaps a dict, by key. Default: as
            they are stored. Numbers are converted if that does not change their kind; a sample with
            one that does not fit, such as 300 into int8, is an error.
        missing: what a chunk that is not there is: "fill", the array's fill value, as in zarr; or
            an "error". zarr itself leaves out chunks of nothing but the fill value, unless it is
            told to write them (config={"write_empty_chunks": True}), as `headrace pack` does. Of a
            sharded array, a shard is meant.
        cache_bytes: so many bytes of decompressed chunks are kept in memory.

    Raises:
        MissingExtraError: (an ImportError) zarr is not installed, or a codec that the data need.
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such array, or
            not all are equally long, or of a kind that numpy can hold.
        SampleNotFoundError: (a FileNotFoundError) there is no Zarr array or group at root; or, with
            missing="error", a chunk that a sample needs is not there.
        SampleFormatError: (a ValueError) metadata or a chunk are damaged.
        StorageError: (an OSError) the storage fails.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import os, tempfile, zarr
        >>> root = os.path.join(tempfile.mkdtemp(), "data.zarr")
        >>> _ = zarr.create_array(root, data=np.zeros((10, 8, 8), "uint8"), chunks=(4, 8, 8))
        >>> reader = hr.Zarr(root)
        >>> reader.spec, reader.block
        (Spec(shape=(8, 8), dtype=dtype('uint8')), 4)
    """

    def __init__(
        self,
        root: Root,
        arrays: str | Iterable[str] | Mapping[str, str] | None = None,
        *,
        dtype: DTypes = None,
        missing: Missing = "fill",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        try:
            from headrace.readers.zarr.opened import Opened, reopened
        except ModuleNotFoundError:
            raise missing_extra("hr.Zarr", "zarr", "zarr") from None
        self._root = _opened_root(root)
        self._location = self._root if isinstance(self._root, str) else self._root.root
        chosen = check_chosen("arrays", arrays)
        if missing not in get_args(Missing):
            raise bad_value("missing", missing, "'fill' or 'error'")
        fills = missing == "fill"
        opened = Opened(self._root, self._location, chosen, fills)
        # Of perhaps very many files, so that it is told once in each process.
        self._stamp = PerProcess(functools.partial(stamp_of_folder, self._root))
        self._arrays = ChosenArrays("arrays", chosen, opened.stored, dtype, self._location)
        reopen = functools.partial(reopened, self._root, self._location, self._arrays, fills)
        self._opened: PerProcess[Opened] = PerProcess(reopen, opened)
        self.block = self._arrays.block
        # Chunks of one sample each are not worth keeping.
        self._cache: BlockCache[tuple[str, int]] = BlockCache(cache_bytes if self.block > 1 else 0)
        self.blocks_kept = self._cache.blocks_kept(self._arrays.block_nbytes)
        largest = max(array.block * array.spec.nbytes for array in self._arrays.found.values())
        self._at_once = max(1, min(_MOST_AT_ONCE, cache_bytes // max(1, largest)))

    @property
    def spec(self) -> Specs:
        return self._arrays.spec

    def __len__(self) -> int:
        return self._arrays.length

    def __repr__(self) -> str:
        return f"Zarr({self._location!r}, n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the names of the arrays."""
        return self._arrays.fingerprint()

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with any file of the arrays."""
        return np.full(len(indices), self._stamp.get(), np.uint64)

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(len(self), self.spec, indices, out)
        opened = self._opened.get()
        parts = dict(self._arrays.parts(out))
        lengths = {key: self._arrays.found[key].block for key in parts}
        rows = {
            (key, block): chosen
            for key in parts
            for block, chosen in rows_of_blocks(indices // lengths[key])
        }

        def load(wanted: Sequence[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], Array]]:
            for (key, block), result in zip(wanted, opened.load(wanted), strict=True):
                if isinstance(result, BaseException):
                    index = int(indices[rows[key, block][0]])
                    raise self._explained(result, index, key, block)
                yield (key, block), result

        for (key, block), array in self._cache.each(rows, load, self._at_once):
            chosen = rows[key, block]
            try:
                copy_rows(array, indices[chosen] - block * lengths[key], parts[key], chosen)
            except UnheldError as error:
                raise self._explained(error, int(indices[error.row]), key, block) from None

    def _explained(self, error: BaseException, index: int, key: str, block: int) -> BaseException:
        if isinstance(error, FileMissingError):
            return SampleNotFoundError.at(index, f"sample {index} does not exist: {error}")
        if isinstance(error, StorageError) or not isinstance(error, Exception):
            while_reading(error, index)
            return error
        chunk = self._opened.get().chunk_name(key, block)
        explained = bad_sample(index, f"{self._location!r}, {chunk}", error)
        explained.__cause__ = error
        return explained


def _opened_root(root: Root) -> str | Storage:
    """A path of this machine, or a storage."""
    if isinstance(root, (str, os.PathLike)) and not is_url(root):
        if not paths.exists(root):
            allowed = "an existing folder, or a .zip file"
            raise bad_value("root", root, allowed, paths.begin_of_relative(root))
        return os.path.abspath(os.fspath(root))
    storage = open_storage(root)
    return storage.local_path() or storage
