"""Names for the kinds of arrays that are passed around, their memory, and hashes of such.

Requires numpy.
"""

import ctypes
import hashlib
import math
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DType = np.dtype[Any]
Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]

# What JAX, TensorFlow and vector instructions want; from other addresses they would copy.
ALIGNMENT_BYTES = 64


# Smaller arrays come from memory that the allocator has at hand anyway.
_LEAST_POOLED_BYTES = 2**16
# Of each size, arrays of so many bytes are kept, but two of any.
KEPT_BYTES, _LEAST_KEPT = 2**28, 2


def aligned_empty(shape: tuple[int, ...], dtype: DType) -> Array:
    """`numpy.empty`, at an address that is a multiple of 64 bytes.

    The dtype must be without Python objects: the memory is not initialised.
    """
    return _aligned(np.empty(_padded_nbytes(shape, dtype), np.uint8), shape, dtype)


def most_kept(nbytes: int, kept_bytes: int = KEPT_BYTES) -> int:
    """How many pieces of memory of a size are kept to be used again."""
    return max(_LEAST_KEPT, kept_bytes // nbytes)


def address(array: Array) -> int:
    """Where the memory of the array begins."""
    start: int = array.__array_interface__["data"][0]
    return start


def fingerprint(*parts: str | bytes | memoryview) -> str:
    """A short hash of the parts, one after the other, for states; of text, its UTF-8."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


class MemoryPool:
    """Makes arrays out of the memory of others that were dropped.

    Memory new to a process has to be cleared by the system first, which takes about as long as
    reading a file into it. An array gives its memory back when nothing refers to it any more: its
    views, and the tensors of frameworks that share its memory, hold references, so memory is never
    used again while anything can see it.

    Threads may use it at once.

    Args:
        kept_bytes: of each size so much is kept at most, or two arrays.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._kept: dict[int, deque[npt.NDArray[np.uint8]]] = {}

    def empty(self, shape: tuple[int, ...], dtype: DType) -> Array:
        """`aligned_empty`, in memory that was used before if there is some."""
        nbytes = _padded_nbytes(shape, dtype)
        if nbytes < _LEAST_POOLED_BYTES:
            return _aligned(np.empty(nbytes, np.uint8), shape, dtype)
        kept = self._kept.get(nbytes)
        if kept is None:
            kept = self._kept.setdefault(nbytes, deque(maxlen=most_kept(nbytes, self._kept_bytes)))
        try:
            memory = kept.pop()
        except IndexError:
            memory = np.empty(nbytes, np.uint8)
        # numpy takes it for the owner of the memory, and drops it with the last array in it.
        return _aligned(np.asarray(Lease(memory, kept, memory)), shape, dtype)

    def clear(self) -> None:
        """Frees the memory that is kept, but not that of arrays in use."""
        for kept in list(self._kept.values()):  # which other threads may add to
            kept.clear()

    def __reduce__(self) -> tuple[object, ...]:
        return MemoryPool, (self._kept_bytes,)


class Lease:
    """Memory lent out: `np.asarray(lease)`, from which views may be made.

    When nothing refers to that array and its views any more, `token` is appended to `returned`.
    """

    __slots__ = ("__array_interface__", "_memory", "_returned", "_token")

    def __init__(
        self, memory: npt.NDArray[np.uint8], returned: "deque[Any]", token: object
    ) -> None:
        self._memory = memory
        self._returned = returned
        self._token = token
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._returned.append(self._token)


def _padded_nbytes(shape: tuple[int, ...], dtype: DType) -> int:
    return math.prod(shape) * dtype.itemsize + ALIGNMENT_BYTES - 1


def _aligned(memory: npt.NDArray[np.uint8], shape: tuple[int, ...], dtype: DType) -> Array:
    # `address` would take three times as long, which is much of what a small batch takes.
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory.data))
    return np.ndarray(shape, dtype, memory, -first % ALIGNMENT_BYTES)
