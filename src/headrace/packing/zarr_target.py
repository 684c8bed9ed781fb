"""ZarrTarget: an array in Zarr's format 3, or a group with one for each column.

Requires the extra `headrace[zarr]`.
"""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.arrays import Array
from headrace.errors import ArgumentError, missing_extra
from headrace.packing.sums import Sums, sum_file
from headrace.packing.target import Columns, Shape, TargetState, in_batches, most_in_a_batch
from headrace.readers.reader import Spec

if TYPE_CHECKING:
    import zarr

_CHUNK_BYTES = 2**18


class ZarrTarget:
    """Writes samples in chunks of a few, and many chunks in each file.

    Args:
        columns: their specs. A single one is the array itself, not in a group.
        n: the number of samples.
        name: of the folder that is made.
        shape: a chunk has one sample at least.
    """

    def __init__(self, columns: Columns, n: int, name: str, shape: Shape) -> None:
        try:
            import zarr  # noqa: F401
        except ModuleNotFoundError:
            raise missing_extra("Packing to Zarr", "zarr", "zarr") from None
        for column, spec in columns.items():
            if spec.dtype.kind == "V":  # Zarr fails over the first rows of them
                raise _cannot_hold(column, spec)
        self._columns, self._n, self._name, self._compressed = columns, n, name, shape.compressed
        block_bytes = shape.block_bytes or _CHUNK_BYTES
        largest = max(spec.nbytes for spec in columns.values())
        most = most_in_a_batch(columns, shape)
        chunk = max(1, min(block_bytes // max(1, largest), most, n))
        # A shard is a file, and is written as a whole.
        self.batch_size = in_batches(min(most, math.ceil(n / chunk) * chunk), chunk)[0]
        self._chunks = {
            name: self.batch_size if spec.nbytes * self.batch_size <= block_bytes else chunk
            for name, spec in columns.items()
        }

    nbytes = None

    def begin(self, folder: Path, sums: Sums, state: TargetState | None) -> int:
        self._root, self._sums = folder / self._name, sums
        self._arrays = self._create() if state is None else self._opened()
        self._done: int = 0 if state is None else state["samples"]
        return self._done

    def write(self, columns: Mapping[str, Array]) -> None:
        for column, array in self._arrays.items():
            rows = columns[column]
            array[self._done : self._done + len(rows)] = rows
            coordinates = (self._done // self.batch_size, *(0 for _ in rows.shape[1:]))
            key = array.metadata.encode_chunk_key(coordinates)
            self._sum("/".join(filter(None, (array.path, key))))
        self._done += len(rows)

    def flush(self) -> TargetState:
        return {"samples": self._done}  # each file is safe once it is summed

    def finish(self) -> None:
        import zarr

        # Of a kill within a write, or after this was done.
        for pattern in ("*.partial", "manifest.json", ".manifest.json-*.tmp"):
            for leftover in self._root.rglob(pattern):
                leftover.unlink()
        if not self._is_single():
            with warnings.catch_warnings():
                # Not yet in the specification; who does not know it passes over it.
                warnings.filterwarnings("ignore", "Consolidated metadata")
                zarr.consolidate_metadata(str(self._root))
        for path in sorted(self._root.rglob("zarr.json")):
            self._sum(path.relative_to(self._root).as_posix())

    def close(self) -> None:
        """Zarr keeps nothing open."""

    def _create(self) -> "dict[str, zarr.Array[Any]]":
        import zarr

        if not self._is_single():
            zarr.create_group(str(self._root), zarr_format=3)
        arrays = {}
        for column, spec in self._columns.items():
            try:
                arrays[column] = zarr.create_array(
                    str(self._root),
                    name=None if self._is_single() else column,
                    shape=(self._n, *spec.shape),
                    dtype=spec.dtype,
                    chunks=(self._chunks[column], *spec.shape),
                    shards=(self.batch_size, *spec.shape),
                    compressors="auto" if self._compressed else None,
                    fill_value=None,
                    zarr_format=3,
                    # So that a file that is lost can't be taken for one that was never needed.
                    config={"write_empty_chunks": True},
                )
            except (TypeError, ValueError, ArithmeticError) as error:  # of names, dtypes and shapes
                raise _cannot_hold(column, spec) from error
        return arrays

    def _opened(self) -> "dict[str, zarr.Array[Any]]":
        import zarr

        config = {"write_empty_chunks": True}
        store = str(self._root)
        if self._is_single():
            (column,) = self._columns
            return {column: zarr.open_array(store, mode="r+", config=config)}
        return {
            column: zarr.open_array(store, path=column, mode="r+", config=config)
            for column in self._columns
        }

    def _is_single(self) -> bool:
        return len(self._columns) == 1

    def _sum(self, name: str) -> None:
        self._sums.add(f"{self._name}/{name}", sum_file(self._root / name))


def _cannot_hold(column: str, spec: Spec) -> ArgumentError:
    return ArgumentError(
        f"DST must be of a format that can hold the samples, but Zarr can't hold {column!r} of "
        f"shape {spec.shape} and dtype {spec.dtype}, or none of that name. Pack to .npy, or leave "
        "it out with --columns."
    )
