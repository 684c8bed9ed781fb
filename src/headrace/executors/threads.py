"""Threads: batches are made by threads of this process, ahead of the consumer.

Reading files and numpy's copies release the GIL, so threads read in parallel and hand batches over
without copying. Each batch is a task with a lock of its own, so that handing one over wakes nobody
but the consumer that waits for it.
"""

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from headrace.arguments import check_int
from headrace.errors import ExecutorClosedError
from headrace.executors.executor import Key
from headrace.structure import nbytes

_LOOKAHEAD_BYTES = 256 * 2**20
# Beyond this, more batches would smooth nothing, and those of a few bytes cost more than their
# bytes.
_MOST_AHEAD = 128
_SIGNALS_SEEN_SECONDS = 0.5


class Threads:
    """Makes batches in `n` threads.

    Args:
        n: number of threads. Default: the CPUs that this process may use, at most 8.
        lookahead_bytes: how many bytes of batches may be ready or in the making before they are
            asked for. Two batches, or one with a single thread, are looked ahead whatever their
            size, and never more than 128.

    Raises:
        ArgumentError: (a ValueError) an argument is out of range.

    Example:
        >>> import headrace as hr
        >>> list(hr.Threads(2).map(lambda key: key * 2, [1, 2, 3]))
        [2, 4, 6]
    """

    def __init__(self, n: int | None = None, *, lookahead_bytes: int = _LOOKAHEAD_BYTES) -> None:
        self.n = min(8, available_cpus()) if n is None else check_int("n", n, 1, 1024)
        self.lookahead_bytes = check_int("lookahead_bytes", lookahead_bytes, 0, 2**62)
        self._pool: _Pool | None = None
        self._when_dropped: weakref.finalize[..., Threads] | None = None
        self._starting = threading.Lock()

    def __repr__(self) -> str:
        return f"Threads({self.n}, lookahead_bytes={self.lookahead_bytes})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _threads, (self.n, self.lookahead_bytes)

    def map(self, make_batch: Callable[[Key], Any], keys: Iterable[Key]) -> Iterator[Any]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        pool = self._running_pool()
        keys = iter(keys)
        least = min(self.n, 2)
        limit = least  # until the first batch tells how large they are
        largest = 1
        tasks: deque[_Task] = deque()

        def top_up() -> None:
            while len(tasks) < limit:
                try:
                    key = next(keys)
                except StopIteration:
                    return
                tasks.append(pool.submit(make_batch, key))

        try:
            while True:
                if pool.pid != os.getpid():
                    raise ExecutorClosedError(
                        "this map was begun before a fork, and its threads are the parent's. "
                        "Begin another one in the child."
                    )
                top_up()
                if not tasks:
                    return
                batch = tasks.popleft().result()
                largest = max(largest, nbytes(batch))
                most = min(self.lookahead_bytes // largest, _MOST_AHEAD)
                # Grows from a small start, so that who takes few batches does not make many.
                limit = max(least, min(2 * limit, most))
                top_up()  # before the consumer goes to work on this batch
                handed_over = [batch]
                del batch
                yield handed_over.pop()  # with no name for it here, it is the consumer's alone
        finally:
            for task in tasks:
                task.cancel()

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
            # After a fork the threads are the parent's alone.
            if self._pool is None or self._pool.pid != os.getpid():
                self._pool = _Pool(self.n)
                # Without waiting for the threads, as it may run anywhere.
                self._when_dropped = weakref.finalize(self, self._pool.stop)
            return self._pool


def _threads(n: int, lookahead_bytes: int) -> Threads:
    return Threads(n, lookahead_bytes=lookahead_bytes)


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Task:
    """One call, and the lock that its end releases."""

    __slots__ = ("_argument", "_done", "_error", "_function", "_result")

    def __init__(self, function: Callable[[Any], Any] | None, argument: Any) -> None:
        self._function = function
        self._argument = argument
        self._result: Any = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Calls the function; what it raises is the consumer's."""
        function = self._function
        if function is not None:
            try:
                self._result = function(self._argument)
            except BaseException as error:
                self._error = error
        self._function = self._argument = None
        self._done.release()

    def cancel(self) -> None:
        """Makes `run` do nothing, if it has not begun."""
        self._function = None

    def result(self) -> Any:
        """Waits for the call; returns its result or raises what it raised."""
        # A wait without end would miss a Ctrl-C that comes just before it, and any on Windows.
        while not self._done.acquire(timeout=_SIGNALS_SEEN_SECONDS):
            pass
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback leads to this frame: a cycle
        return self._result


class _Pool:
    """Threads that take tasks from a queue until they meet a None."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(
                target=_work, args=(self._tasks,), name=f"headrace-{number}", daemon=True
            )
            for number in range(n)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[Any], Any], argument: Any) -> _Task:
        task = _Task(function, argument)
        with self._lock:
            if self._closed:
                raise ExecutorClosedError(
                    "the executor was closed while batches were still being taken from it. "
                    "Close a loader only after its iterators."
                )
            self._tasks.put(task)
        return task

    def stop(self) -> None:
        """Lets the threads end after the tasks they were given, without waiting."""
        if self.pid != os.getpid():
            return  # a forked child: they are the parent's, whose lock may stay locked here
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._tasks.put(None)

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()


def _work(tasks: "queue.SimpleQueue[_Task | None]") -> None:
    while (task := tasks.get()) is not None:
        task.run()
        del task  # the batch must not outlive its consumer's use of it
