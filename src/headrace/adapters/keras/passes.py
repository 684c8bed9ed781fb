"""Which batch Keras gets when it asks for one, and which of them it trained on.

What Keras asks for is not what trains: it peeks at batches 0 and 1 (tensorflow), takes one to build
the model (jax, torch), permutes the indices it asks for (`fit(shuffle=True)`, the default),
prefetches batches that it drops when training stops, keeps a half-used generator for the next epoch
(`steps_per_epoch`), and calls the epoch hooks at other times than when epochs end. So:

- What *trains* is told by Keras' own callbacks: `on_train_batch_begin` and `on_train_batch_end`.
  They alone move the loader. A dataset has no public way to add a callback to a running `fit`, so
  `begin`, which Keras calls at the beginning of each pass, looks for it up the call stack.
- What is *served* depends on who asks. Each pass of Keras is a generator of its own. That of `fit`
  gets the batches from the loader's place on, in the order of its requests, whatever their indices;
  that of `evaluate` and `predict` gets those of the loader's epoch from the first on; that which
  builds the model gets the batch at the loader's place, and leaves it there; anyone else, such as a
  peek, gets the batch of the index.
"""

import inspect
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from headrace.errors import HeadraceError, OutOfRangeError
from headrace.sampling.batch_sampler import Place

if TYPE_CHECKING:
    from headrace.loader import Loader

_MOST_FRAMES_BETWEEN = 8
_TRAIN, _READ, _BUILD = "train", "read", "build"
_KIND_OF_PASS = {
    "fit": _TRAIN,
    "evaluate": _READ,
    "predict": _READ,
    "_symbolic_build": _BUILD,
    "_maybe_symbolic_build": _BUILD,
}


class Passes:
    """The passes of Keras over one loader."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader
        self._kind: str | None = None  # of the pass that Keras has begun and not ended
        self._reading: _Pass | None = None
        self._training = _Training(loader)

    def begin(self) -> None:
        """Keras begins a pass; to be called from its `on_epoch_begin`."""
        caller = _caller_of("on_epoch_begin")
        if not _is_keras(caller):
            return
        frame: FrameType | None = caller
        while frame is not None and not (
            frame.f_code.co_name in _KIND_OF_PASS
            and isinstance(frame.f_locals.get("self"), keras.Model)
        ):
            frame = frame.f_back
        self._kind = None if frame is None else _KIND_OF_PASS[frame.f_code.co_name]
        if frame is None or (self._kind == _TRAIN and not self._training.join(frame)):
            self._kind = None
            raise HeadraceError(
                f"headrace can't tell which batches this Keras ({keras.__version__}) trains on, as "
                "the dataset was not asked by Model.fit, evaluate or predict in a form that is "
                "known. Iterate over the loader itself, or use another version of Keras."
            )

    def shorten(self, steps: int) -> None:
        """Lets the first epoch of the `fit` that begins have so many steps; for a callback."""
        self._training.first_steps = steps

    @property
    def to_be_shortened(self) -> bool:
        """Whether no epoch has begun since `shorten`."""
        return bool(self._training.first_steps)

    @property
    def shortened(self) -> int:
        """How many batches a generator of Keras that begins now is to give, or 0 for all."""
        return self._training.shortened

    def end(self) -> None:
        """Keras ends a pass, or says so; by anyone else's call, the loader's next epoch begins."""
        if _is_keras(_caller_of("on_epoch_end")):
            self._kind = None
            self._training.lengthen()
        else:
            self._loader.seek(self._loader.epoch + 1)

    def batch(self, dataset: Any, index: int) -> Any:
        """The batch for whoever asks `dataset` for `index`; to be called from `__getitem__`."""
        caller = _generator_above(dataset)
        training, reading = self._training, self._reading
        if caller is not None and caller is training.caller:
            return training.next()
        if reading is not None and caller is reading.caller:
            return next(reading.batches)
        kind = self._kind
        if kind in (_TRAIN, _READ) and caller is not None:
            adapter = caller.f_locals["self"]
            if kind == _TRAIN and adapter not in training.ended:
                training.restart(caller, adapter)
                return training.next()
            if kind == _READ:
                start = Place(self._loader.epoch, 0)
                self._reading = _Pass(caller, self._loader.batches_from(start, epochs=1))
                return next(self._reading.batches)
        if kind == _BUILD:
            # The one to train on next, not of an index permuted: it is read anyway.
            key = next(self._loader.sampler.keys(self._loader.place, 1))
            return self._loader.make(key)
        if not -len(self._loader) <= index < len(self._loader):
            raise OutOfRangeError(
                f"index must lie in range({len(self._loader)}), but {index} was given."
            )
        return self._loader.batch(self._loader.epoch, index % len(self._loader))


class _Pass(NamedTuple):
    """A generator of Keras, known by its frame, and the batches that it gets."""

    caller: FrameType
    batches: Iterator[Any]


class _Training:
    """The pass of `fit`: what it was served, what it trained on, and the loader that follows."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader
        self._lock = threading.Lock()  # Keras may call callbacks from threads of its own
        self.caller: FrameType | None = None
        # Those of earlier fits, of which tensorflow may still ask for batches that it drops.
        self.ended: weakref.WeakSet[Any] = weakref.WeakSet()
        self._adapter: Any = None
        self._progress = self._joined = _Progress(self)
        self._place = loader.place  # of the batch to serve next
        self._trained_place = loader.place  # where the loader was left
        # Batches of the generator's that were served to it, and that were trained on.
        self._served = self._trained = 0
        self.first_steps = 0  # of the first epoch of the `fit` that begins, if not the usual ones
        self.shortened = 0  # batches for the generator of such an epoch
        self._usual: tuple[Any, str, int] | None = None

    def join(self, frame: FrameType) -> bool:
        """Adds a callback to the `fit` of that frame; False if it has no callbacks to add to."""
        for value in frame.f_locals.values():
            if isinstance(value, keras.callbacks.CallbackList):
                ours = [c for c in value.callbacks if getattr(c, "training", None) is self]
                # One for each fit: of one that has failed, a thread may still have to tell.
                self._joined = ours[0] if ours else _Progress(self)
                if not ours:
                    # First, so that a user's callback finds the loader where it stands.
                    value.callbacks.insert(0, self._joined)
                self._joined.before_epoch = self._trained
                self._joined.joined = True
                if self.first_steps:
                    self._shorten(frame)
                return True
        return False

    def _shorten(self, frame: FrameType) -> None:
        """Gives the epoch that begins `first_steps` steps, in the iterator of that `fit`."""
        for value in frame.f_locals.values():
            if hasattr(value, "_num_batches") and hasattr(value, "steps_per_epoch"):
                length = "steps_per_epoch" if value.steps_per_epoch else "_num_batches"
                self._usual = value, length, getattr(value, length)
                self.shortened = self.first_steps
                setattr(value, length, self.first_steps)
                self.first_steps = 0
                return
        raise HeadraceError(
            f"headrace can't go on within an epoch with this Keras ({keras.__version__}), whose "
            "fit is of an unknown form. Save at the ends of epochs, or use another version of "
            "Keras."
        )

    def lengthen(self) -> None:
        """Epochs have their usual length from now on."""
        self.first_steps = 0
        if self._usual is not None:
            iterator, length, usual = self._usual
            setattr(iterator, length, usual)
            if length == "steps_per_epoch":
                # Else Keras would go on with the generator, which has ended with the epoch.
                iterator._current_iterator, iterator._steps_seen = None, 0
            self._usual = None

    def restart(self, caller: FrameType, adapter: Any) -> None:
        """A new generator of `fit` asks for its first batch, and knows how many it gives."""
        self.shortened = 0
        if adapter is not self._adapter:
            if self._adapter is not None:
                self.ended.add(self._adapter)
            self._adapter = adapter
        with self._lock:
            self._progress.active = False
            self._progress = self._joined
            self._progress.active = True
            self._progress.before_epoch = self._served = self._trained = 0
            self._place = self._trained_place = self._loader.place
        self.caller = caller

    def next(self) -> Any:
        """The next batch to train on."""
        if keras.backend.backend() == "torch":
            # It takes a batch before `on_train_batch_begin`, and all others have trained by then.
            with self._lock:
                self._count(self._served)
        batch = self._loader.fetch(self._place)
        self._place = self._loader.sampler.after(self._place)
        self._served += 1
        return batch

    def trained(self, progress: "_Progress", steps: int) -> None:
        """The `fit` of `progress` has trained on `steps` batches of its current epoch."""
        with self._lock:
            if progress.active:
                # The last execution of several steps may have found fewer.
                self._count(min(progress.before_epoch + steps, self._served))
            elif progress.joined and steps:
                raise HeadraceError(
                    "Keras trains on batches that it did not take from this dataset itself. "
                    "Pass it to fit as it is; to change batches, use the loader's transform."
                )

    def _count(self, total: int) -> None:
        """`fit` has trained on `total` of the batches that its generator was served."""
        while self._trained < total:
            self._loader.check_unmoved(self._trained_place)
            self._trained_place = self._loader.sampler.after(self._trained_place)
            self._loader.place = self._trained_place
            self._trained += 1


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far a `fit` has come, while it trains on the dataset of `training`."""

    def __init__(self, training: _Training) -> None:
        super().__init__()
        self.training = training
        self.before_epoch = 0  # batches that it trained on before its current epoch
        self.joined = self.active = False

    def on_train_begin(self, logs: Any = None) -> None:
        # A list of callbacks may be used again, with other data.
        self.joined = self.active = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.training.trained(self, batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.training.trained(self, batch + 1)


def _caller_of(method: str) -> FrameType:
    """The frame that called the dataset's `method`, be it through a subclass that overrides it."""
    frame = sys._getframe(2)
    while frame.f_code.co_name == method and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_keras(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name.startswith("keras.")


def _generator_above(dataset: Any) -> FrameType | None:
    """The generator of Keras' data adapter that asks `dataset` for a batch, if it is one that does.

    Not the dataset's own `__iter__`. What subclasses and decorators put in between is passed over.
    """
    frame: FrameType | None = sys._getframe(3)
    for _ in range(_MOST_FRAMES_BETWEEN):
        if frame is None:
            return None
        if (
            frame.f_code.co_flags & inspect.CO_GENERATOR
            and _is_keras(frame)
            and frame.f_locals.get("self") is not dataset
        ):
            return frame
        frame = frame.f_back
    return None
