"""The contract of a reader, and the check of what is asked of one."""

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from headrace.arrays import Array, DType, Indices
from headrace.errors import ArgumentError, HeadraceError, OutOfRangeError, bad_type, bad_value


class Spec(NamedTuple):
    """Shape and dtype of one sample. The dtype has the machine's byte order."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.shape) * self.dtype.itemsize


@runtime_checkable
class Reader(Protocol):
    """Random access to equally shaped samples, a batch at a time.

    A reader

    - fills the given array and allocates none for the caller;
    - may be called from any number of threads at once;
    - pickles as a description, such as paths, and opens its handles on first use in each process;
    - holds no Python object for each sample;
    - raises, for a sample it can't read, an error that names the file and the index.

    It may have a method `fingerprint() -> str` that names its samples without reading them, such as
    a hash of their ids; a loader's state then refuses to be loaded over other samples. And it may
    have an attribute `in_memory`, which is true if reading a sample is no more than copying it; a
    loader then reads several small batches with one call.

    `headrace.testing.ReaderContract` tests all of this.
    """

    @property
    def spec(self) -> Spec:
        """Shape and dtype of one sample, known before any is read."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, indices: Indices, out: Array) -> None:
        """Writes sample `indices[i]` into `out[i]`, for every i.

        Args:
            indices: int64, shape (batch,), each in range(len(self)), repeats allowed.
            out: C-contiguous, shape (batch, *spec.shape), dtype spec.dtype.
        """
        ...


def check_read(n: int, spec: Spec, indices: Indices, out: Array) -> None:
    """Raises an error unless a reader of n samples of `spec` can read `indices` into `out`."""
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64 or indices.ndim != 1:
        raise bad_value("indices", indices, "an int64 array of one dimension")
    shape = (len(indices), *spec.shape)
    if not (
        isinstance(out, np.ndarray)
        and out.shape == shape
        and out.dtype == spec.dtype
        and out.flags.carray
    ):
        raise _misfit(out, f"a C-contiguous array of shape {shape} and dtype {spec.dtype}")
    # As unsigned numbers, negative ones are the largest: one pass finds both. numpy finds where the
    # largest is in less time than what it is.
    unsigned = indices.view(np.uint64)
    if len(indices) and unsigned.item(unsigned.argmax()) >= n:
        wrong = indices[(indices < 0) | (indices >= n)][0]
        raise OutOfRangeError(f"indices must lie in range({n}), but {wrong} was given.")


def _misfit(out: Any, allowed: str) -> HeadraceError:
    if not isinstance(out, np.ndarray):
        return bad_type("out", out, allowed)
    faults = {
        "not C-contiguous": not out.flags.c_contiguous,
        "not aligned": not out.flags.aligned,
        "read-only": not out.flags.writeable,
    }
    layout = "".join(f", {fault}" for fault, found in faults.items() if found)
    return ArgumentError(
        f"out must be {allowed}, but an array of shape {out.shape} and dtype {out.dtype}{layout} "
        "was given."
    )
