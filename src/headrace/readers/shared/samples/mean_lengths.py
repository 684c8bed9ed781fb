"""How long samples of any length are, on average: known, or told from some of them."""

import numpy as np

from headrace.arrays import Indices
from headrace.pytree import leaves, map_leaves, nbytes
from headrace.ragged import Ragged
from headrace.readers.access import lengths_of
from headrace.readers.reader import Reader, is_ragged, read_batch, sample_nbytes

_SAMPLES = 32


def known_lengths(reader: Reader) -> list[Indices] | None:
    """The lengths of all samples, for each part that may have any; None if they are not known."""
    found = [lengths for lengths in leaves(lengths_of(reader)) if lengths is not None]
    ragged = sum(spec.ragged for spec in leaves(reader.spec))
    return found if len(found) == ragged else None


def mean_sample_nbytes(reader: Reader) -> int:
    """The bytes of a sample of the reader; of any length, on average, and 1 at least.

    Where lengths are not known, some samples are read, the same ones each time; bad ones among them
    do not count.
    """
    spec, n = reader.spec, len(reader)
    if not is_ragged(spec) or not n:
        return max(1, sample_nbytes(spec))
    known = known_lengths(reader)
    if known is not None:
        means = iter([float(lengths.mean()) for lengths in known])
        parts = leaves(spec)
        return max(1, int(sum(part.nbytes * (next(means) if part.ragged else 1) for part in parts)))
    sizes = []
    for index in np.unique(np.linspace(0, n - 1, _SAMPLES).astype(np.int64)):
        try:
            batch = read_batch(reader, np.array([index]))
        except Exception:
            continue
        sizes.append(
            nbytes(map_leaves(lambda one: one.values if isinstance(one, Ragged) else one, batch))
        )
    return max(1, int(np.mean(sizes))) if sizes else max(1, sample_nbytes(spec))
