"""All that headrace reads of Keras' private parts: call stacks, `fit`'s variables, its iterator.

Keras gives a dataset no public way to learn who asks for a batch, or to add a callback to a `fit`
that runs. So this looks for it up the call stack. Tested with Keras 3.11 to 3.15; where a form is
not known, it is an error and never a guess.
"""

import enum
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import keras

from headrace.errors import HeadraceError

_MOST_FRAMES_BETWEEN = 8


class PassKind(enum.Enum):
    """What a pass of Keras over a dataset is for."""

    TRAIN = enum.auto()
    READ = enum.auto()
    BUILD = enum.auto()


_KIND_OF_METHOD = {
    "fit": PassKind.TRAIN,
    "evaluate": PassKind.READ,
    "predict": PassKind.READ,
    "_symbolic_build": PassKind.BUILD,
    "_maybe_symbolic_build": PassKind.BUILD,
}


def caller_of(method: str) -> FrameType:
    """The frame that called the dataset's `method`, perhaps through a subclass that overrides it.

    To be called by what that method calls.
    """
    frame = sys._getframe(2)
    while frame.f_code.co_name == method and frame.f_back is not None:
        frame = frame.f_back
    return frame


def is_keras(frame: FrameType) -> bool:
    """Whether the code of the frame is Keras' own."""
    name: str = frame.f_globals.get("__name__", "")
    return name.startswith("keras.")


def pass_above(frame: FrameType | None) -> tuple[PassKind, FrameType] | None:
    """The pass that the frame is part of, and the frame of the model's method; None without one."""
    while frame is not None:
        kind = _KIND_OF_METHOD.get(frame.f_code.co_name)
        if kind is not None and isinstance(frame.f_locals.get("self"), keras.Model):
            return kind, frame
        frame = frame.f_back
    return None


def model_method_above(frame: FrameType | None, name: str) -> FrameType | None:
    """The frame of a running method of a model, such as `fit`; None without one."""
    while frame is not None:
        if frame.f_code.co_name == name and isinstance(frame.f_locals.get("self"), keras.Model):
            return frame
        frame = frame.f_back
    return None


def validates(fit: FrameType, dataset: object) -> bool:
    """Whether `fit` evaluates the dataset, and does not train on it.

    Keras on tensorflow asks it for a batch in `fit` itself, before it evaluates.
    """
    return fit.f_locals.get("val_x") is dataset and fit.f_locals.get("x") is not dataset


def generator_above(dataset: object) -> FrameType | None:
    """The generator of Keras' data adapter that asks `dataset` for a batch, if it is one that does.

    Not the dataset's own `__iter__`. What subclasses and decorators put in between is passed over.
    To be called by what the dataset's `__getitem__` calls.
    """
    frame: FrameType | None = sys._getframe(3)
    for _ in range(_MOST_FRAMES_BETWEEN):
        if frame is None:
            return None
        if (
            frame.f_code.co_flags & inspect.CO_GENERATOR
            and is_keras(frame)
            and frame.f_locals.get("self") is not dataset
        ):
            return frame
        frame = frame.f_back
    return None


def adapter_of(generator: FrameType) -> object:
    """The data adapter that the generator is of: one for each `fit`."""
    return generator.f_locals["self"]


def adapts_a_layer() -> bool:
    """Whether a preprocessing layer of Keras' asks, to adapt to what it gets.

    To be called by what the dataset's `__getitem__` calls.
    """
    return _is_below("adapt")


def peeking() -> bool:
    """Whether Keras on tensorflow asks, to learn the shapes of batches before it takes any.

    To be called by what the dataset's `__getitem__` calls.
    """
    return _is_below("get_tf_dataset")


def _is_below(function: str) -> bool:
    """Whether what called the caller of this runs below a function of Keras' of that name."""
    frame: FrameType | None = sys._getframe(3)
    for _ in range(_MOST_FRAMES_BETWEEN):
        if frame is None:
            return False
        if frame.f_code.co_name == function and is_keras(frame):
            return True
        frame = frame.f_back
    return False


def callbacks_of(fit: FrameType) -> "keras.callbacks.CallbackList | None":
    """The list of callbacks of a running `fit`."""
    for value in fit.f_locals.values():
        if isinstance(value, keras.callbacks.CallbackList):
            return value
    return None


@dataclass(frozen=True)
class ShortenedEpoch:
    """An epoch of `fit` with fewer steps than usual, in the iterator of that `fit`."""

    iterator: Any
    attribute: str
    usual_steps: int

    def end(self) -> None:
        """Gives the epochs that follow their usual length."""
        setattr(self.iterator, self.attribute, self.usual_steps)
        if self.attribute == "steps_per_epoch":
            # Else Keras would go on with the generator, which has ended with the epoch.
            self.iterator._current_iterator, self.iterator._steps_seen = None, 0


def shorten_epoch(fit: FrameType, steps: int) -> ShortenedEpoch:
    """Gives the epoch that starts in a `fit` so many steps.

    Raises:
        HeadraceError: that `fit` is of an unknown form.
    """
    for iterator in _epoch_iterators(fit):
        attribute = "steps_per_epoch" if iterator.steps_per_epoch else "_num_batches"
        shortened = ShortenedEpoch(iterator, attribute, getattr(iterator, attribute))
        setattr(iterator, attribute, steps)
        return shortened
    raise HeadraceError(
        f"headrace can't go on within an epoch with this Keras ({keras.__version__}), whose "
        "fit is of an unknown form. Save at the ends of epochs, or use another version of "
        "Keras."
    )


def has_no_end(fit: FrameType) -> bool:
    """Whether epochs of `fit` have a length of their own, so that they take batches without end.

    Its iterator would end an epoch where the dataset ends, and is told here that it does not.
    """
    for iterator in _epoch_iterators(fit):
        if iterator.steps_per_epoch:
            iterator._num_batches = None
            return True
    return False


def steps_per_epoch(fit: FrameType) -> int | None:
    """The argument of a running `fit`, if it was given."""
    for iterator in _epoch_iterators(fit):
        steps: int | None = iterator.steps_per_epoch
        return steps
    return None


def set_first_epoch(model: keras.Model, epoch: int | None) -> None:
    """Makes the `fit` that starts begin with that epoch, or 0, as `BackupAndRestore` does."""
    model._initial_epoch = epoch


def _epoch_iterators(fit: FrameType) -> Iterator[Any]:
    for value in fit.f_locals.values():
        if hasattr(value, "_num_batches") and hasattr(value, "steps_per_epoch"):
            yield value
