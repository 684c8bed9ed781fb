"""The loaders whose states lie in tests/data, as saved by headrace 0.1.0 of November 2026.

`python tests/support/saved_states.py FOLDER` saves them again, to be run with the version whose
states are to be kept.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

import headrace as hr

IDS = [f"id-{number}" for number in range(30)]
RESUMED_STEPS = 5  # of an epoch of 7, after which the training was killed


def files(folder):
    for number, name in enumerate(IDS):
        np.save(folder / f"{name}.npy", np.full((2, 3), number, "float32"))
    return hr.NpyFiles(folder, ids=IDS)


def npy_shards(folder):
    for shard in range(3):
        rows = np.arange(10 * shard, 10 * shard + 10, dtype="float32")
        np.save(folder / f"shard-{shard}.npy", rows[:, None])
    return hr.NpyShards(folder)


def npz_files(folder):
    for number in range(30):
        np.savez(folder / f"{number:02}.npz", x=np.full(2, number, "float32"), y=number)
    return hr.NpzFiles(folder)


def labels():
    return hr.Labels({name: number % 5 for number, name in enumerate(IDS)}, ids=IDS, n_classes=5)


def shifted(batch, rng):
    return batch + rng.integers(1000)


SOURCES = {
    "array": lambda folder: np.arange(30),
    "nested": lambda folder: {
        "x": np.arange(30.0),
        "y": (np.arange(30), np.arange(60).reshape(30, 2)),
    },
    "files and labels": lambda folder: (files(folder), labels()),
    "shards": npy_shards,
    "npz": npz_files,
    "list": lambda folder: hr.GetItem([{"x": float(number)} for number in range(30)]),
}
OPTIONS = {
    "plain": {"batch_size": 4},
    "in order": {"batch_size": 4, "shuffle": False},
    "blocks": {"batch_size": 4, "shuffle": hr.BlockShuffle(5, 3), "seed": 3},
    "longest seed": {"batch_size": 7, "seed": 2**128 - 1, "tail": "pad"},
    "of two": {"batch_size": 3, "rank": 1, "world_size": 2, "tail": "partial"},
    "version": {"batch_size": 4, "transform_version": "2"},
}
PLACES = [(0, 0), (0, 3), (5, 2)]


def cases():
    for source in SOURCES:
        for options in OPTIONS:
            if source == "array" or options in ("plain", "blocks"):
                yield source, options


def make_loader(source, options, folder):
    folder.mkdir(exist_ok=True)
    return hr.Loader(SOURCES[source](folder), executor=hr.Inline(), **OPTIONS[options])


def as_lists(batch):
    if isinstance(batch, dict):
        return {key: as_lists(part) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return [as_lists(part) for part in batch]
    return batch.tolist()


def model_and_data():
    """A model whose batches can be told apart, and what it trains on."""
    import keras
    from keras_seed import set_random_seed

    set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.1), keras.layers.Dense(2), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
    return model, hr.Loader((x, x.sum(1, keepdims=True)), batch_size=4, seed=2)


def train(file, recorded, stop_after=None):
    """Trains two epochs, from the file if it is there; killed, as it were, after some batches."""
    import keras

    from headrace.adapters.keras import ResumeTraining

    class Recorded(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            recorded.append(list(loader.place))
            if len(recorded) == stop_after:
                raise KeyboardInterrupt

    model, loader = model_and_data()
    dataset = loader.to_keras()
    resume = ResumeTraining(dataset, file, save_freq=1)
    try:
        model.fit(dataset, epochs=2, verbose=0, callbacks=[resume, Recorded()])
    except KeyboardInterrupt:
        return None
    return [weight.tolist() for weight in model.get_weights()]


def save_all(folder, work):
    saved = []
    for source, options in cases():
        loader = make_loader(source, options, work / source.replace(" ", "-"))
        for epoch, step in PLACES:
            loader.seek(epoch, step)
            state = loader.state_dict()
            batch = as_lists(loader.batch(epoch, step))
            saved.append({"source": source, "options": options, "state": state, "batch": batch})
    (folder / "states.json").write_text(json.dumps(saved, indent=0) + "\n")
    if os.environ.get("KERAS_BACKEND"):
        places = []
        train(folder / "training.weights.h5", places, stop_after=RESUMED_STEPS)
        whole = []
        weights = train(work / "whole.weights.h5", whole)
        expected = {"places": whole[RESUMED_STEPS:], "weights": weights}
        (folder / "training.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    import tempfile

    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    save_all(Path(sys.argv[1]), Path(tempfile.mkdtemp()))
