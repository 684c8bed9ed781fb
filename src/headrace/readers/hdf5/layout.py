"""How a dataset lies in an HDF5 file, and reading it there without h5py where that is possible.

h5py lets one thread at a time into the HDF5 library, also to decompress. But where h5py can tell at
which bytes of the file the data lie, they can be read past it: from a memory map if they lie there
as they are, and with zlib, which threads can use at once, if their chunks went through gzip, with
or without the shuffle filter. All else goes through h5py.
"""

import mmap
import os
import zlib
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, DType, Indices
from headrace.ragged import Ragged
from headrace.readers.array import take_rows
from headrace.readers.hdf5.row_lengths import CONTIGUOUS, DEFLATE, rows_at_once, stored_lengths
from headrace.readers.shared.block_cache import copy_rows, rows_of_blocks
from headrace.readers.shared.format_error import FormatError

if TYPE_CHECKING:
    import h5py

# What h5py raises of a file or chunk that it can't read, and we.
FAILURES = (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError, FormatError)

_SHUFFLE = 2  # as HDF5 numbers its filters
_NOWHERE = 2**64 - 1


def open_dataset(dataset: "h5py.Dataset") -> "BySample | ByBlock":
    """The way to read a dataset that takes the least time."""
    import h5py

    stored_as = h5py.h5t.py_create(dataset.dtype, logical=True)
    if dataset.size and dataset.dtype.subdtype is None and dataset.id.get_type() == stored_as:
        layout = dataset.id.get_create_plist()
        if layout.get_layout() == CONTIGUOUS:
            if not layout.get_external_count() and dataset.id.get_offset() is not None:
                return Mapped(dataset)
        elif dataset.chunks and hasattr(dataset.id, "chunk_iter"):
            filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
            # HDF5 names wrong positions for the chunks of a dataset that may grow along one axis,
            # if that is not the first; and it has not always counted in a block before its data.
            grows = [axis for axis, most in enumerate(dataset.maxshape) if most is None]
            if (grows in ([], [0]) or len(grows) > 1) and not dataset.file.userblock_size:
                if not filters:
                    return MappedChunks(dataset)
                if filters in ([DEFLATE], [_SHUFFLE, DEFLATE]):
                    return Deflated(dataset, shuffled=len(filters) == 2)
    return ThroughH5py(dataset)


class ThroughH5py:
    """A dataset of any kind.

    Attributes:
        block: how many samples are read together.
    """

    def __init__(self, dataset: "h5py.Dataset") -> None:
        self._dataset = dataset
        self.block: int = dataset.chunks[0] if dataset.chunks else 1

    def load(self, block: int) -> Array:
        """The samples of a block, as they are stored."""
        start = block * self.block
        array: Array = self._dataset[start : start + self.block]
        return array


class RaggedThroughH5py:
    """A dataset whose rows may have any length.

    Attributes:
        block: how many samples are read together.
        dtype: of their elements: bytes, of strings.
    """

    def __init__(self, dataset: "h5py.Dataset") -> None:
        self._dataset = dataset
        self.block: int = dataset.chunks[0] if dataset.chunks else 1
        dtype = _dtype_of_elements(dataset)
        assert dtype is not None
        self.dtype: DType = dtype

    @staticmethod
    def can_read(dataset: "h5py.Dataset") -> bool:
        """Whether it is such a dataset."""
        return dataset.ndim == 1 and _dtype_of_elements(dataset) is not None

    def load(self, block: int) -> Ragged:
        """The samples of a block."""
        start = block * self.block
        return self._rows(start, start + self.block)

    def lengths(self) -> Iterator[Indices]:
        """The lengths of all samples, some at a time; what does not tell them is read."""
        start, step = 0, rows_at_once(self._dataset)
        for found in stored_lengths(self._dataset):
            yield self._rows(start, start + step).lengths if found is None else found
            start += step

    def _rows(self, start: int, stop: int) -> Ragged:
        rows = self._dataset[start:stop]
        return Ragged.of(
            [np.frombuffer(row, np.uint8) if isinstance(row, bytes) else row for row in rows]
        )


def _dtype_of_elements(dataset: "h5py.Dataset") -> DType | None:
    """What the rows are made of, if they may have any length; of strings, their bytes."""
    import h5py

    text = h5py.check_string_dtype(dataset.dtype)
    if text is not None:
        return np.dtype(np.uint8) if text.length is None else None
    dtype: DType | None = h5py.check_vlen_dtype(dataset.dtype)
    # Numbers of another byte order come from h5py 3 as if they were of this machine's.
    if dtype is None or dtype.hasobject or dtype.subdtype is not None or not dtype.isnative:
        return None
    return dtype


class Mapped:
    """A contiguous dataset, memory-mapped."""

    block = 1

    def __init__(self, dataset: "h5py.Dataset") -> None:
        offset = dataset.id.get_offset()
        file = _map(dataset.file.filename, offset + dataset.nbytes)
        self._array: Array = np.ndarray(dataset.shape, dataset.dtype, file, offset)

    def read(self, indices: Indices, out: Array) -> None:
        take_rows(self._array, indices, out)


class _Chunks:
    """Where each chunk of a dataset lies in the file; those over the same samples make a row."""

    def __init__(self, dataset: "h5py.Dataset") -> None:
        self._dataset = dataset
        self._chunk: tuple[int, ...] = dataset.chunks
        self.nbytes = prod(self._chunk) * dataset.dtype.itemsize
        grid = [-(-n // length) for n, length in zip(dataset.shape, self._chunk, strict=True)]
        self._inner_grid = grid[1:]
        self._offsets = np.full(grid, _NOWHERE, np.uint64)
        self._sizes = np.zeros(grid, np.uint64)
        dataset.id.chunk_iter(self._note)
        self._offsets.shape = self._sizes.shape = (grid[0], prod(self._inner_grid))
        known = self._offsets != _NOWHERE
        end = int((self._offsets[known] + self._sizes[known]).max(initial=0))
        self._file = _map(dataset.file.filename, end)

    def _note(self, chunk: "h5py.h5d.StoreInfo") -> None:
        # One that a filter was not applied to is left to h5py, as are those not in the file.
        if not chunk.filter_mask:
            at = tuple(i // n for i, n in zip(chunk.chunk_offset, self._chunk, strict=True))
            self._offsets[at] = chunk.byte_offset
            self._sizes[at] = chunk.size

    def _parts(self, block: int) -> Iterator[tuple[tuple[slice, ...], Array]]:
        """The chunks of the samples in a block: what part of a sample they hold, and their data."""
        start = block * self._chunk[0]
        samples = slice(start, min(start + self._chunk[0], self._dataset.shape[0]))
        for number, at in enumerate(np.ndindex(*self._inner_grid)):
            part = tuple(
                slice(i * length, min((i + 1) * length, n))
                for i, length, n in zip(at, self._chunk[1:], self._dataset.shape[1:], strict=True)
            )
            offset, size = int(self._offsets[block, number]), int(self._sizes[block, number])
            if offset == _NOWHERE:
                yield part, self._dataset[(samples, *part)]
            else:
                lengths = tuple(slice(s.stop - s.start) for s in (samples, *part))
                data = self._decode(self._file[offset : offset + size])
                yield part, np.ndarray(self._chunk, self._dataset.dtype, data)[lengths]

    def _decode(self, data: npt.NDArray[np.uint8]) -> "bytes | npt.NDArray[np.uint8]":
        """The bytes of a chunk, of its bytes in the file."""
        raise NotImplementedError


class MappedChunks(_Chunks):
    """Chunks that lie in the file as they are, memory-mapped."""

    block = 1

    def __init__(self, dataset: "h5py.Dataset") -> None:
        super().__init__(dataset)
        sizes = self._sizes[self._offsets != _NOWHERE]
        if (sizes != self.nbytes).any():
            raise FormatError(f"it has chunks that are not {self.nbytes} bytes long")

    def read(self, indices: Indices, out: Array) -> None:
        length = self._chunk[0]
        for block, rows in rows_of_blocks(indices // length):
            for part, array in self._parts(block):
                copy_rows(array, indices[rows] - block * length, out[(slice(None), *part)], rows)

    def _decode(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return data


class Deflated(_Chunks):
    """Chunks that went through gzip, perhaps after their bytes were shuffled."""

    def __init__(self, dataset: "h5py.Dataset", shuffled: bool) -> None:
        super().__init__(dataset)
        # A writer may have asked to leave chunks at the edge as they are, which no mask tells.
        self._offsets[self._sizes == self.nbytes] = _NOWHERE
        self.block = self._chunk[0]
        self._shuffled = shuffled

    def load(self, block: int) -> Array:
        samples = min(self.block, self._dataset.shape[0] - block * self.block)
        whole = None
        for part, array in self._parts(block):
            if array.shape[1:] == self._dataset.shape[1:]:
                return array
            if whole is None:
                whole = np.empty((samples, *self._dataset.shape[1:]), self._dataset.dtype)
            whole[(slice(None), *part)] = array
        assert whole is not None
        return whole

    def _decode(self, data: npt.NDArray[np.uint8]) -> "bytes | npt.NDArray[np.uint8]":
        inflate = zlib.decompressobj()
        try:
            decoded = inflate.decompress(data.data, self.nbytes)
            rest = inflate.decompress(inflate.unconsumed_tail, 1)  # the checksum
        except zlib.error as error:
            raise FormatError(f"a chunk of it can't be decompressed: {error}") from None
        if len(decoded) != self.nbytes or rest or not inflate.eof:
            raise FormatError(f"a chunk of it does not decompress to {self.nbytes} bytes")
        if not self._shuffled:
            return decoded
        # The first byte of every item came first, then the second of every item, and so on.
        shuffled = np.frombuffer(decoded, np.uint8).reshape(self._dataset.dtype.itemsize, -1)
        items = np.empty(shuffled.shape[::-1], np.uint8)
        for at, of_all_items in enumerate(shuffled):
            items[:, at] = of_all_items
        return items


# What `read`s samples, each by itself; and what can only `load` a block of them.
BySample: TypeAlias = Mapped | MappedChunks
ByBlock: TypeAlias = Deflated | ThroughH5py | RaggedThroughH5py


def _map(path: str, end: int) -> npt.NDArray[np.uint8]:
    """The file as an array; what is read of it must lie before `end`."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < end:
            raise FormatError(f"{path!r} ends after {size} bytes; it should have {end}")
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
