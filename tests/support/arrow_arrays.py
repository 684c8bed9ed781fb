"""Samples as arrays of Arrow's. Requires pyarrow."""

import numpy as np
import pyarrow as pa


def fixed_lists(samples):
    """Fixed-size lists of the samples' shape."""
    return nested(samples, pa.FixedSizeListArray.from_arrays)


def lists(samples):
    """Lists of variable length, which all happen to be of the samples' shape."""

    def of(values, length):
        return pa.ListArray.from_arrays(np.arange(0, len(values) + 1, length), values)

    return nested(samples, of)


def nested(samples, list_of):
    array = pa.array(np.ascontiguousarray(samples).reshape(-1))
    for length in reversed(samples.shape[1:]):
        array = list_of(array, length)
    return array
