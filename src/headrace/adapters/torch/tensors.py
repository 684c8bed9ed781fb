"""Arrays as tensors."""

import functools

import numpy as np
import torch

from headrace.arrays import DType

# Of ml_dtypes, those that lie in memory as PyTorch's do. What has fewer than 8 bits does not.
_OF_ML_DTYPES = (
    *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    *("float8_e8m0fnu", "complex32"),
)


def as_tensor(leaf: object) -> object:
    """A tensor that shares the memory of `leaf`, if this version of PyTorch has its type.

    All else stays what it is, such as arrays of strings. Of the types of ml_dtypes, PyTorch has
    bfloat16 and most of those of 8 bits.
    """
    if not isinstance(leaf, np.ndarray):
        return leaf
    dtype, integers = _torch_dtype(leaf.dtype)
    if dtype is None:
        return leaf
    if not leaf.flags.writeable or any(stride < 0 for stride in leaf.strides):
        leaf = leaf.copy()  # of such memory torch makes no tensor, or warns
    if integers:
        return torch.from_numpy(leaf.view(integers)).view(dtype)
    return torch.from_numpy(leaf)


@functools.cache
def _torch_dtype(dtype: DType) -> tuple[torch.dtype | None, str]:
    """The type of PyTorch's of the same name and bits, if there is one.

    And integers of as many bits, if only by way of these arrays of the type become tensors.
    """
    of_ml_dtypes = dtype.name in _OF_ML_DTYPES
    if dtype.kind not in "biufc" and not of_ml_dtypes:
        return None, ""
    found: torch.dtype | None = getattr(torch, dtype.name, None)
    return found, f"i{dtype.itemsize}" if of_ml_dtypes else ""
