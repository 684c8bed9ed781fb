"""Failures: what was raised, on its way from one process to another."""

import pickle
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from headrace.errors import HeadraceError


class Failed(NamedTuple):
    """An error on its way: a pickle of it, and its traceback as text."""

    error: bytes
    traceback: str

    @classmethod
    def of(
        cls, error: BaseException, dumps: Callable[[object, int], bytes] = pickle.dumps
    ) -> "Failed":
        """The error, or another one with its words if it can't be pickled."""
        lines = "".join(traceback.format_exception(error)).rstrip()
        try:
            pickled = dumps(error, 5)
            if not isinstance(pickle.loads(pickled), BaseException):
                raise TypeError("what is loaded of it is no exception")
        except Exception:
            summary = "".join(traceback.format_exception_only(error)).rstrip()
            pickled = pickle.dumps(HeadraceError(summary), 5)
        return cls(pickled, lines)

    def raised(self) -> BaseException:
        """The error, or what came of loading it, with a note of where it was raised."""
        error, instead = loaded(self.error)
        raised: BaseException = instead or error
        raised.add_note(f"headrace: raised in a worker process:\n{self.traceback}")
        return raised


def loaded(pickled: bytes, buffers: Iterable[object] = ()) -> tuple[Any, BaseException | None]:
    """What was pickled, or the error that came of loading it."""
    try:
        return pickle.loads(pickled, buffers=buffers), None
    except BaseException as error:  # whatever a class does when it is loaded
        error.add_note("headrace: while taking over what a worker process has made")
        return None, error
