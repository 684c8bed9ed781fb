"""The task of Ray: what its worker processes do, and how batches and functions travel."""

import contextlib
import pickle
import signal
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

import ray
from ray import cloudpickle

from headrace.executors.failures import Failed

# A pickle, and the buffers that were left out of it.
Packed: TypeAlias = tuple[bytes, list[pickle.PickleBuffer]]
# To what lies in the object store.
Reference: TypeAlias = "ray.ObjectRef[Packed]"

REMEDY = (
    "headrace: Ray sends the readers and the transform to its workers as a pickle. The workers "
    "must be able to import the modules that it names, as with runtime_env={'working_dir': '.'}."
)
_MOST_FUNCTIONS = 4

# Those that were used last, so that readers keep their handles, by the name of their reference.
_loaded_functions: OrderedDict[str, Callable[[Any], object]] = OrderedDict()


def packed(value: object) -> Packed:
    """The value, ready for the object store."""
    dumps: Any = cloudpickle.dumps  # which has no types
    buffers: list[pickle.PickleBuffer] = []
    return dumps(value, 5, buffer_callback=buffers.append), buffers


def _make(call: tuple[Reference, object]) -> Packed | Failed:
    """The batch, by the reference to a function, which Ray passes on unread, and its argument."""
    reference, argument = call
    name = reference.hex()
    # What fails here is Ray's failure, as when this node is about to end.
    sent = None if name in _loaded_functions else ray.get(reference)
    _allow_interrupts()
    try:
        return packed(_function(name, sent)(argument))
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


def _function(name: str, sent: Packed | None) -> Callable[[Any], object]:
    """The function of that name, which was sent unless it is here from before."""
    if sent is not None:
        pickled, buffers = sent
        try:
            _loaded_functions[name] = pickle.loads(pickled, buffers=buffers)
        except Exception as error:
            error.add_note(REMEDY)
            raise
        if len(_loaded_functions) > _MOST_FUNCTIONS:
            _loaded_functions.popitem(last=False)
    _loaded_functions.move_to_end(name)
    return _loaded_functions[name]


TASK = ray.remote(max_retries=0)(_make)
