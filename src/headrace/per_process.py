"""PerProcess: a value that each process makes for itself, also one that was forked.

A forked child has what its parent had: open handles that it must not share, locks that threads
hold which are not there any more. What is kept in a `PerProcess` is made again in the child, and
is left out when it is pickled.
"""

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """The value that `make()` returns, called once in each process, when it is first asked for.

    Threads may ask at once: one of them makes the value, and the others wait for it. If `make`
    fails, the next call tries again.

    Args:
        make: picklable, if this is to be pickled.
        first: the value of this process, if there is one already.
    """

    def __init__(self, make: Callable[[], T], *first: T) -> None:
        self._make = make
        self._kept: dict[object, _Kept[T]] = {}
        for value in first:
            self._of_this_process().values.append(value)

    def get(self) -> T:
        """The value of this process."""
        kept = self._of_this_process()
        if not kept.values:
            with kept.lock:
                if not kept.values:
                    kept.values.append(self._make())
        return kept.values[0]

    def _of_this_process(self) -> "_Kept[T]":
        kept = self._kept.get(_process)
        if kept is None:
            kept = self._kept.setdefault(_process, _Kept())
            for process in list(self._kept):
                if process is not _process:
                    self._kept.pop(process, None)  # what a fork has left
        return kept

    def __reduce__(self) -> tuple[object, ...]:
        return PerProcess, (self._make,)


class _Kept(Generic[T]):
    """What one process has: at most one value, and the lock that its maker holds."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self.lock = threading.RLock()  # a signal handler may ask while it is made


_process = object()  # stands for this process


def _begin() -> None:
    global _process
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
