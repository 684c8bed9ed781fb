"""Names for the kinds of arrays that are passed around, their memory, hashes of such; other dtypes.

Requires numpy. Promises that no value becomes another when it is written as another dtype, if it is
asked before whether that has it: `held`. What can only lose precision, as float64 to float32 or
int64 to float32, is not looked at, nor is what a dtype has in any case.
"""

import ctypes
import functools
import hashlib
import math
from collections import deque
from collections.abc import Sequence
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
_MOST_SHOWN = 80


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


class UnheldError(Exception):
    """A value does not fit into a dtype; the message says which, as "has ...", and what helps.

    Attributes:
        row: of a batch, where the value is.
        reason: the message without what helps.
    """

    def __init__(self, row: int, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}. {remedy}")
        self.row, self.reason, self.remedy = row, reason, remedy

    def at(self, row: int) -> "UnheldError":
        """The same in another row."""
        return UnheldError(row, self.reason, self.remedy)


def held(values: Array, dtype: DType, rows: Indices | Sequence[int] | None = None) -> Array:
    """`values` themselves, if all of them fit into `dtype`, as which they are to be written.

    Args:
        rows: of a batch, which the first axis runs over, for the error. Default: all in turn.

    Raises:
        UnheldError: one does not fit.
    """
    if values.dtype == dtype or not may_change(values.dtype, dtype) or _in_range(values, dtype):
        return values
    with np.errstate(over="ignore"):
        lost = unheld(values, values.astype(dtype))
    if lost.any():
        first = int(lost.argmax())
        value = values.reshape(-1)[first]
        row = first // (values.size // len(values)) if values.ndim else 0
        raise UnheldError(
            row if rows is None else int(rows[row]),
            f"has {_shown(value)}, which {dtype} can't hold{_range(dtype)}",
            f"Use a dtype that can, such as {values.dtype.newbyteorder('=')}",
        )
    return values


def unheld(values: Array, converted: Array) -> npt.NDArray[np.bool_]:
    """Of each of the values, whether it has become another, and not only less precise."""
    source, dtype = values.dtype, converted.dtype
    if dtype.names is not None and source.names is not None:
        lost = np.zeros(values.shape, np.bool_)
        for ours, theirs in zip(source.names, dtype.names, strict=True):
            of_field = unheld(values[ours], converted[theirs])
            lost |= of_field.reshape(*values.shape, -1).any(axis=-1)
        return lost
    if dtype.kind in "fc":
        return np.asarray(~np.isfinite(converted) & np.isfinite(values))
    if dtype.kind in "mMV":
        # Back again, as a finer unit has less years, and shorter bytes are cut.
        return np.asarray((converted.astype(source) != values) & (values == values))
    return np.asarray(converted != values)


@functools.lru_cache(256)
def may_change(source: DType, dtype: DType) -> bool:
    """Whether a value may become another, and not only less precise."""
    if dtype.names is not None and source.names is not None:
        pairs = zip(source.names, dtype.names, strict=True)
        return any(may_change(source[a].base, dtype[b].base) for a, b in pairs)
    if dtype.kind in "mM":
        finer = np.can_cast(source, dtype, "safe")
        return finer and source.newbyteorder("=") != dtype.newbyteorder("=")
    if np.can_cast(source, dtype, "safe"):
        return False
    if source.kind in "iu" and dtype.kind in "fc":
        return _limits(source)[1] > _limits(dtype)[1]
    return True


def _in_range(values: Array, dtype: DType) -> bool:
    """Whether all values lie between the least and the largest that `dtype` has, as is quick."""
    if not values.size:
        return True
    if values.dtype.kind not in "iuf" or dtype.kind not in "iufc":
        return False
    least, most = _limits(dtype)
    if values.dtype.kind == "f":  # of which NaNs fit into all others
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    else:
        low, high = values.min(), values.max()
    # As Python's, which compare integers exactly, signed or not.
    return bool(least <= low.item() and high.item() <= most)


@functools.lru_cache(256)
def _limits(dtype: DType) -> tuple[float, float]:
    """The least and the largest number; ints, of integers."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    return float(np.finfo(dtype).min), float(np.finfo(dtype).max)


def _range(dtype: DType) -> str:
    if dtype.kind not in "iufc":
        return ""
    least, most = _limits(dtype)
    return f" ({least} to {most})" if dtype.kind in "iu" else f" ({least:.3g} to {most:.3g})"


def _shown(value: np.generic) -> str:
    text = str(value) if isinstance(value, np.number | np.datetime64) else repr(value.tolist())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
