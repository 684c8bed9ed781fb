"""Task and Pool: one call, and the workers that run such calls.

What Threads, Processes and Ray have in common. Each task has a lock of its own, so that delivering
a result wakes nobody but the consumer that waits for it.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias

from headrace.errors import ExecutorClosedError
from headrace.executors.executor import Key, Result

_SIGNALS_SEEN_SECONDS = 0.5
_IDLE_SECONDS = 0.1


def closed_error() -> ExecutorClosedError:
    """What comes of taking batches from an executor that was closed meanwhile."""
    return ExecutorClosedError(
        "the executor was closed while batches were still being taken from it. "
        "Close a loader only after its iterators."
    )


def idle_seconds() -> float | None:
    """How long a thread that makes batches may wait for work at a time; None is for ever.

    Without a GIL, what a thread has made and others drop is freed when that thread runs again.
    """
    return None if getattr(sys, "_is_gil_enabled", lambda: True)() else _IDLE_SECONDS


class Task(Generic[Key, Result]):
    """One call, and the lock that its end releases.

    Args:
        function: to be called with `argument`. It is None once that is over or not wanted any more.
        finished: gets a None when the call has ended, until its result is taken.

    Attributes:
        ended_s: when the call has ended, of `time.perf_counter`; 0 before.
    """

    __slots__ = (
        "_done", "_error", "_finished", "_result", "argument", "copying_s", "ended_s",
        "function", "workers_lost",
    )  # fmt: skip

    _result: Result

    def __init__(
        self, function: Callable[[Key], Result], argument: Key, finished: "deque[None]"
    ) -> None:
        self.function: Callable[[Key], Result] | None = function
        self.argument: Key | None = argument
        self.workers_lost = 0
        self.copying_s = self.ended_s = 0.0
        self._finished = finished
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def finish(self, result: Result, copying_s: float = 0.0) -> None:
        """Delivers the result to who waits for it; copying it there took so many seconds."""
        self.copying_s = copying_s
        self._result = result
        self._end()

    def fail(self, error: BaseException) -> None:
        """Has the error raised where the result is waited for."""
        self._error = error
        self._end()

    def cancel(self) -> None:
        """Nobody waits for the result any more: a worker that has not started need not."""
        self.function = None

    def result(self) -> Result:
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

    def _end(self) -> None:
        self.function = self.argument = None
        self.ended_s = time.perf_counter()
        self._finished.append(None)
        self._done.release()


# As pools see it, which run the calls of many maps.
AnyTask: TypeAlias = Task[Any, Any]


class Pool(Protocol):
    """Workers of the process `pid`, until it is `closed`."""

    pid: int
    closed: bool

    def submit(self, task: AnyTask) -> None:
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
