"""Look-ahead: results of tasks in the order of their keys, made ahead within a budget in bytes.

What Threads and Processes have in common. Each task has a lock of its own, so that handing a result
over wakes nobody but the consumer that waits for it.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol

from headrace.arguments import check_int
from headrace.errors import ExecutorClosedError
from headrace.pytree import nbytes

_LEAST_LOOKAHEAD_BYTES = 64 * 2**20
_LOOKAHEAD_BYTES_EACH = 32 * 2**20
# Beyond this, more batches would smooth nothing, and those of a few bytes cost more than their
# bytes.
_MOST_AHEAD = 128
_SIGNALS_SEEN_SECONDS = 0.5
_IDLE_SECONDS = 0.1


def closed_error() -> ExecutorClosedError:
    """What comes of taking batches from an executor that was closed meanwhile."""
    return ExecutorClosedError(
        "the executor was closed while batches were still being taken from it. "
        "Close a loader only after its iterators."
    )


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_lookahead_bytes(lookahead_bytes: int | None, workers: int) -> int:
    """What is asked for; without it 32 MiB for each worker, and 64 MiB at least.

    More would smooth hardly anything, and memory that is not in the CPU's caches is slower.
    """
    if lookahead_bytes is None:
        return max(_LEAST_LOOKAHEAD_BYTES, workers * _LOOKAHEAD_BYTES_EACH)
    return check_int("lookahead_bytes", lookahead_bytes, 0, 2**62)


def idle_seconds() -> float | None:
    """How long a thread that makes batches may wait for work at a time; None is for ever.

    Without a GIL, what a thread has made and others drop is freed when that thread runs again.
    """
    return None if getattr(sys, "_is_gil_enabled", lambda: True)() else _IDLE_SECONDS


class Task:
    """One call, and the lock that its end releases."""

    __slots__ = (
        "_done", "_error", "_finished", "_result", "argument", "copying_s", "function",
        "workers_lost",
    )  # fmt: skip

    def __init__(
        self, function: Callable[[Any], Any], argument: Any, finished: "deque[None]"
    ) -> None:
        self.function: Callable[[Any], Any] | None = function
        self.argument = argument
        self.workers_lost = 0
        self.copying_s = 0.0
        self._finished = finished
        self._result: Any = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Calls the function; what it raises is the consumer's."""
        function = self.function
        result, error = None, None
        if function is not None:
            try:
                result = function(self.argument)
            except BaseException as raised:
                error = raised
        self.finish(result, error)

    def finish(
        self, result: Any, error: BaseException | None = None, copying_s: float = 0.0
    ) -> None:
        """Hands the outcome to who waits for it; copying it there took so many seconds."""
        self.copying_s = copying_s
        self._result, self._error = result, error
        self.function = self.argument = None
        self._finished.append(None)
        self._done.release()

    def cancel(self) -> None:
        """Makes `run` do nothing, if it has not begun."""
        self.function = None

    def result(self) -> Any:
        """Waits for the call; returns its result or raises what it raised."""
        # A wait without end would miss a Ctrl-C that comes just before it, and any on Windows.
        while not self._done.acquire(timeout=_SIGNALS_SEEN_SECONDS):
            pass
        self._finished.popleft()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback leads to this frame: a cycle
        return self._result


class Pool(Protocol):
    """Workers of the process `pid`, until it is `closed`."""

    pid: int
    closed: bool

    def submit(self, task: Task) -> None:
        """Has a worker run the task.

        Raises:
            ExecutorClosedError: (a RuntimeError) the workers have been ended.
        """
        ...

    def stop(self) -> None:
        """Lets the workers end, without waiting for it."""
        ...

    def close(self) -> None:
        """Ends the workers and waits for them."""
        ...


class LookAhead(Iterator[Any]):
    """The results of `function` for each of the keys, in their order.

    Args:
        executor: kept as long as this lives.
        start_pool: gives the executor's pool, when the first result is asked for.
        workers: of the pool.
        lookahead_bytes: how many bytes of results may be ready or in the making. Two results, or
            one with a single worker, are looked ahead whatever their size.
    """

    def __init__(
        self,
        executor: Any,
        start_pool: Callable[[], Pool],
        function: Callable[[Any], Any],
        keys: Iterable[Any],
        workers: int,
        lookahead_bytes: int,
    ) -> None:
        self._executor = executor
        self._copying_s = [0.0]
        self._finished: deque[None] = deque()
        self._results = _results(
            start_pool, function, iter(keys), min(workers, 2), lookahead_bytes, self._finished,
            self._copying_s,
        )  # fmt: skip

    @property
    def ready(self) -> int:
        """How many results are made and not taken yet."""
        return len(self._finished)

    @property
    def copying_s(self) -> float:
        """How long workers took in all to copy the results that were taken to the consumer."""
        return self._copying_s[0]

    def __next__(self) -> Any:
        return next(self._results)

    def close(self) -> None:
        """Lets go of the keys, and of the results that were not taken."""
        self._results.close()


def _results(
    start_pool: Callable[[], Pool],
    function: Callable[[Any], Any],
    keys: Iterator[Any],
    least: int,
    lookahead_bytes: int,
    finished: "deque[None]",
    copying_s: list[float],
) -> Generator[Any, None, None]:
    pool = start_pool()
    limit = least  # until the first result tells how large they are
    largest = 1
    tasks: deque[Task] = deque()

    def top_up() -> None:
        while len(tasks) < limit:
            try:
                key = next(keys)
            except StopIteration:
                return
            task = Task(function, key, finished)
            pool.submit(task)
            tasks.append(task)

    try:
        while True:
            if pool.pid != os.getpid():
                raise ExecutorClosedError(
                    "this map was begun before a fork, and its workers are the parent's. "
                    "Begin another one in the child."
                )
            top_up()
            if not tasks:
                return
            task = tasks.popleft()
            result = task.result()
            copying_s[0] += task.copying_s
            del task
            largest = max(largest, nbytes(result))
            most = min(lookahead_bytes // largest, _MOST_AHEAD)
            # Grows from a small start, so that who takes few batches does not make many.
            limit = max(least, min(2 * limit, most))
            top_up()  # before the consumer goes to work on this batch
            handed_over = [result]
            del result
            yield handed_over.pop()  # with no name for it here, it is the consumer's alone
    finally:
        for task in tasks:
            task.cancel()
