"""Eight .npy files whose rows are the samples: headrace, and a loop over memory maps."""

import pathlib
from collections.abc import Callable

import numpy as np

import headrace as hr

SHARDS = 8


def write(folder: pathlib.Path, samples: np.ndarray) -> None:
    for number, shard in enumerate(np.array_split(samples, SHARDS)):
        np.save(folder / f"{number:02}.npy", shard)


def contenders(folder: pathlib.Path, n: int) -> dict[str, Callable[[np.ndarray, np.ndarray], None]]:
    maps = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    begins = np.cumsum([0, *map(len, maps)])
    assert begins[-1] == n

    def loop(indices: np.ndarray, out: np.ndarray) -> None:
        for row, index in enumerate(indices.tolist()):
            shard = int(np.searchsorted(begins, index, side="right")) - 1
            out[row] = maps[shard][index - begins[shard]]

    return {"headrace": hr.NpyShards(folder).read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    paths = sorted(folder.glob("*.npy"))
    return lambda: sum(np.load(path).nbytes for path in paths)
