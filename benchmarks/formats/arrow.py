"""Arrow: fixed-size lists in a file that is not compressed, in record batches of 1 MB."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

import headrace as hr

Array = np.ndarray[Any, Any]
BATCH_BYTES = 2**20


def write(folder: pathlib.Path, samples: Array) -> None:
    column: Any = pa.array(samples.reshape(-1))
    for length in reversed(samples.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, length)
    rows = max(1, BATCH_BYTES // samples[0].nbytes)
    path = str(folder / "data.arrow")
    feather.write_feather(pa.table({"x": column}), path, "uncompressed", chunksize=rows)


def contenders(folder: pathlib.Path, n: int) -> dict[str, Callable[[Array, Array], None]]:
    column = feather.read_table(folder / "data.arrow", memory_map=True)["x"]

    def loop(indices: Array, out: Array) -> None:
        for row, index in enumerate(indices.tolist()):
            out[row] = flat(column[index].values).reshape(out.shape[1:])

    return {"headrace": hr.Arrow(folder / "data.arrow").read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    path = folder / "data.arrow"
    return lambda: int(feather.read_table(path, memory_map=False, use_threads=False).nbytes)


def flat(values: Any) -> Array:
    """The numbers in lists of Arrow's."""
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    numbers: Array = values.to_numpy()
    return numbers
