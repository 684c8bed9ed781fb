"""What travels from the worker processes of a DataLoader: errors and batches.

PyTorch's worker gives a thread what it has made, and that pickles it. What can't be pickled is
lost there, and the DataLoader waits for it for ever. So it is looked at before.
"""

import io
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

import numpy as np
import torch
import torch.utils.data as torch_data

from headrace.errors import HeadraceError, stopped_early

T = TypeVar("T")


def arriving(what: str, function: Callable[..., T], *arguments: object) -> T:
    """What `function` returns. Each error that it raises arrives at the consumer as an error.

    Args:
        what: the function's name, for the error that `StopIteration` becomes.
        function: to be called.
        arguments: of it.
    """
    try:
        return function(*arguments)
    except StopIteration as error:
        raise stopped_early(error, what) from error
    except Exception as error:
        if torch_data.get_worker_info() is None or _is_picklable(type(error)):
            raise
        raise HeadraceError("".join(traceback.format_exception_only(error)).rstrip()) from error


class WorkerInit:
    """A `worker_init_fn` whose errors arrive."""

    def __init__(self, function: Callable[[int], None]) -> None:
        self._function = function

    def __call__(self, number: int) -> None:
        arriving("worker_init_fn", self._function, number)


def check_travels(batch: object) -> Any:
    """The batch itself, if a worker can send it.

    Raises:
        HeadraceError: something in it can't be pickled.
    """
    if torch_data.get_worker_info() is None:
        return batch
    try:
        _Trial(io.BytesIO(), pickle.HIGHEST_PROTOCOL).dump(batch)
    except Exception as error:
        raise HeadraceError(
            f"a batch of a worker process must be of what can be pickled, but is not: {error}. "
            "Have the transform or collate_fn return arrays, tensors and plain values, or pass "
            "num_workers=0."
        ) from error
    return batch


class _Trial(ForkingPickler):
    """Pickles all but the data of tensors and arrays, which PyTorch sends in its own way."""

    def persistent_id(self, obj: object) -> str | None:
        is_data = isinstance(obj, torch.Tensor) or (
            isinstance(obj, np.ndarray) and not obj.dtype.hasobject
        )
        return "data" if is_data else None


def _is_picklable(kind: type[BaseException]) -> bool:
    """PyTorch sends the class of an error by its name, and makes another one of it."""
    try:
        pickle.dumps(kind)
    except Exception:
        return False
    return True
