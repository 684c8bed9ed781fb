"""Threads: batches are made by threads of this process, ahead of the consumer.

Reading files and numpy's copies release the GIL, so threads read in parallel, and hand batches over
without copying.
"""

import os
import queue
import threading

from headrace.arguments import check_int
from headrace.executors.lookahead import Pool, Task, available_cpus, closed_error, idle_seconds
from headrace.executors.pooled import Pooled


class Threads(Pooled):
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
        n = min(8, available_cpus()) if n is None else check_int("n", n, 1, 1024)
        super().__init__(n, lookahead_bytes)

    def _start_pool(self, before: Pool | None) -> Pool:
        return _Pool(self.n)


class _Pool:
    """Threads that take tasks from a queue until they meet a None."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self.closed = False
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
        if self.closed:
            raise closed_error()

    def stop(self) -> None:
        """Lets the threads end after the tasks they were given, without waiting."""
        if self.pid != os.getpid():
            return  # a forked child: they are the parent's
        if not self.closed:
            self.closed = True
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
