"""The lengths of samples, of which rows are planned."""

from typing import cast

import numpy as np

from headrace.arrays import Indices, aligned_empty
from headrace.errors import ArgumentError
from headrace.pytree import Tree, leaves, map_leaves, named_leaves
from headrace.ragged import Ragged
from headrace.readers.access import lengths_of
from headrace.readers.reader import Reader, read_batch

# Of a reader that does not know lengths, so many samples are read at once to find them.
_READ_AT_ONCE = 256


def common_lengths(readers: Tree[Reader]) -> Indices:
    """How many values each sample has: int64, shape (n,).

    Of a reader that does not know the lengths, all samples are read once.

    Args:
        readers: of samples of any length.

    Raises:
        ArgumentError: (a ValueError) the parts of a sample are not equally long.
    """
    found = [
        (name, lengths)
        for name, reader in named_leaves(readers, "reader")
        for name, lengths in named_leaves(_lengths(reader), name)
    ]
    first_name, first = found[0]
    for name, lengths in found[1:]:
        differs = np.flatnonzero(lengths != first)
        if len(differs):
            at = differs[0]
            raise ArgumentError(
                f"all parts of a sample must be equally long to be packed, but sample {at} has "
                f"{first[at]} values in {first_name} and {lengths[at]} in {name}. Pack them by "
                "themselves, or cut them to the same length."
            )
    return first


def _lengths(reader: Reader) -> Tree[Indices]:
    known = lengths_of(reader)
    if all(lengths is not None for lengths in leaves(known)):
        return cast("Tree[Indices]", known)
    n = len(reader)
    found: Tree[Indices] = map_leaves(lambda _: np.empty(n, np.int64), reader.spec)
    for start in range(0, n, _READ_AT_ONCE):
        stop = min(n, start + _READ_AT_ONCE)
        batches = read_batch(reader, np.arange(start, stop), aligned_empty)

        def put(lengths: Indices, batch: Ragged, start: int = start, stop: int = stop) -> None:
            lengths[start:stop] = batch.lengths

        map_leaves(put, found, batches)
    return found
