"""Zarr: chunks of 256 KB in shards of 16, compressed as zarr does if told nothing else."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr

import headrace as hr

Array = np.ndarray[Any, Any]
CHUNK_BYTES, CHUNKS_IN_SHARD = 2**18, 16


def write(folder: pathlib.Path, samples: Array) -> None:
    shape = samples.shape[1:]
    length = min(len(samples), max(1, CHUNK_BYTES // samples[0].nbytes))
    zarr.create_array(
        folder / "data.zarr",
        data=samples,
        chunks=(length, *shape),
        shards=(length * CHUNKS_IN_SHARD, *shape),
    )


def contenders(
    folder: pathlib.Path, n: int, cache_bytes: int
) -> dict[str, Callable[[Array, Array], None]]:
    array = zarr.open_array(folder / "data.zarr", mode="r")

    def loop(indices: Array, out: Array) -> None:
        for row, index in enumerate(indices.tolist()):
            out[row] = array[index]

    return {"headrace": hr.Zarr(folder / "data.zarr", cache_bytes=cache_bytes).read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    array = zarr.open_array(folder / "data.zarr", mode="r")
    return lambda: int(np.asarray(array[:]).nbytes)
