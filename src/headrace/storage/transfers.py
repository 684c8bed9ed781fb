"""What carries the transfers of this process: an event loop in a thread, made on first use.

The threads of obstore do not survive a fork, and anything asked of it in the child would wait for
them for ever. So a child that was forked from a process with obstore in it leaves what it
inherited alone, and has its requests made by a helper process.
"""

import asyncio
import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from headrace.storage.admission import Admission
from headrace.storage.obstore_client import Listed, ObstoreClient, Place, Reply

T = TypeVar("T")

# Those verify checksums and ask the cache.
_WORKER_THREADS = 4
_END_SECONDS = 5.0


class Client(Protocol):
    """Makes single requests: `ObstoreClient`, or `HelperClient` for a forked process."""

    async def get(
        self, place: Place, name: str, start: int, stop: int | None, most_bytes: int
    ) -> Reply: ...

    async def size(self, place: Place, name: str) -> int: ...

    async def names(self, place: Place, after: str) -> Listed: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


class Transfers:
    """An event loop in a thread of its own, with what all its transfers share."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.admission = Admission()
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._workers = ThreadPoolExecutor(_WORKER_THREADS, "headrace-remote")
        self.loop.set_default_executor(self._workers)
        self._thread = threading.Thread(target=self._run, name="headrace-transfers", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, run in the loop."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Has the function called in the loop, unless the interpreter is ending."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function, *arguments)

    def end(self) -> None:
        """Drops all transfers."""
        self.soon(self.loop.stop)
        self._thread.join(_END_SECONDS)
        self.client.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self.loop.close()


class _Process:
    """What this process has; `inherited` is what a fork left behind, never to be touched."""

    lock = threading.Lock()
    transfers: Transfers | None = None
    forked_with_obstore = False
    inherited: list[Any] = []


def transfers_of_this_process() -> Transfers:
    """They are made when they are first asked for."""
    found = _Process.transfers
    if found is not None:
        return found
    with _Process.lock:
        if _Process.transfers is None:
            client: Client = ObstoreClient()
            if _Process.forked_with_obstore:
                from headrace.storage.helper_process import HelperClient

                client = HelperClient()
            _Process.transfers = Transfers(client)
            atexit.register(_end, os.getpid())
        return _Process.transfers


def _end(pid: int) -> None:
    # Threads of obstore that call back into an interpreter that has ended would crash it.
    if _Process.transfers is not None and os.getpid() == pid:
        _Process.transfers.end()


def _after_fork() -> None:
    _Process.lock = threading.Lock()
    if _Process.transfers is not None:
        _Process.transfers.client.abandon()
        _Process.inherited.append(_Process.transfers)
        _Process.transfers = None
    if "obstore" in sys.modules:
        _Process.forked_with_obstore = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
