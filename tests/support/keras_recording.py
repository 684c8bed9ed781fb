"""A model that tells which batches Keras trains it on, and loaders for it."""

import os

import keras
import numpy as np
import pytest

import headrace as hr
from headrace.adapters.keras import ResumeTraining

BACKEND = keras.backend.backend()
BATCH = 4

trains = pytest.mark.skipif(
    BACKEND in ("numpy", "openvino"), reason=f"Keras can't train on the {BACKEND} backend"
)


def some(cases, few):
    """All the cases with JAX, and `few` with other backends, for which our code is the same.

    Where HEADRACE_CASES is "few", also with JAX.
    """
    return list(few if BACKEND != "jax" or os.environ.get("HEADRACE_CASES") == "few" else cases)


def make_loader(n_batches, **options):
    """A loader whose samples are their own indices."""
    x = np.arange(n_batches * BATCH, dtype="float32")[:, None]
    return hr.Loader((x, x), batch_size=BATCH, **{"executor": hr.Threads(2), **options})


def recording_model(log, **compile_options):
    """A small model that appends the samples of each batch that it trains on to `log`."""

    def record(x):
        log.append(np.asarray(x)[:, 0].astype(int).tolist())

    class Recording(keras.Model):
        def __init__(self):
            super().__init__()
            self.scaled = keras.layers.Rescaling(1e-3)
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(self.scaled(x))

        def train_step(self, *arguments):
            x = arguments[-1][0]
            if BACKEND == "tensorflow":
                import tensorflow as tf

                tf.py_function(lambda value: record(value.numpy()), [x], [])
            elif BACKEND == "jax":
                import jax

                jax.debug.callback(record, x, ordered=True)
            else:
                record(x)
            return super().train_step(*arguments)

    model = Recording()
    model.compile("sgd", "mse", **compile_options)
    return model


def built_model(log):
    """A recording model with weights, as one that is to be restored must have."""
    model = recording_model(log)
    model(np.zeros((1, 1)))
    return model


class Killed(Exception):
    pass


class KillAfter(keras.callbacks.Callback):
    """Ends training as a kill would, as far as this process can outlive it."""

    def __init__(self, steps, error=Killed):
        super().__init__()
        self.left, self.error = steps, error

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise self.error


class StopAfter(KillAfter):
    """Ends training as a handler of SIGTERM would."""

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        self.model.stop_training = not self.left


def fit(model, dataset, **options):
    model.fit(dataset, **{"verbose": 0, **options})
    if BACKEND == "jax":
        import jax

        jax.effects_barrier()


def expected(loader, steps, start=0):
    """The samples of the loader's batches from the one of number `start` on."""
    n = len(loader)
    return [loader.indices(s // n, s % n).tolist() for s in range(start, start + steps)]


def interrupted(loader, file, stop, log, epochs=2, save_freq=1, **options):
    """Trains until after `stop` batches."""
    data = loader.to_keras()
    callbacks = [ResumeTraining(data, file, save_freq), KillAfter(stop)]
    with pytest.raises(Killed):
        fit(built_model(log), data, epochs=epochs, callbacks=callbacks, **options)


def resumed(loader, file, log, epochs=2, save_freq=1, before=(), model=None, **options):
    """Trains to the end, in what might be another process."""
    data = loader.to_keras()
    return (model or built_model(log)).fit(
        data,
        epochs=epochs,
        callbacks=[*before, ResumeTraining(data, file, save_freq)],
        verbose=0,
        **options,
    )
