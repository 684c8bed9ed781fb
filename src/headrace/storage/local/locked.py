"""Locks on files that end with the process that holds them, however it ends."""

import contextlib
import random
import time
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_FLOCK = fcntl is not None


class BusyError(Exception):
    """Another one holds a lock."""


@contextlib.contextmanager
def locked(file: int, patience_seconds: float) -> Iterator[None]:
    """Holds the lock (`flock`) of an open file, which no one else then holds who has opened it.

    Raises:
        BusyError: another one holds it for so long.
    """
    give_up = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise BusyError from None
            time.sleep(random.uniform(0.0002, 0.002))
    try:
        yield
    finally:
        # Said, as a child that was forked meanwhile has the descriptor, too.
        fcntl.flock(file, fcntl.LOCK_UN)
