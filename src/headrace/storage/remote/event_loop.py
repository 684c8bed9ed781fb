"""What carries the transfers of this process: an event loop in a thread, made on first use.

A process that was forked leaves what it inherited alone, and makes its own.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from headrace.storage.remote.admission import Admission
from headrace.storage.remote.helper_process import HelperClient

T = TypeVar("T")
P = ParamSpec("P")

# Those verify checksums and ask the cache.
_WORKER_THREADS = 4
_END_SECONDS = 5.0


class Transfers:
    """An event loop in a thread of its own, with what all its transfers share."""

    def __init__(self, client: HelperClient) -> None:
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

    def soon(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Has the function called in the loop, unless the interpreter is ending."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(functools.partial(function, *args, **kwargs))

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
    """What this process has; `inherited` is what a fork left behind, never to be touched.

    Not a `PerProcess`: a forked child must close its end of the helper's channel at once, whether
    it transfers anything or not, and never drop the loop, which would take what the parent waits
    for out of the kernel's list that both share.
    """

    lock = threading.Lock()
    transfers: Transfers | None = None
    inherited: list[Transfers] = []


def transfers_of_this_process() -> Transfers:
    """They are made when they are first asked for."""
    found = _Process.transfers
    if found is not None:
        return found
    with _Process.lock:
        if _Process.transfers is None:
            _Process.transfers = Transfers(HelperClient())
            atexit.register(_end, os.getpid())
        return _Process.transfers


def _end(pid: int) -> None:
    if _Process.transfers is not None and os.getpid() == pid:
        _Process.transfers.end()


def _after_fork() -> None:
    _Process.lock = threading.Lock()
    if _Process.transfers is not None:
        _Process.transfers.client.abandon()
        _Process.inherited.append(_Process.transfers)
        _Process.transfers = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
