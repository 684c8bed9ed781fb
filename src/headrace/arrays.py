"""Names for the kinds of arrays that are passed around, and their memory. Requires numpy."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DType = np.dtype[Any]
Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]

# What JAX, TensorFlow and vector instructions want; from other addresses they would copy.
ALIGNMENT_BYTES = 64


def aligned_empty(shape: tuple[int, ...], dtype: DType) -> Array:
    """`numpy.empty`, at an address that is a multiple of 64 bytes.

    The dtype must be without Python objects: the memory is not initialised.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(nbytes + ALIGNMENT_BYTES - 1, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT_BYTES
    return np.ndarray(shape, dtype, memory, start)
