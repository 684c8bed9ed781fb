"""StorageStore: a storage as a read-only store of zarr. Requires zarr."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from headrace.errors import FileMissingError, StorageError
from headrace.storage.storage import Request, Storage

T = TypeVar("T")

_MOST_AT_ONCE = 64
_MOST_ENDS_KEPT = 256


class GetsAtOnce(Store):
    """A store that gets several parts by `get`, all at once."""

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        return await asyncio.gather(
            *(self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        )


class StorageStore(GetsAtOnce):
    """Whatever zarr asks for goes through `storage`, with its checks, retries and limits.

    For one process. It can't list what there is, as that takes as long as there are chunks.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(read_only=True)
        self._storage = storage
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE, "headrace-zarr")
        # The ends of shards say where their chunks lie, and are asked for with each of these.
        self._ends: dict[tuple[str, int], asyncio.Future[memoryview]] = {}

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        try:
            data = await self._fetched(key, byte_range)
        except FileMissingError:
            return None
        return prototype.buffer.from_bytes(data)

    def _fetched(self, key: str, byte_range: ByteRequest | None) -> "asyncio.Future[memoryview]":
        match byte_range:
            case None:
                return self._in_thread(self._fetch_one, Request(key))
            case RangeByteRequest(start=start, end=end):
                return self._in_thread(self._fetch_one, Request(key, start, end))
            case OffsetByteRequest(offset=offset):
                return self._in_thread(self._fetch_one, Request(key, offset))
            case SuffixByteRequest(suffix=suffix):
                return self._end(key, suffix)
        raise TypeError(f"unknown kind of range: {byte_range!r}")

    def _end(self, key: str, suffix: int) -> "asyncio.Future[memoryview]":
        end = self._ends.pop((key, suffix), None)
        if end is None or (end.done() and (end.cancelled() or end.exception())):
            end = self._in_thread(self._fetch_end, key, suffix)
        self._ends[key, suffix] = end
        if len(self._ends) > _MOST_ENDS_KEPT:
            del self._ends[next(iter(self._ends))]  # the one that was not used for longest
        return asyncio.shield(end)

    def _in_thread(self, function: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, function, *arguments)

    def _fetch_one(self, request: Request) -> memoryview:
        try:
            ((_, data),) = self._storage.fetch([request])
        except FileMissingError as error:
            # What a manifest names is lost, not left out; zarr would fill it in.
            with contextlib.suppress(FileMissingError):
                size = self._storage.size(request.name)
                raise StorageError(f"{error}, though it should have {size} bytes") from None
            raise
        return data

    def _fetch_end(self, key: str, suffix: int) -> memoryview:
        size = self._storage.size(key)
        return self._fetch_one(Request(key, max(0, size - suffix), size))

    async def exists(self, key: str) -> bool:
        try:
            await self._in_thread(self._storage.size, key)
        except FileMissingError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    supports_writes = False
    supports_deletes = False
    supports_partial_writes = False
    supports_listing = False

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError

    async def set_partial_values(self, key_start_values: object) -> None:  # of zarr < 3.1
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    def list(self) -> AsyncIterator[str]:
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError
