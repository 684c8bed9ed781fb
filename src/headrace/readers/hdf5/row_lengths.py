"""How long the rows of a dataset are that may have any length, of what stands for them in the file.

The rows themselves lie in heaps. A dataset has a descriptor of each: its length (4 bytes), and
where it lies (12 bytes, or fewer in files that number their bytes with less than 64 bits):
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, Variable-length datatypes.
"""

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from headrace.arrays import Array, Indices

if TYPE_CHECKING:
    import h5py

_DESCRIPTOR = np.dtype([("length", "<u4"), ("heap", "V12")])
DEFLATE = 1
CONTIGUOUS = 1
_ROWS_AT_ONCE = 2**16


def stored_lengths(dataset: "h5py.Dataset") -> Iterator[Indices | None]:
    """The lengths of the rows, some at a time; of some as None, where they can't be told so.

    Those are `rows_at_once(dataset)` each, but for the last.
    """
    n, step = len(dataset), rows_at_once(dataset)
    layout = dataset.id.get_create_plist()
    if dataset.chunks:
        filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
        for start in range(0, n, step):
            found = _of_chunk(dataset, start, filters)
            yield None if found is None else found[: min(step, n - start)]
        return
    offset = dataset.id.get_offset() if layout.get_layout() == CONTIGUOUS else None
    nbytes = n * _DESCRIPTOR.itemsize
    if layout.get_external_count() or dataset.id.get_storage_size() != nbytes:
        offset = None
    for start in range(0, n, step):
        if offset is None:
            yield None
            continue
        with open(dataset.file.filename, "rb") as file:
            file.seek(offset + start * _DESCRIPTOR.itemsize)
            yield _lengths(file.read(min(step, n - start) * _DESCRIPTOR.itemsize))


def rows_at_once(dataset: "h5py.Dataset") -> int:
    """How many rows are looked at together."""
    return dataset.chunks[0] if dataset.chunks else _ROWS_AT_ONCE


def _of_chunk(dataset: "h5py.Dataset", start: int, filters: list[int]) -> Indices | None:
    try:
        skipped, data = dataset.id.read_direct_chunk((start,))
    except (OSError, RuntimeError, ValueError):  # such as of a chunk that was never written
        return None
    applied = [one for at, one in enumerate(filters) if not skipped >> at & 1]
    if applied not in ([], [DEFLATE]):
        return None
    nbytes = dataset.chunks[0] * _DESCRIPTOR.itemsize
    if applied:
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(data, nbytes + 1)  # whatever there is more
        except zlib.error:
            return None
        if not inflate.eof:
            return None
    return _lengths(data) if len(data) == nbytes else None


def _lengths(data: bytes) -> Indices:
    found: Array = np.frombuffer(data, _DESCRIPTOR)["length"]
    return found.astype(np.int64)
