"""What `world()` says under several of Keras' distributions, in processes of two devices each.

keras_world.py RANK WORLD_SIZE PORT
"""

import json
import os
import sys

import jax
import keras

import headrace as hr


def distributions():
    devices = keras.distribution.list_devices()

    def model_parallel(shape, names, order=devices):
        mesh = keras.distribution.DeviceMesh(shape, names, order)
        layout = keras.distribution.LayoutMap(mesh)
        return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")

    return {
        "data": keras.distribution.DataParallel(devices=devices),
        "data, in reverse": keras.distribution.DataParallel(devices=devices[::-1]),
        "model": model_parallel((1, 8), ("batch", "model")),
        "batch first": model_parallel((2, 4), ("batch", "model")),
        "batch last": model_parallel((2, 4), ("model", "batch")),
        "overlapping": model_parallel(
            (4, 2), ("batch", "model"), [devices[i] for i in (0, 2, 1, 4, 3, 6, 5, 7)]
        ),
        "of process 0": keras.distribution.DataParallel(devices=devices[:2]),
    }


def main(rank: int, world_size: int, port: str) -> None:
    # As a launcher might; the sources must agree on the process, not on its share of the rows.
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size)}
    jax.distributed.initialize(f"localhost:{port}", num_processes=world_size, process_id=rank)
    answers = {"none": hr.world()}
    for name, distribution in distributions().items():
        with distribution.scope():
            try:
                answers[name] = hr.world()
            except hr.ArgumentError as error:
                answers[name] = str(error)
    os.environ["RANK"] = str((rank + 1) % world_size)
    try:
        answers["contradicted"] = hr.world()
    except hr.ArgumentError as error:
        answers["contradicted"] = str(error)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
