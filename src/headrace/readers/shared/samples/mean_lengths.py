"""How long samples of any length are, on average: known, or told from some of them."""

import contextlib

import numpy as np

from headrace.arrays import Indices
from headrace.errors import SampleError, StorageError
from headrace.pytree import Tree, leaves, map_leaves, nbytes
from headrace.ragged import Ragged
from headrace.readers.access import access_of, lengths_of
from headrace.readers.reader import Reader, is_ragged, read_batch, sample_nbytes

_SAMPLES = 32
# Of more samples, whose lengths are not in memory, those of some will do.
_MOST_LOOKED_AT = 100_000


def known_lengths(reader: Reader) -> Tree[Indices | None]:
    """As `lengths_of`, if that takes little time, and no sample is bad; else, none are known.

    Of samples in blocks, whole columns might be decoded for it.
    """
    access = access_of(reader)
    if access.in_memory or (access.block == 1 and len(reader) <= _MOST_LOOKED_AT):
        with contextlib.suppress(SampleError, StorageError):
            return lengths_of(reader)
    return map_leaves(lambda _: None, reader.spec)


def mean_sample_nbytes(reader: Reader, known: Tree[Indices | None] | None = None) -> int:
    """The bytes of a sample of the reader; of any length, on average, and 1 at least.

    Where lengths are not known, they are those of `sampled_nbytes`.

    Args:
        known: the lengths that are. Default: as `known_lengths` has them.
    """
    spec, n = reader.spec, len(reader)
    if not is_ragged(spec) or not n:
        return max(1, sample_nbytes(spec))
    parts = list(leaves(spec))
    found = leaves(known_lengths(reader) if known is None else known)
    lengths = [one for one in found if one is not None]
    if len(lengths) == sum(part.ragged for part in parts):
        means = iter([float(one.mean()) for one in lengths])
        return max(1, int(sum(part.nbytes * (next(means) if part.ragged else 1) for part in parts)))
    return sampled_nbytes(reader)


def sampled_nbytes(reader: Reader, most_bytes: int | None = None) -> int:
    """As `mean_sample_nbytes`, but told from some samples, which are read, the same ones each time.

    Bad ones among them do not count.

    Args:
        most_bytes: after so many, no more samples are read. Default: after 32 of them.
    """
    spec, n = reader.spec, len(reader)
    if not is_ragged(spec) or not n:
        return max(1, sample_nbytes(spec))
    sizes: list[int] = []
    for index in np.unique(np.linspace(0, n - 1, _SAMPLES).astype(np.int64)):
        if most_bytes is not None and sum(sizes) >= most_bytes:
            break
        try:
            batch = read_batch(reader, np.array([index]))
        except Exception:
            continue
        sizes.append(
            nbytes(map_leaves(lambda one: one.values if isinstance(one, Ragged) else one, batch))
        )
    return max(1, int(np.mean(sizes))) if sizes else max(1, sample_nbytes(spec))
