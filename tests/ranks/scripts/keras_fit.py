"""Trains and evaluates with Keras on JAX, over the devices of one or several processes.

keras_fit.py RANK WORLD_SIZE PORT KIND...

A kind is that of a distribution, "data" or "model", or "none". All are tried in one start of the
processes, which takes longer.
"""

import json
import random
import sys
import warnings

import keras
import numpy as np

import headrace as hr

N, GLOBAL_BATCH = 90, 16


def distribution(kind: str) -> "keras.distribution.Distribution":
    devices = keras.distribution.list_devices()
    if kind == "data":
        return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    # All devices hold parts of the model, so that all processes need all rows.
    mesh = keras.distribution.DeviceMesh((1, len(devices)), ("batch", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*hidden/kernel"] = (None, "model")
    return keras.distribution.ModelParallel(layout_map=layout, auto_shard_dataset=False)


# Keras seeds it where there are several processes, and it takes seconds to import.
sys.modules["tensorflow"] = None


def main(rank: int, world_size: int, port: str, *kinds: str) -> None:
    if world_size > 1:
        keras.distribution.initialize(f"localhost:{port}", world_size, rank)
    process = hr.world()
    answers = {}
    for kind in kinds:
        keras.distribution.set_distribution(None if kind == "none" else distribution(kind))
        answers[kind] = {"process": process, **trained(hr.world(), kind, process)}
    print(json.dumps(answers), flush=True)


def trained(place: hr.World, kind: str, process: hr.World) -> dict[str, object]:
    random.seed(1)  # of which Keras draws its own
    x = np.random.default_rng(0).normal(size=(N, 5)).astype("float32")
    y = (x @ np.arange(5, dtype="float32")[:, None] + 1).astype("float32")
    options = {**place._asdict(), "batch_size": GLOBAL_BATCH // place.world_size, "seed": 2}
    layers = [
        keras.Input((5,)),
        keras.layers.Dense(8, activation="relu", name="hidden"),
        keras.layers.Dense(1, name="output"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.02), "mse", weighted_metrics=["mse"])
    untrained = np.asarray(model.get_layer("output").kernel.value.addressable_data(0)).ravel()
    train = hr.Loader((x, y), **options)
    model.fit(train.to_keras(), epochs=3, verbose=0)
    test = hr.Loader((x, y), shuffle=False, tail="pad", **options)
    measured = model.evaluate(test.to_keras(), verbose=0, return_dict=True)
    output = model.get_layer("output").kernel.value
    answer = {
        "world": place,
        "place": train.place,
        "mse": measured["mse"],
        "untrained": untrained.tolist(),
        "devices": len(output.devices()),
        # The layer that no distribution has split; it depends on all others.
        "weights": np.asarray(output.addressable_data(0)).ravel().tolist(),
    }
    if kind == "none":
        unpadded = model.evaluate(x, y, batch_size=N, verbose=0, return_dict=True)
        answer["unpadded_mse"] = unpadded["mse"]
    answer["said"] = [
        said_of(model, hr.Loader((x, y), GLOBAL_BATCH, **ranks))
        for ranks in ({}, process._asdict())  # last, as the weights are lost with an error
    ]
    return answer


def said_of(model: keras.Model, loader: "hr.Loader[object]") -> str:
    """What is warned of, or raised, where the model is evaluated."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            model.evaluate(loader.to_keras(), verbose=0)
        except hr.ArgumentError as error:
            return str(error)
    return "".join(str(warning.message) for warning in warned)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
