"""Pooled: an executor with a pool of workers, which it starts, keeps and ends."""

import os
import threading
import weakref
from collections.abc import Callable, Iterable

from headrace.executors.executor import Key, Result, Results
from headrace.executors.lookahead import LookAhead, check_lookahead_bytes
from headrace.executors.tasks import Pool


class Pooled:
    """What Threads, Processes and Ray have in common."""

    def __init__(self, n: int, lookahead_bytes: int | None) -> None:
        self.n = n
        self.lookahead_bytes = check_lookahead_bytes(lookahead_bytes, n)
        self._pool: Pool | None = None
        self._when_dropped: weakref.finalize[[], Pooled] | None = None
        self._starting = threading.RLock()  # a signal handler may close what is being started

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n}, lookahead_bytes={self.lookahead_bytes})"

    def __reduce__(self) -> tuple[Callable[..., "Pooled"], tuple[object, ...]]:
        return _restored, (type(self), self.n, self.lookahead_bytes)

    def map(self, make_batch: Callable[[Key], Result], keys: Iterable[Key]) -> Results[Result]:
        """Yields `make_batch(key)` for each of the keys, in their order."""
        return LookAhead(self, self._running_pool, make_batch, keys, self.n, self.lookahead_bytes)

    def close(self) -> None:
        """Ends the workers and waits for them. A later `map` starts new ones."""
        with self._starting:
            pool, self._pool = self._pool, None
            if self._when_dropped is not None:
                self._when_dropped.detach()
        if pool is not None and pool.pid == os.getpid():
            pool.close()

    def _running_pool(self) -> Pool:
        with self._starting:
            pool = self._pool
            # After a fork the workers are the parent's.
            if pool is None or pool.pid != os.getpid() or pool.closed:
                started = self._start_pool(pool)
                self._pool = started
                # Without waiting for the workers, as it may run anywhere.
                self._when_dropped = weakref.finalize(self, started.stop)
                return started
            return pool

    def _start_pool(self, before: Pool | None) -> Pool:
        """A new pool, instead of one that is the parent's or has failed."""
        raise NotImplementedError


def _restored(kind: "type[Pooled]", n: int, lookahead_bytes: int) -> Pooled:
    return kind(n, lookahead_bytes=lookahead_bytes)
