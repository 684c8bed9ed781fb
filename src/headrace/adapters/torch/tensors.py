"""Arrays as tensors."""

import numpy as np
import torch


def as_tensor(leaf: object) -> object:
    """A tensor that shares the memory of `leaf`, if that is an array of numbers; else `leaf`."""
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "biufc":
        return leaf
    if not leaf.flags.writeable or any(stride < 0 for stride in leaf.strides):
        leaf = leaf.copy()  # of such memory torch makes no tensor, or warns
    return torch.from_numpy(leaf)
