"""ParquetTarget: a folder of Parquet files, a column for each array of a sample.

Requires the extra `headrace[arrow]`.
"""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import ArgumentError, missing_extra
from headrace.packing.sums import SummedFile, Sums
from headrace.packing.target import (
    Columns,
    Shape,
    TargetState,
    in_batches,
    most_in_a_batch,
    sample_bytes,
)
from headrace.ragged import Ragged
from headrace.readers.reader import Batched, Spec

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_BYTES = 2**20
# As many as the offsets of a list can tell.
_MOST_IN_LISTS = 2**31 - 1


class ParquetTarget:
    """Writes arrays as fixed-size lists. A file can't be gone on with, so there are several.

    Args:
        columns: their specs.
        n: the number of samples.
        name: of the folder that is made.
        shape: a row group has one sample at least.
        sample_nbytes: of a sample, on average, if it may have any length; else 0.
    """

    def __init__(
        self, columns: Columns, n: int, name: str, shape: Shape, sample_nbytes: int = 0
    ) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError:
            raise missing_extra("Packing to Parquet", "pyarrow", "arrow") from None
        self._columns, self._n, self._name = columns, n, name
        self._schema = _schema(columns)
        self._compression = "zstd" if shape.compressed else "none"
        nbytes = sample_nbytes or sample_bytes(columns)
        most = most_in_a_batch(columns, shape, nbytes)
        rows = max(1, shape.shard_bytes // nbytes)
        group_bytes = shape.block_bytes or _GROUP_BYTES
        self._group = max(1, min(group_bytes // nbytes, most, rows, n))
        # Batches fill files, and groups batches.
        self._rows, self.batch_size = in_batches(rows, in_batches(most, self._group)[0])
        self._digits = max(5, len(str(math.ceil(n / self._rows))))
        self._file: SummedFile | None = None

    nbytes = None

    def begin(self, folder: Path, sums: Sums, state: TargetState | None) -> int:
        self._folder, self._sums = folder, sums
        self._done: int = 0 if state is None else state["samples"]
        return self._done

    def write(self, columns: Mapping[str, Batched]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._file is None:
            self._file_name = (
                f"{self._name}/part-{self._done // self._rows:0{self._digits}}.parquet"
            )
            self._file = SummedFile(self._folder / self._file_name)
            self._writer = pq.ParquetWriter(
                self._file,
                self._schema,
                compression=self._compression,
                use_dictionary=_of_bytes(self._columns),
                write_page_checksum=True,
            )
        for name, rows in columns.items():
            _check_dates(name, rows, self._done)
        arrays = [_arrow(columns[name], self._schema.field(name).type) for name in self._columns]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=self._group)
        self._done += len(table)
        if self._done % self._rows == 0 or self._done == self._n:
            self._writer.close()
            self._sums.add(self._file_name, self._file.end())
            self._file = None

    def flush(self) -> TargetState:
        # A file without its end is none.
        safe = self._done if self._file is None else self._done // self._rows * self._rows
        return {"samples": safe}

    def finish(self) -> None:
        """Each file was ended with its last sample."""

    def close(self) -> None:
        if self._file is not None:
            # Else it would write its end when Python frees it, to a file that is closed.
            with contextlib.suppress(Exception):  # a full disk, which was raised before
                self._writer.close()
            self._file.close()


def _of_bytes(columns: Columns) -> list[str]:
    """The paths of the columns of 8-bit integers.

    Parquet has none, so that each would take four bytes; as the index of an entry in a dictionary
    of 256 it takes one.
    """
    return [
        name + ".list.element" * len(spec.shape)
        for name, spec in columns.items()
        if spec.dtype.kind in "iu" and spec.dtype.itemsize == 1 and not _is_of_bytes(spec)
    ]


def _is_of_bytes(spec: Spec) -> bool:
    """Whether samples are binaries of any length, such as texts."""
    return spec.ragged and not spec.element and spec.dtype == np.uint8


def _schema(columns: Columns) -> "pa.Schema":
    import pyarrow as pa

    fields = []
    for name, spec in columns.items():
        try:
            # Strings would be of any length, which is no array.
            kind = pa.from_numpy_dtype(spec.dtype) if spec.dtype.kind not in "SUV" else None
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
            kind = None
        if spec.dtype.kind == "S" or (spec.dtype.kind == "V" and spec.dtype.names is None):
            kind = pa.binary(spec.dtype.itemsize)
        if kind is None or 0 in spec.shape:  # of which None is none
            raise ArgumentError(
                f"DST must be of a format that can hold the samples, but Parquet can't hold "
                f"{name!r} of shape {spec.shape} and dtype {spec.dtype}. Pack to "
                f"{_others(spec.ragged)}."
            )
        if _is_of_bytes(spec):
            kind = pa.binary()
        else:
            for length in reversed(spec.shape):
                of_any = () if length is None else (length,)
                kind = pa.list_(pa.field("element", kind, nullable=False), *of_any)
        fields.append(pa.field(name, kind, nullable=False))
    return pa.schema(fields)


def _others(ragged: bool) -> str:
    """The formats that take what Parquet does not."""
    return ".ragged" if ragged else ".npy or .zarr"


def _check_dates(name: str, rows: Batched, first: int) -> None:
    """Raises an error if a date is none, which would be a null: that has no value when it is read.

    Args:
        first: the number of the first of these samples.
    """
    values = rows.values if isinstance(rows, Ragged) else rows
    if values.dtype.kind not in "mM" or not (none := np.isnat(values)).any():
        return
    row = int(np.flatnonzero(none.reshape(len(values), -1).any(axis=1))[0])
    if isinstance(rows, Ragged):
        row = int(np.searchsorted(rows.offsets, row, "right")) - 1
    raise ArgumentError(
        f"samples must have no NaT to be packed to Parquet, which has nulls in its place, but "
        f"{name!r} of sample {first + row} has NaT. Pack to "
        f"{_others(isinstance(rows, Ragged))}."
    )


def _arrow(rows: Batched, kind: "pa.DataType") -> "pa.Array":
    """The rows as an Arrow array of lists, without copying them."""
    import pyarrow as pa

    if isinstance(rows, Ragged):
        if len(rows.values) > _MOST_IN_LISTS:
            raise ArgumentError(
                f"samples must have at most {_MOST_IN_LISTS} values in a batch that is packed to "
                f"Parquet, but {len(rows)} of them have {len(rows.values)}. Pack to .ragged."
            )
        offsets = rows.offsets.astype(np.int32)
        if pa.types.is_binary(kind):
            values = np.ascontiguousarray(rows.values)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
            return pa.Array.from_buffers(kind, len(rows), buffers)
        elements = _arrow(rows.values, kind.value_type)
        return pa.ListArray.from_arrays(pa.array(offsets), elements, type=kind)
    kinds = []
    while pa.types.is_fixed_size_list(kind):
        kinds.append(kind)
        kind = kind.value_type
    flat = np.ascontiguousarray(rows).reshape(-1)
    if pa.types.is_fixed_size_binary(kind):
        buffers = [None, pa.py_buffer(flat.view(np.uint8))]
        array = pa.Array.from_buffers(kind, len(flat), buffers)
    else:
        array = pa.array(flat, kind)
    for kind in reversed(kinds):
        array = pa.FixedSizeListArray.from_arrays(array, type=kind)
    return array
