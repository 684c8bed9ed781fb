"""Documents for a tiny language model: packed into rows, and each by itself."""

import numpy as np

import headrace as hr

LENGTHS = np.array([5, 2, 9, 1, 16, 3, 7, 7, 4, 12])
LENGTH, N_TOKENS = 16, 11


def documents():
    tokens = np.random.default_rng(0).integers(1, N_TOKENS, LENGTHS.sum(), np.int32)
    return hr.RaggedArray(tokens, np.concatenate([[0], np.cumsum(LENGTHS)]))


def packed_rows(batch_size=None, **options):
    """Rows of several documents, all in one batch by default."""
    packed = hr.Packed(documents(), LENGTH)
    assert len(packed) < len(LENGTHS)
    return hr.Loader(packed, batch_size or len(packed), shuffle=False, **options)


def single_rows(batch_size=None, **options):
    """A row for each document, all in one batch by default."""
    packed = hr.Packed(documents(), LENGTH, max_segments=1)
    assert len(packed) == len(LENGTHS)
    return hr.Loader(packed, batch_size or len(packed), shuffle=False, **options)


def next_tokens(batch):
    """The next token of each position, and 1 where it is of the same document, else 0."""
    values, ids = batch["values"], batch["segment_ids"]
    targets = np.roll(values, -1, axis=1)
    same = (np.roll(ids, -1, axis=1) == ids) & (ids > 0)
    same[:, -1] = False
    return targets, same.astype(np.float32)
