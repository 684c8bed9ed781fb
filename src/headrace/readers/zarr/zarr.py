"""Zarr: arrays in Zarr format 2 or 3 whose first axis runs over the samples. Requires zarr."""

import asyncio
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices
from headrace.errors import (
    ArgumentError,
    HeadraceError,
    SampleFormatError,
    SampleNotFoundError,
    StorageError,
    bad_value,
    missing_extra,
)
from headrace.per_process import PerProcess
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
    check_chosen,
    stored_array,
)
from headrace.storage.opening import Root, is_url, open_storage
from headrace.storage.storage import Storage

# So many blocks are read at once at most.
_MOST_AT_ONCE = 64


class Zarr:
    """The rows of a Zarr array, or of several arrays in a group, of format 2 or 3, sharded or not.

    Several arrays make a sample that is a dict. The chunks that a batch needs are read at once,
    and each of them once; shards are not read as a whole. A chunk that is not there is legal in
    Zarr, and its samples are the array's fill value: a chunk that was lost looks the same.

    Args:
        root: the folder of an array or a group, or a .zip file of one; a URL; or a storage.
        arrays: the name of one array in the group, such as "train/images"; or the names of several,
            or a dict of names, for samples that are dicts with these keys. Default: the array at
            root, or all arrays of the group by their names; if there is but one, its rows. Behind a
            URL, a group can only be asked for its arrays if its metadata are consolidated.
        dtype: of the samples that are read; for several arrays perhaps a dict, by key. Default: as
            they are stored. Numbers are converted if that does not change their kind.
        cache_bytes: so many bytes of decompressed chunks are kept in memory.

    Raises:
        MissingExtraError: (an ImportError) zarr is not installed.
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such array, or
            not all are equally long, or of a kind that numpy can hold.
        SampleNotFoundError: (a FileNotFoundError) there is no Zarr array or group at root.
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
        dtype: npt.DTypeLike | Mapping[str, npt.DTypeLike] | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        try:
            import zarr  # noqa: F401
        except ModuleNotFoundError:
            raise missing_extra("hr.Zarr", "zarr", "zarr") from None
        self._root = _opened_root(root)
        chosen = check_chosen("arrays", arrays)
        opened = _Opened(self._root, chosen)
        self._arrays = ChosenArrays("arrays", chosen, opened.stored, dtype, _location(self._root))
        reopen = functools.partial(_reopened, self._root, self._arrays)
        self._opened: PerProcess[_Opened] = PerProcess(reopen, opened)
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
        return f"Zarr({_location(self._root)!r}, n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """A hash of the names of the arrays."""
        return self._arrays.fingerprint()

    def read(self, indices: Indices, out: Any) -> None:
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
            copy_rows(array, indices[chosen] - block * lengths[key], parts[key], chosen)

    def _explained(self, error: BaseException, index: int, key: str, block: int) -> BaseException:
        if isinstance(error, StorageError) or not isinstance(error, Exception):
            error.add_note(f"headrace: while reading sample {index}")
            return error
        explained = SampleFormatError.at(
            index,
            f"sample {index} can't be read: {_location(self._root)!r}, "
            f"{self._opened.get().chunk_name(key, block)}: {error}",
        )
        explained.__cause__ = error
        return explained


class _Opened:
    """The arrays in this process, by their keys in a sample.

    Args:
        chosen: an array, a group, several arrays by key, or None: all.
    """

    def __init__(self, root: str | Storage, chosen: Chosen) -> None:
        from zarr.core.sync import sync

        self._sync = sync
        place = _location(root)
        try:
            self._arrays: dict[str, Any] = sync(_open(root, chosen))
        except (HeadraceError, ModuleNotFoundError):
            raise
        except FileNotFoundError:
            raise SampleNotFoundError(f"there is no Zarr array or group at {place!r}") from None
        except Exception as error:
            raise SampleFormatError(f"{place!r} can't be read: {error!r}") from error
        self.stored = {
            key: stored_array(
                "arrays", array.path, array.shape, array.dtype, array.chunks[0], place
            )
            for key, array in self._arrays.items()
        }

    def load(self, wanted: Sequence[tuple[str, int]]) -> list[Array | BaseException]:
        """The blocks, each of which is given as (key, number), or why there is none."""
        loaded: list[Array | BaseException] = self._sync(self._gather(wanted))
        return loaded

    async def _gather(self, wanted: Sequence[tuple[str, int]]) -> list[Array | BaseException]:
        return await asyncio.gather(
            *(self._load(self._arrays[key], block) for key, block in wanted),
            return_exceptions=True,
        )

    async def _load(self, array: Any, block: int) -> Array:
        length = array.chunks[0]
        start, stop = block * length, min((block + 1) * length, array.shape[0])
        return np.asarray(await array.getitem(slice(start, stop)))

    def chunk_name(self, key: str, block: int) -> str:
        """The name of the object that holds the first chunk of a block."""
        array = self._arrays[key]
        stored = array.shards or array.chunks
        at = block * array.chunks[0] // stored[0], *(0 for _ in stored[1:])
        name = f"{array.path}/{array.metadata.encode_chunk_key(at)}".strip("/")
        parts = any(n > length for n, length in zip(array.shape[1:], stored[1:], strict=True))
        return f"{name!r} or those beside it" if parts else repr(name)


def _reopened(root: str | Storage, arrays: ChosenArrays) -> _Opened:
    """The arrays in another process than the one that chose them."""
    names = arrays.names
    opened = _Opened(root, None if "" in names.values() else names)
    reason = arrays.check_again(opened.stored)
    if reason is not None:
        raise SampleFormatError(f"{_location(root)!r} can't be read: {reason}")
    return opened


async def _open(root: str | Storage, chosen: Chosen) -> dict[str, Any]:
    """The arrays by their keys in a sample."""
    from zarr import AsyncArray, AsyncGroup
    from zarr.api.asynchronous import open as open_node
    from zarr.storage import ZipStore

    from headrace.readers.zarr.store import StorageStore

    place = _location(root)
    store: Any = root
    if not isinstance(root, str):
        store = StorageStore(root)
    elif os.path.isfile(root):
        store = ZipStore(root, mode="r")
    node = await open_node(store=store, mode="r")
    if isinstance(node, AsyncArray):
        if chosen is not None:
            raise bad_value("arrays", chosen, f"left out, as {place!r} is an array, not a group")
        return {"": _with_axes(node, place)}
    if isinstance(chosen, dict):
        found = {key: await _member(node, name, place) for key, name in chosen.items()}
        for key, array in found.items():
            if not isinstance(array, AsyncArray):
                raise bad_value("arrays", chosen[key], "the name of an array, not of a group")
        return {key: _with_axes(array, place) for key, array in found.items()}
    if chosen is not None:
        node = await _member(node, chosen, place)
        if isinstance(node, AsyncArray):
            return {chosen: _with_axes(node, place)}
    assert isinstance(node, AsyncGroup)
    inside = await _inside(node, place)
    if not inside:
        raise ArgumentError(
            f"root must contain arrays, but the group {node.name!r} in {place!r} has none."
        )
    return inside


async def _member(group: Any, name: str, place: str) -> Any:
    try:
        return await group.getitem(name)
    except KeyError:
        try:
            there = ", ".join(map(repr, await _inside(group, place))) or "none"
        except ArgumentError:
            there = "which can't be listed"
        raise bad_value("arrays", name, f"an array in {place!r}: {there}") from None


async def _inside(group: Any, place: str) -> dict[str, Any]:
    """All arrays below a group that have axes, by name."""
    from zarr import AsyncArray

    if group.metadata.consolidated_metadata is None and not group.store.supports_listing:
        raise ArgumentError(
            f"arrays must be given, as the group {group.name!r} in {place!r} can't be listed: its "
            "metadata are not consolidated. Name them, such as with arrays=['x', 'y'], or call "
            "zarr.consolidate_metadata where it was written."
        )
    members = [member async for member in group.members(max_depth=None)]
    return {
        name: item
        for name, item in sorted(members, key=lambda member: member[0])
        if isinstance(item, AsyncArray) and item.shape
    }


def _with_axes(array: Any, place: str) -> Any:
    if not array.shape:
        raise bad_value("arrays", array.path, f"an array with axes in {place!r}")
    return array


def _opened_root(root: Root) -> str | Storage:
    """A path of this machine, or a storage."""
    if isinstance(root, (str, os.PathLike)) and not is_url(root):
        if not os.path.exists(root):
            raise bad_value("root", root, "an existing folder, or a .zip file")
        return os.path.abspath(os.fspath(root))
    storage = open_storage(root)
    return storage.local_path() or storage


def _location(root: str | Storage) -> str:
    return root if isinstance(root, str) else root.root
