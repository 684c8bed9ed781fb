"""Processes: batches are made by other processes, for transforms that hold the GIL."""

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headrace.arguments import check_int
from headrace.errors import HeadraceError
from headrace.executors.executor import Key
from headrace.executors.lookahead import LookAhead, available_cpus, check_lookahead_bytes

if TYPE_CHECKING:
    from headrace.executors.process_pool import ProcessPool


class Processes:
    """Makes batches in `n` processes, for transforms that hold the interpreter's lock.

    What a loader reads with is pickled and sent to each worker once. The transform must therefore
    be a function at the top level of a module, and a script must do its work below
    `if __name__ == "__main__":`, as always with processes. A worker that dies is replaced, and its
    batch made again. Arrays of a batch lie in memory shared with the worker, so a child that is
    forked must copy those that it goes on using.

    Args:
        n: number of processes. Default: the CPUs that this process may use.
        lookahead_bytes: how many bytes of batches may be ready or in the making before they are
            asked for, in shared memory. Default: 32 MiB for each process, and 64 MiB at least.
            Two batches, or one with a single process, are looked ahead whatever their size, and
            never more than 128, or 128 blocks of tiny ones.

    Raises:
        ArgumentError: (a ValueError) an argument is out of range.
        HeadraceError: this system can't pass descriptors between processes (Windows).
        SharedMemoryError: (a MemoryError) from `map`: less memory is left than `lookahead_bytes`.

    Example:
        >>> import headrace as hr
        >>> with_processes = hr.Processes(2)
        >>> list(with_processes.map(abs, [-1, -2, -3]))
        [1, 2, 3]
        >>> with_processes.close()
    """

    def __init__(self, n: int | None = None, *, lookahead_bytes: int | None = None) -> None:
        self.n = available_cpus() if n is None else check_int("n", n, 1, 1024)
        self.lookahead_bytes = check_lookahead_bytes(lookahead_bytes, self.n)
        if os.name == "nt":
            raise HeadraceError("Processes can't share memory on this system. Use Threads.")
        self._pool: ProcessPool | None = None
        self._when_dropped: weakref.finalize[..., Processes] | None = None
        self._starting = threading.RLock()  # a signal handler may close what is being started

    def __repr__(self) -> str:
        return f"Processes({self.n}, lookahead_bytes={self.lookahead_bytes})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _processes, (self.n, self.lookahead_bytes)

    def map(self, make_batch: Callable[[Key], Any], keys: Iterable[Key]) -> Iterator[Any]:
        """Yields `make_batch(key)` for each of the keys, in their order.

        A function is sent to the workers when they first need it, and again only if it was dropped
        meanwhile, so they don't see what is changed in it later.
        """
        return LookAhead(self, self._running_pool, make_batch, keys, self.n, self.lookahead_bytes)

    def close(self) -> None:
        """Ends the processes and waits for them. A later `map` starts new ones."""
        with self._starting:
            pool, self._pool = self._pool, None
            if self._when_dropped is not None:
                self._when_dropped.detach()
        if pool is not None:
            pool.close()

    def _running_pool(self) -> "ProcessPool":
        with self._starting:
            pool = self._pool
            # After a fork the workers are the parent's.
            if pool is None or pool.pid != os.getpid() or pool.closed:
                import multiprocessing

                from headrace.executors import shared_memory
                from headrace.executors.process_pool import ProcessPool

                if multiprocessing.current_process().daemon:
                    raise HeadraceError(
                        "Processes can't be used in a process that may have none of its own, such "
                        "as a worker of PyTorch's DataLoader. Use Inline or Threads there."
                    )
                shared_memory.check_free(self.lookahead_bytes, "The look-ahead in shared memory")
                if pool is not None and self._when_dropped is not None:
                    self._when_dropped.detach()
                    pool.close()  # it has failed, but may not be over
                pool = self._pool = ProcessPool(self.n)
                # Without waiting for the processes, as it may run anywhere.
                self._when_dropped = weakref.finalize(self, pool.stop)
            return pool


def _processes(n: int, lookahead_bytes: int) -> Processes:
    return Processes(n, lookahead_bytes=lookahead_bytes)
