"""Which batch Keras gets when it asks for one, and which of them it trained on.

What Keras asks for is not what trains: it peeks at batches 0 and 1 (tensorflow), takes one to build
the model (jax, torch), permutes the indices it asks for (`fit(shuffle=True)`, the default),
prefetches batches that it drops when training stops, keeps a half-used generator for the next epoch
(`steps_per_epoch`), and calls the epoch hooks at other times than when epochs end. So:

- What *trains* is told by Keras' own callbacks: `on_train_batch_begin` and `on_train_batch_end`.
  They alone move the loader. `begin`, which Keras calls at the beginning of each pass, adds one to
  the `fit` that runs.
- An epoch of `fit` with `steps_per_epoch` begins where the one before has ended, also where the
  loader's epoch ends within it: its generator has no end.
- What is *served* depends on who asks. Each pass of Keras is a generator of its own. That of `fit`
  gets the batches from the loader's place on, in the order of its requests, whatever their indices;
  that of `evaluate` and `predict` gets those of the loader's epoch from the first on; that which
  builds the model gets the batch at the loader's place, and leaves it there; anyone else, such as a
  peek, gets the batch of the index.
"""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

import keras

from headrace.adapters.keras import frames
from headrace.adapters.keras.checks import (
    check_class_weight,
    check_distribution,
    warn_of_predictions,
)
from headrace.adapters.keras.frames import PassKind
from headrace.batching.cursor import Cursor
from headrace.batching.feed import Feed
from headrace.batching.transforms import Batch
from headrace.errors import HeadraceError, OutOfRangeError
from headrace.sampling.keys import Place


class Passes:
    """The passes of Keras over one loader."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._kind: PassKind | None = None  # of the pass that Keras has started and not ended
        self._reading: _Reading | None = None
        self._training = _Training(feed)
        # That of the pass which was seen last, unless it is one of `predict`.
        self._model: Callable[[], keras.Model | None] = lambda: None

    def weighing_model(self, dataset: object) -> keras.Model | None:
        """The model that trains or is evaluated with the batch that `dataset` is asked for.

        None for `predict` and for anyone else than Keras. To be called from `__getitem__`.

        Raises:
            ArgumentError: (a ValueError) `fit` was given class weights, too.
        """
        caller = frames.caller_of("__getitem__")
        found = frames.pass_above(caller)
        if found is not None:
            method = found[1]
            if found[0] is not PassKind.READ and not frames.validates(method, dataset):
                check_class_weight(frames.model_method_above(caller, "fit"))
            if method.f_code.co_name == "predict":
                self._model = lambda: None
            else:
                self._model = weakref.ref(method.f_locals["self"])
        elif frames.generator_above(dataset) is None:  # else in a thread of tensorflow's
            return None
        return self._model()

    def begin(self) -> None:
        """Keras starts a pass; to be called from its `on_epoch_begin`."""
        caller = frames.caller_of("on_epoch_begin")
        if not frames.is_keras(caller):
            return
        found = frames.pass_above(caller)
        self._kind = None
        if found is None or (found[0] is PassKind.TRAIN and not self._training.join(found[1])):
            raise HeadraceError(
                f"headrace can't tell which batches this Keras ({keras.__version__}) trains on, as "
                "the dataset was not asked by Model.fit, evaluate or predict in a form that is "
                "known. Iterate over the loader itself, or use another version of Keras."
            )
        self._kind, method = found
        check_distribution(self._feed.sampler)
        if self._kind is PassKind.READ:
            self._check_nothing_left_out()
        if method.f_code.co_name == "predict":
            warn_of_predictions(self._feed.sampler)

    def _check_nothing_left_out(self) -> None:
        epoch, sampler = self._feed.cursor.place.epoch, self._feed.sampler
        if sampler.steps_left(Place(epoch, 0)) < len(sampler):
            raise HeadraceError(
                f"evaluate and predict take all {len(sampler)} steps of an epoch, but skip= leaves "
                f"some of epoch {epoch} out. Use a loader without it."
            )

    def shorten(self, steps: int) -> None:
        """Lets the first epoch of the `fit` that starts have so many steps; for a callback."""
        self._training.first_steps = steps

    @property
    def to_be_shortened(self) -> bool:
        """Whether no epoch has started since `shorten`."""
        return bool(self._training.first_steps)

    @property
    def shortened(self) -> int:
        """How many batches a generator of Keras that starts now is to give, or 0 for all."""
        return self._training.shortened

    @property
    def endless(self) -> bool:
        """Whether a generator of Keras that starts now is to give batches without end."""
        return self._training.endless

    @property
    def trained_last(self) -> Place | None:
        """Where the batch began that `fit` has trained on last."""
        return self._training.trained_last

    def end(self) -> None:
        """Keras ends a pass, or says so; by anyone else's call, the loader's next epoch begins."""
        caller = frames.caller_of("on_epoch_end")
        if frames.is_keras(caller):
            self._kind = None
            found = frames.pass_above(caller)
            if found is not None and found[0] is PassKind.READ:  # perhaps in a callback of a fit
                self._training.endless = False
            else:
                self._training.lengthen()
        else:
            self._feed.cursor.seek(self._feed.cursor.place.epoch + 1)

    def batch(self, dataset: object, index: int) -> Batch:
        """The batch for whoever asks `dataset` for `index`; to be called from `__getitem__`."""
        caller = frames.generator_above(dataset)
        training, reading = self._training, self._reading
        if caller is not None and caller is training.served_to:
            return training.next()
        if reading is not None and caller is reading.generator:
            return next(reading.batches)
        here = self._feed.cursor.place
        if caller is not None and self._kind is PassKind.TRAIN:
            adapter = frames.adapter_of(caller)
            if adapter not in training.ended:
                training.restart(caller, adapter)
                return training.next()
        if caller is not None and self._kind is PassKind.READ:
            batches = self._feed.batches_from(Place(here.epoch, 0), epochs=1)
            self._reading = _Reading(caller, batches)
            return next(batches)
        if self._kind is PassKind.BUILD:
            # The one to train on next, not of an index permuted: it is read anyway.
            return self._feed.make(next(self._feed.sampler.keys(here, 1)))
        length = len(self._feed.sampler)
        if not -length <= index < length:
            raise OutOfRangeError(f"index must lie in range({length}), but {index} was given.")
        return self._feed.make(self._feed.sampler.key(here.epoch, index % length))


@dataclass(frozen=True)
class _Reading:
    """A pass of `evaluate` or `predict`: its generator, by its frame, and the batches for it."""

    generator: FrameType
    batches: Iterator[Batch]


@dataclass
class _Fit:
    """What the generator of the current `fit` was served, and what of that has trained.

    Attributes:
        generator: of Keras' data adapter, by its frame; None before the first one.
        progress: the callback that tells of it.
        serving: stands at the batch to serve next.
        trained_place: where the loader was left.
        served, trained: batches.
    """

    generator: FrameType | None
    progress: "_Progress"
    serving: Cursor
    trained_place: Place
    served: int = 0
    trained: int = 0


class _Training:
    """The passes of `fit`: what they were served, and the loader that follows what they train on.

    Attributes:
        first_steps: of the first epoch of the `fit` that starts, if not the usual ones.
        shortened: batches for the generator of such an epoch.
        endless: whether the generator of the epoch that starts is to give batches without end.
        ended: data adapters of earlier fits, of which tensorflow may still ask for batches that it
            drops.
        trained_last: where the batch began that was trained on last.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.first_steps = self.shortened = 0
        self.endless = False
        self.trained_last: Place | None = None
        self.ended: weakref.WeakSet[object] = weakref.WeakSet()
        self._lock = threading.Lock()  # Keras may call callbacks from threads of its own
        self._adapter: object = None
        self._shortened_epoch: frames.ShortenedEpoch | None = None
        self._joined = _Progress(self)
        self._fit = self._new_fit(None)

    @property
    def served_to(self) -> FrameType | None:
        """The generator that the batches to train on go to."""
        return self._fit.generator

    def join(self, fit: FrameType) -> bool:
        """Adds a callback to the `fit` of that frame; False if it has no callbacks to add to."""
        callbacks = frames.callbacks_of(fit)
        if callbacks is None:
            return False
        ours = [
            callback
            for callback in callbacks.callbacks
            if isinstance(callback, _Progress) and callback.training is self
        ]
        # One for each fit: of one that has failed, a thread may still have to tell.
        self._joined = ours[0] if ours else _Progress(self)
        if not ours:
            # First, so that a user's callback finds the loader where it stands.
            callbacks.callbacks.insert(0, self._joined)
        self._joined.before_epoch = self._fit.trained
        self._joined.joined = True
        self.endless = frames.has_no_end(fit)
        if self.first_steps:
            self._shortened_epoch = frames.shorten_epoch(fit, self.first_steps)
            self.shortened, self.first_steps = self.first_steps, 0
        return True

    def lengthen(self) -> None:
        """Epochs have their usual length from now on."""
        self.first_steps = 0
        self.endless = False
        if self._shortened_epoch is not None:
            self._shortened_epoch.end()
            self._shortened_epoch = None

    def restart(self, generator: FrameType, adapter: object) -> None:
        """A new generator of `fit` asks for its first batch, and knows how many it gives."""
        self.shortened = 0
        self.endless = False
        if adapter is not self._adapter:
            if self._adapter is not None:
                self.ended.add(self._adapter)
            self._adapter = adapter
        with self._lock:
            self._fit.progress.active = False
            self._fit = self._new_fit(generator)
            self._fit.progress.active = True
            self._fit.progress.before_epoch = 0

    def next(self) -> Batch:
        """The next batch to train on."""
        fit = self._fit
        if keras.backend.backend() == "torch":
            # It takes a batch before `on_train_batch_begin`, and all others have trained by then.
            with self._lock:
                self._count(fit.served)
        batch = self._feed.take(fit.serving.place)
        fit.serving.advance()
        fit.served += 1
        return batch

    def trained(self, progress: "_Progress", steps: int) -> None:
        """The `fit` of `progress` has trained on `steps` batches of its current epoch."""
        with self._lock:
            if progress.active:
                # The last execution of several steps may have found fewer.
                self._count(min(progress.before_epoch + steps, self._fit.served))
            elif progress.joined and steps:
                raise HeadraceError(
                    "Keras trains on batches that it did not take from this dataset itself. "
                    "Pass it to fit as it is; to change batches, use the loader's transform."
                )

    def _count(self, total: int) -> None:
        """`fit` has trained on `total` of the batches that its generator was served."""
        fit = self._fit
        while fit.trained < total:
            self.trained_last = fit.trained_place
            fit.trained_place = self._feed.cursor.deliver(fit.trained_place, fit.trained_place)
            fit.trained += 1

    def _new_fit(self, generator: FrameType | None) -> _Fit:
        cursor = self._feed.cursor
        return _Fit(generator, self._joined, cursor.copy(), cursor.place)


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far a `fit` has come, while it trains on the dataset of `training`."""

    def __init__(self, training: _Training) -> None:
        super().__init__()
        self.training = training
        self.before_epoch = 0  # batches that it trained on before its current epoch
        self.joined = self.active = False

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        # A list of callbacks may be used again, with other data.
        self.joined = self.active = False

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.training.trained(self, batch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.training.trained(self, batch + 1)
