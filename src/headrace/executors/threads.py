"""Threads: batches are made by threads of this process, ahead of the consumer.

Reading files and numpy's copies release the GIL, so threads read in parallel, and deliver batches
without copying.
"""

from headrace.arguments import check_int
from headrace.executors.lookahead import available_cpus
from headrace.executors.pooled import Pooled
from headrace.executors.tasks import Pool
from headrace.executors.thread_pool import ThreadPool


class Threads(Pooled):
    """Makes batches in `n` threads.

    Args:
        n: number of threads. Default: the CPUs that this process may use, at most 8.
        lookahead_bytes: how many bytes of batches may be ready or being made before they are
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
        n = min(8, available_cpus()) if n is None else check_int("n", n, 1, 1024)
        super().__init__(n, lookahead_bytes)

    def _start_pool(self, before: Pool | None) -> Pool:
        return ThreadPool(self.n)
