"""Parts of objects: each fetched by one transfer, verified, and kept until it is taken."""

import asyncio
import hashlib
import json
import os
import queue
import re
from collections.abc import Sequence
from typing import NamedTuple

from headrace.errors import ChecksumError, StorageError
from headrace.storage.cache.cache_like import CacheLike
from headrace.storage.manifest import FileSums
from headrace.storage.remote.admission import Consumer, Limits, Ticket
from headrace.storage.remote.client import Endpoint, Reply
from headrace.storage.remote.event_loop import Transfers
from headrace.storage.remote.retries import (
    PAST_THE_END,
    AttemptFailed,
    RetriesFailed,
    gave_up,
    with_retries,
)
from headrace.storage.storage import Request

_MD5_TAG = re.compile(r'"?([0-9a-f]{32})"?')
# Handing less than this to another thread takes longer than verifying it here.
_SMALL_BYTES = 2**14
# Of a larger object the size is asked for first, as it takes part in the deadline.
_LARGE_BYTES = 2**26


class Part(NamedTuple):
    """Bytes [start:stop] of an object, and what the manifest says of it."""

    name: str
    start: int
    stop: int | None
    sums: FileSums | None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the object."""
        if self.sums is not None:
            return self.start == 0 and self.stop == self.sums.bytes
        return self.start == 0 and self.stop is None


class PartFetcher:
    """Fetches parts of the objects of one endpoint. All of it runs in the event loop."""

    def __init__(
        self, endpoint: Endpoint, limits: Limits, cache: CacheLike | None, check_etags: bool
    ) -> None:
        self.limits = limits
        self._endpoint = endpoint
        self._cache = cache
        self._check_etags = check_etags
        # The size of a whole object is known when it comes: until then it may be this.
        self._largest_bytes = 2**20

    async def fetch(
        self, transfers: Transfers, part: Part, ticket: Ticket, cached: bool = True
    ) -> memoryview:
        """The bytes of a part, verified; the ticket then holds them.

        Raises:
            StorageError: all attempts failed.
        """
        cache = self._cache if cached else None
        known = part.stop is not None
        nbytes = self._largest_bytes if part.stop is None else part.stop - part.start
        while True:
            await transfers.admission.enter(ticket, nbytes)
            most = nbytes if known else min(nbytes, _LARGE_BYTES)
            try:
                data = await self._from_cache(cache, part)
                if data is None:
                    data = await self._from_store(transfers, part, most)
                    if cache is not None:
                        await asyncio.to_thread(cache.put, self._cache_key(part), data)
                transfers.admission.arrived(ticket, len(data))
                return data
            except _LargerError as larger:
                known, nbytes = True, larger.nbytes
                self._largest_bytes = max(self._largest_bytes, nbytes)
                transfers.admission.leave(ticket)
            except RetriesFailed as failed:
                what = f"object {Request(*part[:3])} of {self._endpoint.url!r}"
                raise gave_up(failed, what) from None

    async def sizes(self, transfers: Transfers, names: Sequence[str]) -> list[int]:
        """The bytes of whole objects, of which several are asked for at once.

        Raises:
            StorageError: all attempts failed.
        """
        sizes = [0] * len(names)
        left = iter(enumerate(names))

        async def ask() -> None:
            for position, name in left:
                sizes[position] = await self._size(transfers, name, position)

        tasks = [asyncio.create_task(ask()) for _ in range(min(len(names), self.limits.requests))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return sizes

    async def _size(self, transfers: Transfers, name: str, position: int) -> int:
        try:
            return await with_retries(
                lambda: transfers.client.size(self._endpoint, name), self._endpoint.patience
            )
        except RetriesFailed as failed:
            error = gave_up(failed, f"object {name!r} of {self._endpoint.url!r}")
            error.position = position
            raise error from None

    async def _from_store(self, transfers: Transfers, part: Part, most: int) -> memoryview:
        async def attempt() -> memoryview:
            return await self._attempt(transfers, part, most)

        return await with_retries(attempt, self._endpoint.patience, most)

    async def _attempt(self, transfers: Transfers, part: Part, most: int) -> memoryview:
        name, start, stop, sums = part
        if start == stop:
            if sums is None and await transfers.client.size(self._endpoint, name) < stop:
                raise AttemptFailed(PAST_THE_END, "twice")
            return memoryview(b"")
        asked = None if part.is_whole else stop  # servers need not know ranges for whole objects
        reply = await transfers.client.get(self._endpoint, name, start, asked, most)
        if sums is not None and reply.size != sums.bytes:
            message = f"it has {reply.size} bytes, and {sums.bytes} in the manifest"
            raise AttemptFailed(message, "twice", ChecksumError)
        if asked is not None and reply.size < asked:
            raise AttemptFailed(f"the object has {reply.size} bytes", "twice")
        expected = (min(start, reply.size), reply.size if asked is None else asked)
        if (reply.start, reply.stop) != expected:
            raise AttemptFailed(f"bytes [{reply.start}:{reply.stop}] came")
        if reply.data is None:
            raise _LargerError(reply.stop - reply.start)
        data = memoryview(reply.data).cast("B")
        if len(data) != reply.stop - reply.start:
            raise AttemptFailed(f"{len(data)} bytes of {reply.stop - reply.start} came")
        if len(data) <= _SMALL_BYTES:
            self._verify(data, reply, part)
        else:
            await asyncio.to_thread(self._verify, data, reply, part)
        return data

    def _verify(self, data: memoryview, reply: Reply, part: Part) -> None:
        if part.sums is not None:
            try:
                part.sums.check(data, part.start)
            except ChecksumError as error:
                raise AttemptFailed(str(error), "always", ChecksumError) from None
        elif self._check_etags and len(data) == reply.size and reply.e_tag:
            tag = _MD5_TAG.fullmatch(reply.e_tag)
            actual = hashlib.md5(data, usedforsecurity=False).hexdigest() if tag else ""
            if tag and actual != tag[1]:
                # Twice the same is no fault on the way: it is damaged where it lies, unless the
                # ETag is no MD5. Only those who store it can know.
                raise AttemptFailed(
                    f"its MD5 is {actual}, but its ETag {tag[1]}. If ETags are not MD5s there, as "
                    "with SSE-KMS, pass check_etags=False, and best a manifest",
                    "twice",
                    ChecksumError,
                )

    async def _from_cache(self, cache: CacheLike | None, part: Part) -> memoryview | None:
        if cache is None:
            return None
        data = await asyncio.to_thread(cache.get, self._cache_key(part))
        if data is None or (part.stop is not None and len(data) != part.stop - part.start):
            return None
        return data

    def _cache_key(self, part: Part) -> str:
        version = "" if part.sums is None else part.sums.sha256
        return _cache_key(self._endpoint.identity, part.name, version, part.start, part.stop)


class BatchOfParts:
    """Transfers of several parts at once. All but `take` runs in the event loop."""

    def __init__(self, fetcher: PartFetcher, transfers: Transfers, parts: Sequence[Part]) -> None:
        self._fetcher = fetcher
        self._transfers = transfers
        self._left = iter(parts)
        self._n_workers = min(len(parts), fetcher.limits.requests)
        self._consumer = Consumer()
        self._tasks: list[asyncio.Task[None]] = []
        self._tickets: set[Ticket] = set()
        self._done: queue.SimpleQueue[tuple[Part, Ticket, memoryview | _Failed]] = (
            queue.SimpleQueue()
        )

    def start(self) -> None:
        """Begins all transfers that are admitted."""
        create = self._transfers.loop.create_task
        self._tasks = [create(self._work()) for _ in range(self._n_workers)]

    def take(self) -> tuple[Part, memoryview]:
        """The next part that is there, and its bytes; or raises what kept it from coming."""
        if self._transfers.pid != os.getpid():
            raise StorageError("what was asked for before a fork can't be taken in the child")
        part, ticket, result = self._done.get()
        self._transfers.soon(self._leave, ticket)
        if isinstance(result, _Failed):
            raise FetchFailedError(part, result.error)
        return part, result

    def close(self) -> None:
        """Drops what is on its way or was not taken."""
        for task in self._tasks:
            task.cancel()
        for ticket in list(self._tickets):
            self._leave(ticket)

    async def _work(self) -> None:
        for part in self._left:
            ticket = Ticket(self._consumer, self._fetcher.limits)
            self._tickets.add(ticket)
            result: memoryview | _Failed
            try:
                result = await self._fetcher.fetch(self._transfers, part, ticket)
            except Exception as error:
                self._leave(ticket)
                result = _Failed(error)
            self._done.put((part, ticket, result))

    def _leave(self, ticket: Ticket) -> None:
        self._tickets.discard(ticket)
        self._transfers.admission.leave(ticket)


class FetchFailedError(Exception):
    """A part did not come: `error` says why."""

    def __init__(self, part: Part, error: Exception) -> None:
        super().__init__(part, error)
        self.part = part
        self.error = error


class _Failed(NamedTuple):
    error: Exception


class _LargerError(Exception):
    """A whole object has more bytes than room was made for."""

    def __init__(self, nbytes: int) -> None:
        super().__init__(nbytes)
        self.nbytes = nbytes


def _cache_key(endpoint: str, name: str, version: str, start: int, stop: int | None) -> str:
    """The key of the bytes of an object.

    Args:
        endpoint: the URL, and what else says which store it is, without any credential.
        version: a checksum of the object where one is known; "" if objects never change.
        start, stop: the bytes; to its end without `stop`.
    """
    text = json.dumps([endpoint, name, version, start, stop])
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
