"""LocalFiles: a folder of this machine as zarr reads it, but for what is no file. Requires zarr."""

import os

from zarr.abc.store import ByteRequest
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from headrace.storage.local.regular import check_regular


class LocalFiles(LocalStore):
    """Raises a StorageError for a pipe, a socket or a device, which zarr would wait for."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        self._check(key)
        return await super().get(key, prototype, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        self._check(key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    def _check(self, key: str) -> None:
        path = os.path.join(self.root, key)
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return  # as zarr finds out, too
        check_regular(path, mode)
