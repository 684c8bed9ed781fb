"""Threads: batches are made by threads of this process, ahead of the consumer.

Reading files and numpy's copies release the GIL, so threads read in parallel, and hand batches over
without copying.
"""

import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from headrace.arguments import check_int
from headrace.executors.executor import Key
from headrace.executors.lookahead import (
    LookAhead,
    Task,
    available_cpus,
    check_lookahead_bytes,
    closed_error,
    idle_seconds,
)


class Threads:
    """Makes batches in `n` threads.

    Args:
        n: number of threads. Default: the CPUs that this process may use, at most 8.
        lookahead_bytes: how many bytes of batches may be ready or in the making before they are
            asked for. Default: 32 MiB for each thread, and 64 MiB at least.
            Two batches, or one with a single thread, are looked ahead whatever their size, and
            never more than 128, or 128 blocks of tiny ones.

    Raises:
        ArgumentError: (a ValueError) an argument is out of range.

    Example:
        >>> import headrace as hr
        >>> list(hr.Threads(2).map(lambda key: key * 2, [1, 2, 3]))
        [2, 4, 6]
    """

    def __init__(self, n: int | None = None, *, lookahead_bytes: int | None = None) -> None:
        self.n = min(8, available_cpus()) if n is None else check_int("n", n, 1, 1024)
        self.lookahead_bytes = check_lookahead_bytes(lookahead_bytes, self.n)
        self._pool: _Pool | None = None
        self._when_dropped: weakref.finalize[..., Threads] | None = None
        self._starting = threading.RLock()  # a signal handler may close what is being started

    def __repr__(self) -> str:
        return f"Threads({self.n}, lookahead_bytes={self.lookahead_bytes})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _threads, (self.n, self.lookahead_bytes)

    def map(self, make_batch: Callable[[Key], Any], keys: Iterable[Key]) -> Iterator[Any]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        return LookAhead(self, self._running_pool, make_batch, keys, self.n, self.lookahead_bytes)

    def close(self) -> None:
        """Ends the threads and waits for them. A later `map` starts new ones."""
        with self._starting:
            pool, self._pool = self._pool, None
            if self._when_dropped is not None:
                self._when_dropped.detach()
        if pool is not None and pool.pid == os.getpid():
            pool.close()

    def _running_pool(self) -> "_Pool":
        with self._starting:
            pool = self._pool
            # After a fork the threads are the parent's alone.
            if pool is None or pool.pid != os.getpid():
                pool = self._pool = _Pool(self.n)
                # Without waiting for the threads, as it may run anywhere.
                self._when_dropped = weakref.finalize(self, pool.stop)
            return pool


def _threads(n: int, lookahead_bytes: int) -> Threads:
    return Threads(n, lookahead_bytes=lookahead_bytes)


class _Pool:
    """Threads that take tasks from a queue until they meet a None."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self._closed = False
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(
                target=_work, args=(self._tasks,), name=f"headrace-{number}", daemon=True
            )
            for number in range(n)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        # Without a lock, as a signal handler may close the pool in the midst of this. What is put
        # before the pool is closed comes before what ends the threads.
        self._tasks.put(task)
        if self._closed:
            raise closed_error()

    def stop(self) -> None:
        """Lets the threads end after the tasks they were given, without waiting."""
        if self.pid != os.getpid():
            return  # a forked child: they are the parent's
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._tasks.put(None)

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()


def _work(tasks: "queue.SimpleQueue[Task | None]") -> None:
    while True:
        try:
            task = tasks.get(timeout=idle_seconds())
        except queue.Empty:
            continue
        if task is None:
            return
        task.run()
        del task  # the batch must not outlive its consumer's use of it
