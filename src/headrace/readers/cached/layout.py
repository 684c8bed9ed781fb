"""Layout: where in a file the arrays of samples lie."""

import os
import zlib
from typing import Any

import numpy as np

from headrace.arrays import Array, Indices
from headrace.pytree import Tree, leaves, map_leaves
from headrace.readers.array import take_rows
from headrace.readers.reader import Arrays, Spec, Specs, sample_nbytes
from headrace.readers.shared.block_cache import copy_rows

# Of a page, and of what arrays in memory are aligned to.
_ALIGNED_BYTES = 4096
# A row of what a checksum adds up, and from where on it is faster so.
_ROW_NBYTES = 4096
_SUMMED_FROM_BYTES = 2**14


class Layout:
    """One stretch of a file for each array of a sample, with a row for each sample.

    Args:
        spec: of a sample.
        n: number of samples.
        start: the byte from which on they lie.

    Attributes:
        end: the byte behind the last row.
    """

    def __init__(self, spec: Specs, n: int, start: int) -> None:
        self.spec, self.n = spec, n
        self.sample_nbytes = sample_nbytes(spec)
        self._starts = []
        self.end = start
        for leaf in leaves(spec):
            self._starts.append(aligned(self.end))
            self.end = self._starts[-1] + n * leaf.nbytes

    def arrays(self, memory: Array) -> Tree[Array]:
        """The rows of each array of a sample, in the memory of the whole file."""
        starts = iter(self._starts)

        def rows(leaf: Spec) -> Array:
            start, nbytes = next(starts), self.n * leaf.nbytes
            if not nbytes:
                return np.empty((self.n, *leaf.shape), leaf.dtype)
            return memory[start : start + nbytes].view(leaf.dtype).reshape(self.n, *leaf.shape)

        return map_leaves(rows, self.spec)

    def write(self, file: int, index: int, sample: list[Array]) -> None:
        """Writes a sample to its rows.

        Not through a map of the file: of that, a full disk would end the process.

        Args:
            sample: the bytes of each array, as `bytes_of` gives them.
        """
        for start, data in zip(self._starts, sample, strict=True):
            write(file, data.data, start + index * len(data))


def aligned(nbytes: int) -> int:
    """So many bytes, or up to a page more."""
    return -(-nbytes // _ALIGNED_BYTES) * _ALIGNED_BYTES


def bytes_of(batch: Arrays, row: int) -> list[Array]:
    """The bytes of each array of a sample."""
    # Not through a buffer of their own dtype, which times have none of.
    return [leaf[row : row + 1].reshape(-1).view(np.uint8) for leaf in leaves(batch)]


def checksum(index: int, sample: list[Array]) -> int:
    """A checksum of the bytes of sample `index`.

    CRC-32, of long arrays that of the sums of their columns and rows of 8-byte words: numpy adds
    up several times as fast as zlib goes through bytes. These are the checks of a product code
    (Elias, 1954): what changes none of them is wrong in four words at least, in two rows and two
    columns.
    """
    value = index & 0xFFFFFFFF
    for data in sample:
        summed = len(data) // _ROW_NBYTES * _ROW_NBYTES if len(data) >= _SUMMED_FROM_BYTES else 0
        if summed:
            words = data[:summed].view(np.uint64).reshape(-1, _ROW_NBYTES // 8)
            value = zlib.crc32(np.add.reduce(words, axis=0).data, value)
            value = zlib.crc32(np.add.reduce(words, axis=1).data, value)
        value = zlib.crc32(data[summed:].data, value)
    return value


def write(file: int, data: Any, position: int) -> None:
    """Writes all of the data."""
    view = memoryview(data)
    while len(view):
        written = os.pwrite(file, view, position)
        view, position = view[written:], position + written


def take(arrays: Arrays, indices: Indices, out: Arrays, rows: Indices | None) -> None:
    """Copies samples into these rows of `out`; without `rows`, `indices[i]` into row i of all."""

    def copy(array: Array, target: Array) -> None:
        if rows is None:
            take_rows(array, indices, target)
        elif array.nbytes:
            copy_rows(array, indices[rows], target, rows)

    map_leaves(copy, arrays, out)
