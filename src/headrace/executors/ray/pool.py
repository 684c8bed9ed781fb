"""The pool behind `Ray`, in a module of its own, as it needs Ray.

Threads of the consumer's process each take a key, have a task of Ray make its batch, and wait for
it, so that batches come to the consumer's node ahead of their use. A task has no state that
matters: what a worker process keeps from one task to the next are functions that it has loaded.

Ray does not retry these tasks; the thread that waits for one submits it again. So a death of a
worker, which its batch may be the reason of, can be told from that of a node, and counted apart.
"""

import contextlib
import pickle
import signal
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any, NamedTuple

from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    HeadraceError,
    SharedMemoryError,
    WorkerDiedError,
    bad_value,
    missing_extra,
)
from headrace.executors.failures import Failed, loaded
from headrace.executors.lookahead import Task, closed_error
from headrace.executors.thread_pool import ThreadPool

try:
    import ray
    from ray import cloudpickle, exceptions
except ModuleNotFoundError as error:
    raise missing_extra("headrace.Ray", "Ray", "ray") from error

_OURS = ("num_returns", "max_calls", "max_retries", "retry_exceptions")
# How often a thread looks whether somebody still wants the batch that it waits for.
_WANTED_SECONDS = 0.25
# A node that dies may first be noticed by its workers' deaths.
_MOST_WORKERS_LOST = 3
_MOST_NODES_LOST = 10
_MOST_FUNCTIONS = 4
_MOST_INTERRUPTS = 8
_REMEDY = (
    "headrace: Ray sends the readers and the transform to its workers as a pickle. The workers "
    "must be able to import the modules that it names, as with runtime_env={'working_dir': '.'}."
)

# Pickled, with the buffers that were left out of it.
Packed = tuple[bytes, list[Any]]


class Cluster(NamedTuple):
    """What there is to work with."""

    session: tuple[str, str]  # another one for each connection
    cpus: int
    store_bytes: int  # of the consumer's node


def connect() -> Cluster:
    """The cluster that Ray is connected to, or connects to as is its custom."""
    if not ray.is_initialized():
        ray.init()
    session = _session()
    nodes = _nodes()
    here = nodes.get(session[1], {})
    return Cluster(
        session,
        int(sum(resources.get("CPU", 0) for resources in nodes.values())),
        int(here.get("object_store_memory", 0)),
    )


def _session() -> tuple[str, str]:
    """The job and the node: of two clusters, jobs may have the same number."""
    context = ray.get_runtime_context()
    return context.get_job_id(), context.get_node_id()


def _nodes() -> dict[str, dict[str, float]]:
    """What each living node has, used or not, by the node's id."""
    nodes: Any = ray.nodes  # which has no types
    return {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}


def check_options(options: dict[str, Any]) -> None:
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
        _TASK.options(**options)
    except (TypeError, ValueError) as error:
        kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentError
        raise kind(
            f"options must be those of a task of Ray, but {options!r} were given. {error}"
        ) from error


def check_fits(lookahead_bytes: int, cluster: Cluster) -> None:
    """Raises an error if the look-ahead has no room.

    Raises:
        SharedMemoryError: (a MemoryError) the object store is smaller.
    """
    if lookahead_bytes > cluster.store_bytes:
        raise SharedMemoryError(
            f"The look-ahead takes {lookahead_bytes} bytes, but the object store of this node has "
            f"{cluster.store_bytes}. Pass a smaller lookahead_bytes to Ray, or give the node a "
            "larger store, with object_store_memory of ray.init or of 'ray start'."
        )


class RayPool(ThreadPool):
    """Threads that have tasks of Ray make batches, and wait for them."""

    def __init__(self, n: int, options: dict[str, Any]) -> None:
        _warn_if_no_node_has(options)
        self.session = _session()
        self._task = _TASK.options(**options)
        self._functions: dict[int, tuple[Callable[[], Any], Any]] = {}
        self._putting = threading.Lock()
        super().__init__(n)

    def run(self, task: Task) -> None:
        """Has a task of Ray done, again and again if it is lost, and hands over what it made."""
        function, argument = task.function, task.argument
        result: Any = None
        error: BaseException | None = None
        if function is not None:
            try:
                result, error = self._outcome(task, function, argument)
            except BaseException as raised:
                error = raised
        task.finish(result, error)

    def close(self) -> None:
        super().close()
        self._functions.clear()

    def _outcome(
        self, task: Task, function: Callable[[Any], Any], argument: Any
    ) -> tuple[Any, BaseException | None]:
        nodes_lost = 0
        while True:
            try:
                made = self._made(task, function, argument)
                return (None, made.raised()) if isinstance(made, Failed) else loaded(*made)
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
                # What the function raises comes as a `Failed`. So this is a worker that can't begin
                # or hand over, be it that headrace is missing there, or that its node is ending.
                task.workers_lost += 1
                may_pass = isinstance(error, exceptions.RayTaskError)
                if not may_pass or task.workers_lost == _MOST_WORKERS_LOST:
                    raise HeadraceError(
                        f"Ray can't make the batch of {argument}: its error, above, says why. Each "
                        "node must have headrace, and what the transform imports, in the versions "
                        "that are here."
                    ) from error

    def _made(self, task: Task, function: Callable[[Any], Any], argument: Any) -> Packed | Failed:
        """What a task makes, once."""
        self._check_wanted(task)
        reference = self._task.remote((self._put(function), argument))
        # Unlike `ray.get` with a timeout, this goes on with fetching a batch that is slow to come.
        future = reference.future()
        while not wait([future], _WANTED_SECONDS).done:
            try:
                self._check_wanted(task)
            except BaseException:
                _cancel(reference, future)
                raise
        made: Packed | Failed = future.result()
        return made

    def _check_wanted(self, task: Task) -> None:
        if self.closed or task.function is None:
            raise closed_error()
        if not ray.is_initialized():
            raise HeadraceError(
                "Ray was shut down while batches were still being taken from it. "
                "Call ray.shutdown() only after closing the loader."
            )

    def _put(self, function: Callable[[Any], Any]) -> Any:
        """The reference to the function in the object store, where it stays until it is dropped."""
        key = id(function)
        with self._putting:
            known = self._functions.get(key)
            if known is not None and known[0]() is function:
                return known[1]
            try:
                packed = _packed(function)
            except Exception as error:
                error.add_note(_REMEDY)
                raise
            reference = ray.put(packed)
            functions = self._functions
            alive: Callable[[], Any]
            try:
                alive = weakref.ref(function, lambda _: functions.pop(key, None))
            except TypeError:  # of its type there are none, so it is kept

                def alive() -> Any:
                    return function

            functions[key] = alive, reference
            return reference


def _cancel(reference: Any, future: Any) -> None:
    """Ends a task of Ray, whose outcome the future is.

    It is interrupted as by Ctrl-C, which is lost where Python can't raise it, as in a destructor.
    """
    for _ in range(_MOST_INTERRUPTS):
        if not ray.is_initialized():
            return
        ray.cancel(reference)
        if wait([future], _WANTED_SECONDS).done:
            return


def _warn_if_no_node_has(options: dict[str, Any]) -> None:
    """Ray waits for such a node without a word, as one may join."""
    if options.get("scheduling_strategy") not in (None, "DEFAULT", "SPREAD"):
        return
    cpus = options.get("num_cpus")
    asked = {
        "CPU": 1 if cpus is None else cpus,
        "GPU": options.get("num_gpus") or 0,
        "memory": options.get("memory") or 0,
        **(options.get("resources") or {}),
    }
    if not any(
        all(has.get(name, 0) >= n for name, n in asked.items()) for has in _nodes().values()
    ):
        wanted = {name: n for name, n in asked.items() if n}
        warnings.warn(
            f"no node of Ray's cluster has {wanted}, so no batch is made until one joins. Change "
            "num_cpus, num_gpus, memory or resources of Ray if none will.",
            stacklevel=2,
        )


def _packed(value: Any) -> Packed:
    dumps: Any = cloudpickle.dumps  # which has no types
    buffers: list[Any] = []
    return dumps(value, 5, buffer_callback=buffers.append), buffers


# --- in a worker of Ray --------------------------------------------------------------------------

# Those that were used last, so that readers keep their handles, by the name of their reference.
_loaded_functions: OrderedDict[str, Callable[[Any], Any]] = OrderedDict()


def _make(call: tuple[Any, Any]) -> Packed | Failed:
    """The batch, by the reference to a function, which Ray passes on unread, and its argument."""
    reference, argument = call
    name = reference.hex()
    # What fails here is Ray's failure, as when this node is about to end.
    sent = None if name in _loaded_functions else ray.get(reference)
    _allow_interrupts()
    try:
        return _packed(_function(name, sent)(argument))
    except BaseException as error:
        # Ray cancels a task by a KeyboardInterrupt, and ends a worker by a SystemExit of its own.
        if isinstance(error, KeyboardInterrupt) or hasattr(error, "ray_terminate_msg"):
            _loaded_functions.clear()  # whatever they were in the midst of
            raise
        return Failed.of(error, cloudpickle.dumps)


def _allow_interrupts() -> None:
    """Has Python act on those by which Ray cancels a task.

    It does not where Ray was started with SIGINT ignored, as in the background of a script.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not the main thread, so it is not Ray's to cancel
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _function(name: str, sent: Packed | None) -> Callable[[Any], Any]:
    """The function of that name, which was sent unless it is here from before."""
    if sent is not None:
        pickled, buffers = sent
        try:
            _loaded_functions[name] = pickle.loads(pickled, buffers=buffers)
        except Exception as error:
            error.add_note(_REMEDY)
            raise
        if len(_loaded_functions) > _MOST_FUNCTIONS:
            _loaded_functions.popitem(last=False)
    _loaded_functions.move_to_end(name)
    return _loaded_functions[name]


_TASK = ray.remote(max_retries=0)(_make)
