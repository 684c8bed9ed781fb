"""A script that trains to the end, however often it is killed:

    python resumable_training.py CHECKPOINT SAVE_FREQ LOG RESULT

It appends to LOG a line for each batch that it has trained on: the loader's place, and a number
that depends on all samples so far and their order. The model computes it and keeps it as a weight.
"""

import sys

import keras
import numpy as np
from keras_seed import set_random_seed

import headrace as hr
from headrace.adapters.keras import ResumeTraining

EPOCHS, SAMPLES, BATCH = 4, 43, 4


class Order(keras.layers.Layer):
    """Hands its input on, and keeps a number that tells the order of all it has trained on."""

    def build(self, shape):
        self.number = self.add_weight(
            shape=(), initializer="zeros", trainable=False, dtype="int32", name="number"
        )

    def call(self, x, training=False):
        if training:
            factors = keras.ops.arange(1, BATCH + 1, dtype="float32")
            batch = keras.ops.cast(keras.ops.sum(x[:, 0] * factors), "int32")
            self.number.assign((self.number * 31 + batch) % 65521)
        return x / SAMPLES


class Log(keras.callbacks.Callback):
    def __init__(self, loader, file):
        super().__init__()
        self.loader, self.file = loader, file

    def tell(self, *words):
        print(*words, file=self.file, flush=True)

    def on_train_batch_end(self, batch, logs=None):
        number = int(keras.ops.convert_to_numpy(self.model.layers[0].number))
        self.tell(*self.loader.place, number)

    def on_epoch_end(self, epoch, logs=None):
        self.tell("epoch", epoch, sorted(logs))


def main(checkpoint, save_freq, log, result):
    set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((1,)), Order(), layers.Dense(8, "relu"), layers.Dropout(0.3), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    x = np.arange(SAMPLES, dtype="float32")[:, None]
    loader = hr.Loader((x, np.sqrt(x)), BATCH, seed=5, executor=hr.Threads(2))
    data = loader.to_keras()
    resume = ResumeTraining(data, checkpoint, save_freq if save_freq == "epoch" else int(save_freq))
    with open(log, "a") as file:
        callbacks = [Log(loader, file), resume]  # so that what is saved has been told
        validation = x[:8], np.sqrt(x[:8])
        model.fit(data, epochs=EPOCHS, callbacks=callbacks, validation_data=validation, verbose=0)
    values = [*model.get_weights(), *map(keras.ops.convert_to_numpy, model.optimizer.variables)]
    np.save(result, np.concatenate([np.ravel(value) for value in values]))


if __name__ == "__main__":
    main(*sys.argv[1:])
