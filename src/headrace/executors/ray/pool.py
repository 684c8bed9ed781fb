"""RayPool: the threads behind `Ray`, in a module of its own, as it needs Ray.

Threads of the consumer's process each take a key, have a task of Ray make its batch, and wait for
it, so that batches come to the consumer's node ahead of their use. A task has no state that
matters: what a worker process keeps from one task to the next are functions that it has loaded.

Ray does not retry these tasks; the thread that waits for one submits it again. So a death of a
worker, which its batch may be the reason of, can be told from that of a node, and counted apart.
"""

import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any

import ray
from ray import exceptions

from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    HeadraceError,
    SharedMemoryError,
    WorkerDiedError,
    bad_value,
)
from headrace.executors.failures import Failed, loaded
from headrace.executors.ray.cluster import current_session, warn_if_no_node_has
from headrace.executors.ray.task import REMEDY, TASK, Packed, Reference, packed
from headrace.executors.tasks import AnyTask, closed_error
from headrace.executors.thread_pool import ThreadPool

_OURS = ("num_returns", "max_calls", "max_retries", "retry_exceptions")
# How often a thread looks whether somebody still wants the batch that it waits for.
_WANTED_SECONDS = 0.25
# A node that dies may first be noticed by its workers' deaths.
_MOST_WORKERS_LOST = 3
_MOST_NODES_LOST = 10
_MOST_INTERRUPTS = 8


def check_options(options: Mapping[str, object]) -> None:
    """Raises an error unless Ray takes the options for a task, and headrace does not set them.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an option is not allowed.
    """
    for name in _OURS:
        if name in options:
            raise bad_value(
                name, options[name], "left out", "headrace has tasks done again itself."
            )
    try:
        TASK.options(**options)
    except (TypeError, ValueError) as error:
        kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentError
        raise kind(
            f"options must be those of a task of Ray, but {options!r} were given. {error}"
        ) from error


class RayPool(ThreadPool):
    """Threads that have tasks of Ray make batches, and wait for them."""

    def __init__(self, n: int, options: Mapping[str, object]) -> None:
        warn_if_no_node_has(options)
        self.session = current_session()
        self._task = TASK.options(**options)
        self._functions: dict[int, tuple[Callable[[], object], Reference]] = {}
        self._putting = threading.Lock()
        super().__init__(n)

    def run(self, task: AnyTask) -> None:
        """Has a task of Ray done, again and again if it is lost, and delivers its result."""
        function, argument = task.function, task.argument
        if function is None:  # cancelled
            return
        try:
            result, error = self._outcome(task, function, argument)
        except BaseException as raised:
            task.fail(raised)
            return
        if error is not None:
            task.fail(error)
        else:
            task.finish(result)

    def close(self) -> None:
        super().close()
        self._functions.clear()

    def _outcome(
        self, task: AnyTask, function: Callable[[Any], object], argument: object
    ) -> tuple[object, BaseException | None]:
        """The result, or what the function raised."""
        nodes_lost = 0
        while True:
            try:
                answer = self._answer(task, function, argument)
                return (None, answer.raised()) if isinstance(answer, Failed) else loaded(*answer)
            except (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError) as error:
                # Ray puts what its store has no room for on disk, up to a part of the disk.
                disk = isinstance(error, exceptions.OutOfDiskError)
                raise SharedMemoryError(
                    f"a node of Ray has no room in its object store for the batch of {argument}"
                    f"{', and its disk is too full to help out' if disk else ''}. "
                    "Use a smaller batch_size or lookahead_bytes, or give the nodes larger stores"
                    f"{' or free disk space' if disk else ''}."
                ) from error
            except (exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
                nodes_lost += 1
                if nodes_lost == _MOST_NODES_LOST:
                    raise WorkerDiedError(
                        f"{nodes_lost} nodes of Ray in a row were lost with the batch of "
                        f"{argument}. Does it take more memory than a node has?"
                    ) from error
            except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
                task.workers_lost += 1
                if task.workers_lost == _MOST_WORKERS_LOST:
                    raise WorkerDiedError(
                        f"{task.workers_lost} workers of Ray in a row died while they made the "
                        f"batch of {argument}. If that is for want of memory, say how much a batch "
                        "takes, with Ray(memory=...), or use a smaller batch_size."
                    ) from error
            except exceptions.RayError as error:
                # What the function raises comes as a `Failed`. So this is a worker that can't start
                # or answer, be it that headrace is missing there, or that its node is ending.
                task.workers_lost += 1
                may_pass = isinstance(error, exceptions.RayTaskError)
                if not may_pass or task.workers_lost == _MOST_WORKERS_LOST:
                    raise HeadraceError(
                        f"Ray can't make the batch of {argument}: its error, above, says why. Each "
                        "node must have headrace, and what the transform imports, in the versions "
                        "that are here."
                    ) from error

    def _answer(
        self, task: AnyTask, function: Callable[[Any], object], argument: object
    ) -> Packed | Failed:
        """What a task of Ray returns that is run once."""
        self._check_wanted(task)
        reference = self._task.remote((self._put(function), argument))
        # Unlike `ray.get` with a timeout, this goes on with fetching a batch that is slow to come.
        future: Future[Packed | Failed] = reference.future()
        while not wait([future], _WANTED_SECONDS).done:
            try:
                self._check_wanted(task)
            except BaseException:
                _cancel(reference, future)
                raise
        return future.result()

    def _check_wanted(self, task: AnyTask) -> None:
        if self.closed or task.function is None:
            raise closed_error()
        if not ray.is_initialized():
            raise HeadraceError(
                "Ray was shut down while batches were still being taken from it. "
                "Call ray.shutdown() only after closing the loader."
            )

    def _put(self, function: Callable[[Any], object]) -> Reference:
        """The reference to the function in the object store, where it stays until it is dropped."""
        key = id(function)
        with self._putting:
            known = self._functions.get(key)
            if known is not None and known[0]() is function:
                return known[1]
            try:
                function_packed = packed(function)
            except Exception as error:
                error.add_note(REMEDY)
                raise
            reference = ray.put(function_packed)
            functions = self._functions
            alive: Callable[[], object]
            try:
                alive = weakref.ref(function, lambda _: functions.pop(key, None))
            except TypeError:  # of its type there are none, so it is kept

                def alive() -> object:
                    return function

            functions[key] = alive, reference
            return reference


def _cancel(reference: "ray.ObjectRef[Packed | Failed]", future: "Future[Packed | Failed]") -> None:
    """Ends a task of Ray, whose answer the future will have.

    It is interrupted as by Ctrl-C, which is lost where Python can't raise it, as in a destructor.
    """
    for _ in range(_MOST_INTERRUPTS):
        if not ray.is_initialized():
            return
        ray.cancel(reference)
        if wait([future], _WANTED_SECONDS).done:
            return
