"""Numbers in as few bytes as they need."""

import numpy as np

from headrace.arrays import Array


def compact(numbers: Array) -> Array:
    """The numbers, none of them below 0, in an array of as few bytes as they need."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))
