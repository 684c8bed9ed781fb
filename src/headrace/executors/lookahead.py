"""Look-ahead: results in the order of their keys, made ahead within a budget in bytes."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator

from headrace.arguments import check_int
from headrace.errors import ExecutorClosedError
from headrace.executors.executor import Key, Result
from headrace.executors.tasks import Pool, Task
from headrace.pytree import nbytes

_LEAST_LOOKAHEAD_BYTES = 64 * 2**20
_LOOKAHEAD_BYTES_EACH = 32 * 2**20
# Beyond this, more batches would smooth nothing, and those of a few bytes cost more than their
# bytes.
_MOST_AHEAD = 128
# Look-ahead grows where workers had nothing to do for more than this share of the time, of which
# so much is forgotten with each result: it does not grow for being held up once.
_IDLE_SHARE = 1 / 8
_FORGOTTEN = 1 / 8


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


class LookAhead(Iterator[Result]):
    """The `Results` of `function` for each of the keys.

    Args:
        executor: kept as long as this lives.
        start_pool: gives the executor's pool, when the first result is asked for.
        workers: of the pool.
        lookahead_bytes: how many bytes of results may be ready or being made. Two results, or one
            with a single worker, are looked ahead whatever their size.
    """

    def __init__(
        self,
        executor: object,
        start_pool: Callable[[], Pool],
        function: Callable[[Key], Result],
        keys: Iterable[Key],
        workers: int,
        lookahead_bytes: int,
    ) -> None:
        self._executor = executor
        self._copying_s = [0.0]
        self._finished: deque[None] = deque()
        self._results = _results(
            start_pool, function, iter(keys), workers, lookahead_bytes, self._finished,
            self._copying_s,
        )  # fmt: skip

    @property
    def ready(self) -> int:
        """How many results are finished and not taken yet."""
        return len(self._finished)

    @property
    def copying_s(self) -> float:
        """How many seconds it took in all to copy the results that were taken to the consumer."""
        return self._copying_s[0]

    def __next__(self) -> Result:
        return next(self._results)

    def close(self) -> None:
        """Lets go of the keys, and of the results that were not taken."""
        self._results.close()


def _results(
    start_pool: Callable[[], Pool],
    function: Callable[[Key], Result],
    keys: Iterator[Key],
    workers: int,
    lookahead_bytes: int,
    finished: "deque[None]",
    copying_s: list[float],
) -> Generator[Result, None, None]:
    pool = start_pool()
    limit = least = min(workers, 2)  # until the first result tells how large they are
    largest = 1
    work = _Work(workers)
    tasks: deque[Task[Key, Result]] = deque()

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
            largest = max(largest, nbytes(result))
            most = max(least, min(lookahead_bytes // largest, _MOST_AHEAD))
            # Grows from a small start, so that who takes few batches does not make many, and only
            # where workers run out of work: where they are the slower ones, more would only take
            # memory.
            if limit < workers or (limit < most and work.ran_out((task, *tasks))):
                limit += max(1, limit - 1)
            limit = min(limit, most)
            del task
            top_up()  # before the consumer goes to work on this batch
            work.given(len(tasks) - len(finished))
            delivered = [result]
            del result
            yield delivered.pop()  # with no name for it here, it is the consumer's alone
    finally:
        for task in tasks:
            task.cancel()


class _Work:
    """Whether workers have enough work."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._idle_s = self._elapsed_s = 0.0
        self.given(workers)

    def given(self, tasks: int) -> None:
        """So many tasks are there for them now."""
        self._tasks, self._given_s = tasks, time.perf_counter()

    def ran_out(self, tasks: Iterable[Task[Key, Result]]) -> bool:
        """Whether they have had nothing to do for much of the time since it was so last.

        Args:
            tasks: those that were given, and others that ended before.
        """
        now_s = time.perf_counter()
        ends_s = sorted(task.ended_s for task in tasks if task.ended_s > self._given_s)
        spare = self._tasks - self._workers
        idle_s = sum(now_s - end_s for end_s in ends_s[max(0, spare) :])
        idle_s += max(0, -spare) * (now_s - self._given_s)
        self._idle_s = (1 - _FORGOTTEN) * self._idle_s + idle_s / self._workers
        self._elapsed_s = (1 - _FORGOTTEN) * self._elapsed_s + now_s - self._given_s
        ran_out = self._idle_s > _IDLE_SHARE * self._elapsed_s
        if ran_out:
            self._idle_s = 0.0
        return ran_out
