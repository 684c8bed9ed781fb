"""HDF5: chunks of 256 KB, compressed with gzip."""

import pathlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

import headrace as hr

Array = np.ndarray[Any, Any]
CHUNK_BYTES = 2**18


def write(folder: pathlib.Path, samples: Array) -> None:
    with h5py.File(folder / "data.h5", "w") as file:
        length = min(len(samples), max(1, CHUNK_BYTES // samples[0].nbytes))
        chunks = length, *samples.shape[1:]
        file.create_dataset("x", data=samples, chunks=chunks, compression="gzip")


def contenders(
    folder: pathlib.Path, n: int, cache_bytes: int
) -> dict[str, Callable[[Array, Array], None]]:
    dataset = h5py.File(folder / "data.h5", "r")["x"]

    def loop(indices: Array, out: Array) -> None:
        for row, index in enumerate(indices.tolist()):
            out[row] = dataset[index]

    return {"headrace": hr.Hdf5(folder / "data.h5", cache_bytes=cache_bytes).read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    dataset = h5py.File(folder / "data.h5", "r")["x"]
    return lambda: int(dataset[:].nbytes)
