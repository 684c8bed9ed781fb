"""Ray: batches are made by tasks on the nodes of a Ray cluster."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headrace.arguments import check_int
from headrace.errors import HeadraceError, missing_extra
from headrace.executors.executor import Key, Result, Results
from headrace.executors.lookahead import available_cpus, check_lookahead_bytes
from headrace.executors.pooled import Pooled
from headrace.executors.tasks import Pool

# A thread waits for each batch that is being made; and look-ahead has no more batches than these.
_MOST_BY_DEFAULT = 128

_forked_from_user_of_ray = False


class Ray(Pooled):
    """Makes batches in stateless tasks of Ray, on any node of its cluster.

    For transforms that take more CPU than the training machine has. What a loader reads with is put
    into Ray's object store once, and each node takes it from there; files must be readable under
    the same paths on all nodes, and headrace installed on them in the same version. Batches come
    through the object store of the consumer's node, where their arrays stay, read-only, until they
    are dropped. A batch that is lost with a node is made again on another one.

    If Ray is not connected yet when the first batch is asked for, `ray.init()` connects it: to the
    cluster of RAY_ADDRESS, or to one that `ray start` has started on this machine, or to a new one
    on this machine alone. `close` ends the tasks of this executor, and leaves Ray running.

    Args:
        n: how many batches the cluster may be making at a time. Default: the CPUs of the cluster
            when a `map` starts, at most 128; before the first one, those of this process.
        lookahead_bytes: how many bytes of batches may be ready or being made before they are
            asked for. Default: 32 MiB for each of n, and 64 MiB at least, but at most half of the
            object store of the consumer's node.
            Two batches, or one if n is 1, are looked ahead whatever their size, and never more than
            128, or 128 blocks of tiny ones.
        options: of Ray's tasks, as `ray.remote` takes them: num_cpus, num_gpus, memory, resources,
            scheduling_strategy, runtime_env and so on, but not num_returns, max_calls, max_retries
            and retry_exceptions, as headrace has failed tasks done again itself.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed.
        HeadraceError: from `map`: this process was forked from one that uses Ray.
        MissingExtraError: (an ImportError) Ray is not installed.
        SharedMemoryError: (a MemoryError) from `map`: `lookahead_bytes` is more than the object
            store of the consumer's node holds.

    Example:
        `hr.Loader(..., executor=hr.Ray(16, num_cpus=2))`. The code of docs/cluster.md is run by the
        tests.
    """

    def __init__(
        self, n: int | None = None, *, lookahead_bytes: int | None = None, **options: Any
    ) -> None:
        super().__init__(
            available_cpus() if n is None else check_int("n", n, 1, 1024), lookahead_bytes
        )
        # What is given; the rest follows from the cluster.
        self._n = None if n is None else self.n
        self._lookahead_bytes = None if lookahead_bytes is None else self.lookahead_bytes
        self._options = options
        try:
            from headrace.executors.ray.pool import check_options
        except ModuleNotFoundError as error:
            raise missing_extra("headrace.Ray", "Ray", "ray") from error
        check_options(options)

    def __repr__(self) -> str:
        given = [] if self._n is None else [repr(self._n)]
        if self._lookahead_bytes is not None:
            given.append(f"lookahead_bytes={self._lookahead_bytes}")
        given += [f"{name}={value!r}" for name, value in self._options.items()]
        return f"Ray({', '.join(given)})"

    def __reduce__(self) -> tuple[Callable[..., Pooled], tuple[object, ...]]:
        return _restored_ray, (self._n, self._lookahead_bytes, self._options)

    def map(self, make_batch: Callable[[Key], Result], keys: Iterable[Key]) -> Results[Result]:
        """Yields `make_batch(key)` for each of the keys, in their order.

        A function is put into the object store when it is first needed, and again only if it was
        dropped meanwhile, so workers don't see what is changed in it later.
        """
        self._meet_cluster()
        return super().map(make_batch, keys)

    def _meet_cluster(self) -> None:
        """Connects to Ray, and sets what is not given by what the cluster has."""
        if _forked_from_user_of_ray:
            raise HeadraceError(
                "Ray can't be used in a process that was forked from one that uses Ray. Start the "
                "process with spawn or forkserver, or use Inline or Threads in it."
            )
        from headrace.executors.ray.cluster import check_fits, connect
        from headrace.executors.ray.pool import RayPool

        cluster = connect()
        if self._n is None:
            self.n = max(1, min(cluster.cpus, _MOST_BY_DEFAULT))
        if self._lookahead_bytes is None:
            most = cluster.store_bytes // 2
            self.lookahead_bytes = min(check_lookahead_bytes(None, self.n), most)
        else:
            check_fits(self._lookahead_bytes, cluster)
        if isinstance(self._pool, RayPool) and self._pool.session != cluster.session:
            self.close()  # Ray was shut down, and what was put there is gone

    def _start_pool(self, before: Pool | None) -> Pool:
        from headrace.executors.ray.pool import RayPool

        return RayPool(self.n, self._options)


def _restored_ray(n: int | None, lookahead_bytes: int | None, options: Mapping[str, object]) -> Ray:
    return Ray(n, lookahead_bytes=lookahead_bytes, **options)


def _note_fork() -> None:
    """Ray hangs in a child of the process that has connected to it, as its threads are gone."""
    global _forked_from_user_of_ray
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    if is_initialized is not None and is_initialized():
        _forked_from_user_of_ray = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
