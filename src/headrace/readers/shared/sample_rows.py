"""Samples that a user's function returns, put into the rows of a batch."""

import numpy as np

from headrace.arrays import Array
from headrace.errors import ArgumentError
from headrace.pytree import leaves, named_leaves
from headrace.readers.reader import Arrays


def as_array(leaf: object, who: str) -> Array:
    """An array or number of a sample as an array; `who` has returned it, such as "the transform".

    Raises:
        ArgumentError: it is neither.
    """
    array = np.asarray(leaf)
    if array.dtype.hasobject:
        raise ArgumentError(
            f"{who} must return arrays or numbers, but returned a {type(leaf).__name__}."
        )
    return array


def put_sample(sample: Arrays, out: Arrays, row: int, who: str) -> None:
    """Copies the leaves of `sample` to `row` of the leaves of `out`.

    Raises:
        ArgumentError: they do not fit.
    """
    names = [name for name, _ in named_leaves(sample)]
    expected = [name for name, _ in named_leaves(out)]
    if names != expected:
        raise ArgumentError(
            f"{who} must return the same structure for all samples, but returned leaves "
            f"at {names} after those at {expected}."
        )
    for name, leaf, rows in zip(names, leaves(sample), leaves(out), strict=True):
        if leaf.shape != rows.shape[1:] or leaf.dtype != rows.dtype:
            raise ArgumentError(
                f"{who} must return the same shape and dtype for all samples, but returned "
                f"{leaf.shape} {leaf.dtype}{' at ' + name if name else ''} after "
                f"{rows.shape[1:]} {rows.dtype}."
            )
        rows[row] = leaf
