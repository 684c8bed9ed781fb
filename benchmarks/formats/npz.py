"""One .npz per sample, stored without compression: headrace, and a loop of `np.load`."""

import pathlib
from collections.abc import Callable

import numpy as np

import headrace as hr


def write(folder: pathlib.Path, samples: np.ndarray) -> None:
    for index, sample in enumerate(samples):
        np.savez(_path(folder, index), x=sample)


def contenders(folder: pathlib.Path, n: int) -> dict[str, Callable[[np.ndarray, np.ndarray], None]]:
    reader = hr.NpzFiles(folder, [f"{index:07}" for index in range(n)], keys="x")

    def loop(indices: np.ndarray, out: np.ndarray) -> None:
        for row, index in enumerate(indices.tolist()):
            with np.load(_path(folder, index)) as file:
                out[row] = file["x"]

    return {"headrace": reader.read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    """numpy has no bulk read of many files: each file's bytes, with nothing done to them."""
    paths = sorted(folder.glob("*.npz"))
    return lambda: sum(len(path.read_bytes()) for path in paths)


def _path(folder: pathlib.Path, index: int) -> pathlib.Path:
    return folder / f"{index:07}.npz"
