"""CheckedStore: a store of zarr whose failures are told as such. Requires zarr.

zarr takes a chunk that it can't find for one that was never written, which is the fill value.
"""

import asyncio
import os
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import LocalStore, WrapperStore

from headrace.errors import FileMissingError, unreadable
from headrace.readers.shared.format_error import is_of_storage
from headrace.readers.zarr.store import GetsAtOnce
from headrace.storage.local.regular import no_file

_METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}


class CheckedStore(GetsAtOnce, WrapperStore[Store]):
    """What `store` has.

    Args:
        store: to be read.
        location: of it, for messages.
        fills: whether a chunk that is not there is the fill value, and no error.
    """

    def __init__(self, store: Store, location: str, fills: bool) -> None:
        super().__init__(store)
        self._location = location
        self._fills = fills
        self._folder = str(store.root) if isinstance(store, LocalStore) else None

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As zarr asks for it.

        Raises:
            StorageError: it can't be read; as a FileMissingError, there is no such chunk.
        """
        if self._folder is not None:
            refused = no_file(os.path.join(self._folder, key))  # which zarr would wait for
            if refused is not None:
                raise refused
        try:
            data = await self._store.get(key, prototype, byte_range)
            if data is None and key.rpartition("/")[2] not in _METADATA:
                if self._folder is not None:
                    await asyncio.to_thread(_check_missing, os.path.join(self._folder, key))
                if not self._fills:
                    raise FileMissingError(
                        f"there is no chunk {key!r} in {self._location!r}. Unless it was lost: "
                        "zarr leaves out chunks of nothing but the fill value, which are read with "
                        "missing='fill'"
                    )
        except OSError as error:
            if is_of_storage(error):
                raise unreadable(f"{self._location}/{key}", error) from None
            raise
        return data

    def _with_store(self, store: Any) -> "CheckedStore":
        return type(self)(store, self._location, self._fills)


def _check_missing(path: str) -> None:
    """Raises what the system does over the path, unless nothing is there.

    zarr takes a folder, and what would lie below a file, for nothing, too.
    """
    try:
        with open(path, "rb"):
            return
    except FileNotFoundError:
        return
