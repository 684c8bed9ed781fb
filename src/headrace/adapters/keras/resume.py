"""ResumeTraining: a killed `fit` goes on with exactly the next batch.

Keras' own `BackupAndRestore` knows weights, optimizer and epoch, but not the data. Here all of them
are one file, replaced in one step, so that a kill at any time leaves a whole one.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import keras

from headrace.adapters.keras import checkpoint as keras_checkpoint
from headrace.adapters.keras import frames
from headrace.adapters.keras.passes import Passes
from headrace.arguments import check_int
from headrace.arrays import Array
from headrace.batching.feed import feed_of
from headrace.errors import ArgumentError, HeadraceError, bad_type, bad_value


class ResumeTraining(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves all that `fit` needs to go on after a kill, and goes on from there if it is there.

    That is the loader's state, the weights, the optimizer, the state of random layers such as
    Dropout, and the epoch. When a script with it is run again, `fit` continues with the batch that
    follows the saved one, in the epoch that it was in, which then has as many steps as it lacks.
    The weights become those of a run that was not interrupted, but for rounding. The logs of that
    epoch count only the steps after the restart.

    The model must have its weights before `fit`, so begin it with `keras.Input`, or build it. Place
    it after callbacks that restore something, too, such as `BackupAndRestore`. Of several ranks,
    rank 0 saves, and all of them go on from its file, which all must see.

    Args:
        dataset: what `fit` trains on, of `Loader.to_keras`.
        filepath: a file that ends with ".weights.h5", which `Model.load_weights` can read, too.
        save_freq: "epoch", at the end of each epoch, or after how many batches.
        delete_checkpoint: removes the file once `fit` has ended by itself, so that the next one
            starts from the beginning. If it stays, the next `fit` with as many epochs has nothing
            left to do.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed.
        StateError: (a ValueError) from `fit`: the file is of other data, another model or
            optimizer, or something else.
        HeadraceError: from `fit`: the model has no weights yet, `fit` trains on another dataset, or
            another callback restores something after this one.

    Example:
        >>> import headrace as hr
        >>> import keras
        >>> import numpy as np
        >>> from headrace.adapters.keras import ResumeTraining
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> data = hr.Loader((np.zeros((32, 2)), np.zeros((32, 1))), batch_size=4).to_keras()
        >>> resume = ResumeTraining(data, "train.weights.h5", save_freq=100)
        >>> _ = model.fit(data, epochs=2, callbacks=[resume], verbose=0)
    """

    def __init__(
        self,
        dataset: keras.utils.PyDataset,
        filepath: str | os.PathLike[str],
        save_freq: int | str = "epoch",
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        passes = getattr(dataset, "_passes", None)
        if not isinstance(passes, Passes):
            raise bad_type("dataset", dataset, "what Loader.to_keras() gives, as fit gets it")
        self._passes = passes
        feed = feed_of(dataset.loader)
        self._cursor, self._sampler = feed.cursor, feed.sampler
        if not isinstance(filepath, str | os.PathLike):
            raise bad_type("filepath", filepath, "a path")
        self._file = Path(os.fspath(filepath)).absolute()
        if not self._file.name.endswith(keras_checkpoint.SUFFIX):
            raise ArgumentError(
                f"filepath must end with {keras_checkpoint.SUFFIX!r}, but {filepath!r} was given."
            )
        if isinstance(save_freq, str) and save_freq != "epoch":
            raise bad_value("save_freq", save_freq, "'epoch', or a number of batches")
        self._every = (
            None if isinstance(save_freq, str) else check_int("save_freq", save_freq, 1, 2**62)
        )
        self._delete = delete_checkpoint
        self._epoch = 0
        # Steps of the present epoch before a restart and until now, and since the last save.
        self._before = self._done = self._unsaved = 0
        self._whole = True  # the epoch is one of the loader's, from its first batch to its last
        self._ended = True  # no step of the present epoch is left
        # What is to be restored with the first step, and what it is to find.
        self._generators: list[Array] = []
        self._rates: list[tuple[keras.Variable, Array]] = []
        self._resumed: tuple[int, int] | None = None  # epoch and iterations

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = self._before = self._done = self._unsaved = 0
        self._ended = True
        self._generators, self._rates, self._resumed = [], [], None
        if self._file.exists():
            self._restore()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._resumed is not None:
            iterations = keras_checkpoint.iterations(self.model)
            if (epoch, iterations) != self._resumed:
                raise HeadraceError(
                    f"ResumeTraining has restored epoch {self._resumed[0]} after "
                    f"{self._resumed[1]} iterations, but fit begins with epoch {epoch} after "
                    f"{iterations}: another callback has restored something after it. Put "
                    "it before ResumeTraining in callbacks, or leave it out."
                )
            self._resumed = None
            frames.set_first_epoch(self._model, None)  # or a later fit would begin there, too
        else:
            self._before = 0
            at_start = self._cursor.place.position == 0
            left = self._sampler.steps_left(self._cursor.place)
            self._whole = at_start and self.params["steps"] == left
        self._epoch, self._done = epoch, self._before
        self._place = self._cursor.place

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # Of an epoch that goes on, now: its iterator drew a number that the one before the kill did
        # not, and callbacks have set the rate for a new epoch.
        keras_checkpoint.restore_generators(self._generators)
        for variable, value in self._rates:
            variable.assign(value)
        self._generators, self._rates = [], []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._cursor.place == self._place or self._passes.to_be_shortened:
            raise HeadraceError(
                "ResumeTraining must get the very dataset that fit trains on, but this one is not "
                "what moves the loader. Pass the same object to both."
            )
        done = self._before + batch + 1
        self._unsaved += done - self._done
        self._done = done
        position = self._cursor.place.position
        self._ended = not position if self._whole else done >= self.params["steps"]
        # What is due at the end of an epoch is saved after its validation.
        if self._every is not None and self._unsaved >= self._every and not self._ended:
            self._save()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        stopped = self._model.stop_training and not self._ended
        if not stopped:  # also where Keras has cut it short, for want of data
            self._epoch, self._before, self._done, self._ended = epoch + 1, 0, 0, True
        if stopped or self._every is None or self._unsaved >= self._every:
            self._save()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        frames.set_first_epoch(self._model, None)
        # Else there is something left to do, for a fit with more epochs.
        finished = self._ended and self._epoch <= self.params["epochs"]
        if self._delete and finished and not self._sampler.rank:
            self._file.unlink(missing_ok=True)

    def _save(self) -> None:
        self._unsaved = 0
        if self._sampler.rank:
            return
        progress: keras_checkpoint.Progress = {
            "epoch": self._epoch,
            "steps": self._done,
            "whole": self._whole,
            "loader": self._cursor.state_dict(),
        }
        keras_checkpoint.save(self._file, self.model, progress)

    def _restore(self) -> None:
        model, cursor = self.model, self._cursor
        checkpoint = keras_checkpoint.read(self._file)
        progress = checkpoint.progress
        cursor.load_state_dict(progress["loader"])
        keras_checkpoint.restore(self._file, checkpoint, model)
        epoch, done = progress["epoch"], progress["steps"]
        self._whole = progress["whole"] and self.params["steps"] == len(self._sampler)
        if done:
            if not self._whole:
                left = max(0, self.params["steps"] - done)
            elif cursor.place.epoch == progress["loader"]["epoch"]:
                left = self._sampler.steps_left(cursor.place)
            else:  # what was left fills no batch of the present size
                left = 0
            if left:
                self._passes.shorten(left)
            else:
                epoch, done = epoch + 1, 0
        if done:
            self._generators = checkpoint.generators
            self._rates = [(rate, keras.ops.convert_to_numpy(rate)) for rate in _rates(model)]
        else:
            keras_checkpoint.restore_generators(checkpoint.generators)
        self._epoch, self._before, self._ended = epoch, done, not done
        frames.set_first_epoch(model, epoch)
        self._resumed = epoch, checkpoint.iterations


def _rates(model: keras.Model) -> list[keras.Variable]:
    """The learning rate, if it is a variable, which callbacks may set."""
    optimizer = model.optimizer
    variables = [] if optimizer is None else optimizer.variables
    return [variable for variable in variables if variable.name == "learning_rate"]
