"""A dataset as PyTorch has them, of the rows of one .npy file: what asking for samples costs."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import headrace as hr

Array = np.ndarray[Any, Any]


class Rows:
    def __init__(self, path: pathlib.Path) -> None:
        self.rows = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Array:
        return np.array(self.rows[index])


def write(folder: pathlib.Path, samples: Array) -> None:
    np.save(folder / "data.npy", samples)


def contenders(folder: pathlib.Path, n: int) -> dict[str, Callable[[Array, Array], None]]:
    dataset = Rows(folder / "data.npy")

    def loop(indices: Array, out: Array) -> None:
        for row, index in enumerate(indices.tolist()):
            out[row] = dataset[index]

    return {"headrace": hr.GetItem(dataset).read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    return lambda: int(np.load(folder / "data.npy").nbytes)
