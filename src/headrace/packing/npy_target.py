"""NpyTarget: the rows of one .npy file, or of several; labels in a file of their own."""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headrace.arrays import Array
from headrace.packing.sums import FileState, SummedFile, Sums
from headrace.packing.target import (
    Columns,
    Shape,
    TargetState,
    in_batches,
    most_in_a_batch,
    sample_bytes,
)
from headrace.readers.reader import Spec


class NpyTarget:
    """Writes each column as one .npy file, or as several.

    Args:
        columns: their specs.
        n: the number of samples.
        files: the name of each column's file, below the folder; one that ends with "/" is that of a
            folder for several.
    """

    def __init__(self, columns: Columns, n: int, files: Mapping[str, str], shape: Shape) -> None:
        self.files = files
        rows = max(1, shape.shard_bytes // sample_bytes(columns))
        rows, self.batch_size = in_batches(rows, most_in_a_batch(columns, shape))
        self._writers = {
            name: _NpyWriter(file, columns[name], n, rows if file.endswith("/") else n)
            for name, file in files.items()
        }
        self._done = 0

    @property
    def nbytes(self) -> int:
        return sum(writer.nbytes for writer in self._writers.values())

    def begin(self, folder: Path, sums: Sums, state: TargetState | None) -> int:
        self._done = 0 if state is None else state["samples"]
        for name, writer in self._writers.items():
            writer.begin(folder, sums, self._done, None if state is None else state["open"][name])
        return self._done

    def write(self, columns: Mapping[str, Array]) -> None:
        for name, writer in self._writers.items():
            writer.write(columns[name])
        self._done += len(columns[name])

    def flush(self) -> TargetState:
        opened = {name: writer.flush() for name, writer in self._writers.items()}
        return {"samples": self._done, "open": opened}

    def finish(self) -> None:
        """Each file was ended with its last sample."""

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _NpyWriter:
    """One column. Batches fill the rows of a file exactly."""

    def __init__(self, file: str, spec: Spec, n: int, rows: int) -> None:
        self._name, self._spec, self._n, self._rows = file, spec, n, rows
        self._digits = max(5, len(str(math.ceil(n / rows))))
        self._done = 0
        self._open: SummedFile | None = None

    @property
    def nbytes(self) -> int:
        files = math.ceil(self._n / self._rows)
        return files * len(_header(self._spec, self._n)) + self._n * self._spec.nbytes

    def begin(self, folder: Path, sums: Sums, done: int, state: FileState | None) -> None:
        self._folder, self._sums, self._done = folder, sums, done
        if state is not None:
            self._open = SummedFile(folder / self._file_name(), state)

    def write(self, rows: Array) -> None:
        if self._open is None:
            self._open = SummedFile(self._folder / self._file_name())
            first = self._done // self._rows * self._rows
            self._open.write(_header(self._spec, min(self._rows, self._n - first)))
        if rows.nbytes:
            self._open.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        name = self._file_name()
        self._done += len(rows)
        if self._done % self._rows == 0 or self._done == self._n:
            self._sums.add(name, self._open.end())
            self._open = None

    def flush(self) -> FileState | None:
        return None if self._open is None else self._open.flush()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    def _file_name(self) -> str:
        if not self._name.endswith("/"):
            return self._name
        return f"{self._name}shard-{self._done // self._rows:0{self._digits}}.npy"


def _header(spec: Spec, rows: int) -> bytes:
    header = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(spec.dtype),
        "fortran_order": False,
        "shape": (rows, *spec.shape),
    }
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()
