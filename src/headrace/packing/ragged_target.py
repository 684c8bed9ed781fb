"""RaggedTarget: samples of any length in two .npy files, their values and their offsets."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.packing.npy_target import NpyTarget
from headrace.packing.sums import SummedFile, Sums, sum_file
from headrace.packing.target import Columns, Shape, TargetState, most_in_a_batch
from headrace.readers.npy.ragged_folder import OFFSETS, VALUES
from headrace.readers.reader import Spec

# Of the header of offsets, as numpy writes it.
_HEADER_BYTES = 128


class RaggedTarget:
    """Writes the values of one column and the offsets between them; other columns as .npy files.

    Args:
        columns: their specs.
        n: the number of samples.
        name: of the folder that is made, with values.npy and offsets.npy.
        ragged: the column of any length.
        files: the name of the file of each other column.
        sample_nbytes: of a sample, on average.
    """

    nbytes = None

    def __init__(
        self,
        columns: Columns,
        n: int,
        name: str,
        ragged: str,
        files: Mapping[str, str],
        shape: Shape,
        sample_nbytes: int,
    ) -> None:
        self.files = files
        self._spec, self._ragged = columns[ragged], ragged
        self.batch_size = min(n, most_in_a_batch(columns, shape, sample_nbytes))
        self._paths = {file: f"{name}/{file}" for file in (VALUES, OFFSETS)}
        self._others = NpyTarget(columns, n, files, shape)
        self._n = n
        self._done = self._total = 0
        self._files: dict[str, SummedFile] = {}

    def begin(self, folder: Path, sums: Sums, state: TargetState | None) -> int:
        self._folder, self._sums = folder, sums
        self._done = self._total = 0
        if state is None:
            self._others.begin(folder, sums, None)
            for file, path in self._paths.items():
                self._files[file] = SummedFile(folder / path)
                self._files[file].write(self._header(file))
            self._files[OFFSETS].write(np.zeros(1, np.int64).data)
            return 0
        opened = state["open"]
        self._done = state["samples"]
        others = {name: opened.get(name) for name in self._others.files}
        self._others.begin(folder, sums, {"samples": self._done, "open": others})
        for file, path in self._paths.items():
            if (folder / path).exists():  # a kill may have come after the headers were written
                self._write_header(file)
            self._files[file] = SummedFile(folder / path, opened[file])
        last = _HEADER_BYTES + 8 * self._done
        self._total = int(np.fromfile(folder / self._paths[OFFSETS], np.int64, 1, offset=last)[0])
        return self._done

    def write(self, columns: Mapping[str, Any]) -> None:
        rows = columns[self._ragged]
        if rows.values.nbytes:
            flat = np.ascontiguousarray(rows.values).reshape(-1)
            self._files[VALUES].write(flat.view(np.uint8).data)
        self._files[OFFSETS].write((rows.offsets[1:] + self._total).data)
        self._total += len(rows.values)
        self._done += len(rows)
        if self._others.files:
            self._others.write(columns)

    def flush(self) -> TargetState:
        if not self._files:
            return {"samples": self._done}
        opened = dict(self._others.flush()["open"])
        opened |= {file: written.flush() for file, written in self._files.items()}
        return {"samples": self._done, "open": opened}

    def finish(self) -> None:
        for file, path in self._paths.items():
            self._files.pop(file).end()
            self._write_header(file, self._total if file == VALUES else self._n + 1)
            self._sums.add(path, sum_file(self._folder / path))

    def close(self) -> None:
        self._others.close()
        for file in self._files.values():
            file.close()

    def _write_header(self, file: str, length: int = 0) -> None:
        with open(self._folder / self._paths[file], "r+b") as written:
            written.write(self._header(file, length))

    def _header(self, file: str, length: int = 0) -> bytes:
        spec = self._spec if file == VALUES else Spec((None,), np.dtype(np.int64))
        header = io.BytesIO()
        description = {
            "descr": np.lib.format.dtype_to_descr(spec.dtype),
            "fortran_order": False,
            "shape": (length, *spec.element),
        }
        # It leaves room for any length of the first axis, so that all are equally long.
        np.lib.format.write_array_header_1_0(header, description)
        return header.getvalue()
