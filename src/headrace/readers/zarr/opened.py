"""The arrays of a Zarr array or group that is open in this process. Requires zarr."""

import asyncio
import os
from collections.abc import Sequence

import numpy as np
from zarr import AsyncArray, AsyncGroup
from zarr.abc.store import Store
from zarr.api.asynchronous import open as open_node
from zarr.storage import LocalStore, ZipStore

from headrace.arrays import Array
from headrace.errors import (
    ArgumentError,
    HeadraceError,
    MissingExtraError,
    SampleNotFoundError,
    bad_value,
    unreadable,
)
from headrace.readers.shared.format_error import bad_file, is_of_storage
from headrace.readers.shared.named_arrays import Chosen, ChosenArrays, stored_array
from headrace.readers.zarr.checked_store import CheckedStore
from headrace.readers.zarr.private import sync
from headrace.readers.zarr.shards import ZarrArray, check_chunks, check_index
from headrace.readers.zarr.store import StorageStore
from headrace.storage.local.regular import check_regular
from headrace.storage.storage import Storage


class Opened:
    """The arrays in this process, by their keys in a sample.

    Args:
        root: a path of this machine, or a storage.
        location: of the root, for messages.
        chosen: an array, a group, several arrays by key, or None: all.
        fills: whether a chunk that is not there is the fill value, and no error.
    """

    def __init__(self, root: str | Storage, location: str, chosen: Chosen, fills: bool) -> None:
        self._location, self._fills = location, fills
        try:
            self._arrays: dict[str, ZarrArray] = sync(_open(root, location, chosen, fills))
        except (HeadraceError, ModuleNotFoundError):
            raise
        except FileNotFoundError:
            raise SampleNotFoundError(f"there is no Zarr array or group at {location!r}") from None
        except Exception as error:
            if is_of_storage(error):
                raise unreadable(getattr(error, "filename", None) or location, error) from None
            if type(error).__name__ == "UnknownCodecError":  # of zarr, or of numcodecs
                raise MissingExtraError(
                    f"{location!r} can't be read: {error}. Install the package that has this codec"
                ) from error
            raise bad_file(location, repr(error)) from error
        for array in () if fills else self._arrays.values():
            check_index(array, location)
        self.stored = {
            key: stored_array(
                "arrays", array.path, array.shape, array.dtype, array.chunks[0], location
            )
            for key, array in self._arrays.items()
        }

    def load(self, wanted: Sequence[tuple[str, int]]) -> list[Array | BaseException]:
        """The blocks, each of which is given as (key, number), or why there is none."""
        loaded: list[Array | BaseException] = sync(self._gather(wanted))
        return loaded

    async def _gather(self, wanted: Sequence[tuple[str, int]]) -> list[Array | BaseException]:
        return await asyncio.gather(
            *(self._load(self._arrays[key], block) for key, block in wanted),
            return_exceptions=True,
        )

    async def _load(self, array: ZarrArray, block: int) -> Array:
        if array.shards is not None and not self._fills:
            await check_chunks(array, block, self._location)
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


def reopened(root: str | Storage, location: str, arrays: ChosenArrays, fills: bool) -> Opened:
    """The arrays in another process than the one that chose them."""
    names = arrays.names
    opened = Opened(root, location, None if "" in names.values() else names, fills)
    reason = arrays.check_again(opened.stored)
    if reason is not None:
        raise bad_file(location, reason)
    return opened


async def _open(
    root: str | Storage, location: str, chosen: Chosen, fills: bool
) -> dict[str, ZarrArray]:
    """The arrays by their keys in a sample."""
    store: Store
    if not isinstance(root, str):
        store = StorageStore(root)
    elif os.path.isdir(root):
        store = LocalStore(root, read_only=True)
    else:
        check_regular(root, os.stat(root).st_mode)
        store = ZipStore(root, mode="r")
    node = await open_node(store=CheckedStore(store, location, fills), mode="r")
    if isinstance(node, AsyncArray):
        if chosen is not None:
            raise bad_value("arrays", chosen, f"left out, as {location!r} is an array, not a group")
        return {"": _with_axes(node, location)}
    if isinstance(chosen, dict):
        found = {key: await _member(node, name, location) for key, name in chosen.items()}
        arrays: dict[str, ZarrArray] = {}
        for key, member in found.items():
            if not isinstance(member, AsyncArray):
                raise bad_value("arrays", chosen[key], "the name of an array, not of a group")
            arrays[key] = member
        return {key: _with_axes(array, location) for key, array in arrays.items()}
    if chosen is not None:
        node = await _member(node, chosen, location)
        if isinstance(node, AsyncArray):
            return {chosen: _with_axes(node, location)}
    assert isinstance(node, AsyncGroup)
    inside = await _inside(node, location)
    if not inside:
        raise ArgumentError(
            f"root must contain arrays, but the group {node.name!r} in {location!r} has none."
        )
    return inside


async def _member(group: AsyncGroup, name: str, location: str) -> "ZarrArray | AsyncGroup":
    try:
        return await group.getitem(name)
    except KeyError:
        try:
            there = ", ".join(map(repr, await _inside(group, location))) or "none"
        except ArgumentError:
            there = "which can't be listed"
        raise bad_value("arrays", name, f"an array in {location!r}: {there}") from None


async def _inside(group: AsyncGroup, location: str) -> dict[str, ZarrArray]:
    """All arrays below a group that have axes, by name."""
    if group.metadata.consolidated_metadata is None and not group.store.supports_listing:
        raise ArgumentError(
            f"arrays must be given, as the group {group.name!r} in {location!r} can't be listed: "
            "its metadata are not consolidated. Name them, such as with arrays=['x', 'y'], or call "
            "zarr.consolidate_metadata where it was written."
        )
    members = [member async for member in group.members(max_depth=None)]
    return {
        name: item
        for name, item in sorted(members, key=lambda member: member[0])
        if isinstance(item, AsyncArray) and item.shape
    }


def _with_axes(array: ZarrArray, location: str) -> ZarrArray:
    if not array.shape:
        raise bad_value("arrays", array.path, f"an array with axes in {location!r}")
    return array
