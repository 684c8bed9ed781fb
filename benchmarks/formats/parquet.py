"""Parquet: binaries of a fixed size in row groups of 256 KB, compressed with Zstandard.

Lists of bytes would take Parquet ten times as long or more.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import headrace as hr

Array = np.ndarray[Any, Any]
GROUP_BYTES = 2**18


def write(folder: pathlib.Path, samples: Array) -> None:
    nbytes = samples[0].nbytes
    buffers = [None, pa.py_buffer(np.ascontiguousarray(samples))]
    column = pa.Array.from_buffers(pa.binary(nbytes), len(samples), buffers)
    pq.write_table(
        pa.table({"x": column}),
        folder / "data.parquet",
        row_group_size=max(1, GROUP_BYTES // nbytes),
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=True,
    )
    described = [samples.dtype.str, samples.shape[1:]]
    (folder / "dtype.json").write_text(json.dumps(described))


def contenders(
    folder: pathlib.Path, n: int, cache_bytes: int
) -> dict[str, Callable[[Array, Array], None]]:
    dtype, shape = json.loads((folder / "dtype.json").read_text())
    reader = hr.Parquet(
        folder / "data.parquet", dtype=(dtype, tuple(shape)), cache_bytes=cache_bytes
    )
    file = pq.ParquetFile(folder / "data.parquet")
    rows = file.metadata.row_group(0).num_rows

    def loop(indices: Array, out: Array) -> None:
        for row, index in enumerate(indices.tolist()):
            value = file.read_row_group(index // rows, ["x"])["x"][index % rows]
            out[row] = np.frombuffer(value.as_buffer(), dtype).reshape(shape)

    return {"headrace": reader.read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    path = folder / "data.parquet"
    return lambda: int(pq.read_table(path, use_threads=False).nbytes)
