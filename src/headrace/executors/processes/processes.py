"""Processes: batches are made by other processes, for transforms that hold the GIL."""

import os
from collections.abc import Callable, Iterable

from headrace.arguments import check_int
from headrace.errors import HeadraceError
from headrace.executors.executor import Key, Result, Results
from headrace.executors.lookahead import available_cpus
from headrace.executors.pooled import Pooled
from headrace.executors.tasks import Pool


class Processes(Pooled):
    """Makes batches in `n` processes, for transforms that hold the interpreter's lock.

    What a loader reads with is pickled and sent to each worker once. The transform must therefore
    be a function at the top level of a module, unless cloudpickle is installed
    (`headrace[notebook]`): then it may also be of a notebook, or a lambda. A script must do its
    work below `if __name__ == "__main__":`, as always with processes. A worker that dies is
    replaced, and its batch made again. Arrays of a batch lie in memory shared with the worker, so a
    child that is forked must copy those that it goes on using.

    Args:
        n: number of processes. Default: the CPUs that this process may use.
        lookahead_bytes: how many bytes of batches may be ready or being made before they are
            asked for, in shared memory. Default: 32 MiB for each process, and 64 MiB at least.
            Two batches, or one with a single process, are looked ahead whatever their size, and
            never more than 128, or 128 blocks of tiny ones.

    Raises:
        ArgumentError: (a ValueError) an argument is out of range.
        HeadraceError: this system can't pass descriptors between processes (Windows); or, from
            `map`, the script was read from stdin.
        SharedMemoryError: (a MemoryError) from `map`: less memory is left than `lookahead_bytes`.

    Example:
        >>> import headrace as hr
        >>> with_processes = hr.Processes(2)
        >>> list(with_processes.map(abs, [-1, -2, -3]))
        [1, 2, 3]
        >>> with_processes.close()
    """

    def __init__(self, n: int | None = None, *, lookahead_bytes: int | None = None) -> None:
        n = available_cpus() if n is None else check_int("n", n, 1, 1024)
        super().__init__(n, lookahead_bytes)
        if os.name == "nt":
            raise HeadraceError("Processes can't share memory on this system. Use Threads.")

    def map(self, make_batch: Callable[[Key], Result], keys: Iterable[Key]) -> Results[Result]:
        """Yields `make_batch(key)` for each of the keys, in their order.

        A function is sent to the workers when they first need it, and again only if it was dropped
        meanwhile, so they don't see what is changed in it later.
        """
        return super().map(make_batch, keys)

    def _start_pool(self, before: Pool | None) -> Pool:
        import multiprocessing

        from headrace.executors.processes import pickling, shared_memory
        from headrace.executors.processes.pool import ProcessPool

        if multiprocessing.current_process().daemon:
            raise HeadraceError(
                "Processes can't be used in a process that may have none of its own, such as a "
                "worker of PyTorch's DataLoader. Use Inline or Threads there."
            )
        pickling.check_main()
        shared_memory.check_free(self.lookahead_bytes, "The look-ahead in shared memory")
        if before is not None and self._when_dropped is not None:
            self._when_dropped.detach()
            before.close()  # it has failed, but may not be over
        return ProcessPool(self.n)
