"""Reading: what lies in rows, from their sources, each value once if it can be."""

from typing import Any

import numpy as np

from headrace.arrays import Indices
from headrace.errors import SampleFormatError
from headrace.pytree import Tree, leaves, map_leaves
from headrace.ragged import Empty, Ragged
from headrace.readers.access import ReadPieces, read_pieces_of
from headrace.readers.reader import Batched, Reader, empty_out, read_batch, result_of
from headrace.readers.views.packed.plan import Pieces


def read_pieces(
    readers: Tree[Reader], pieces: Pieces, empty: Empty
) -> tuple[Tree[Batched], Indices]:
    """What holds the pieces, in the structure of the samples, and where in it each begins.

    Args:
        empty: where memory comes from.

    Raises:
        SampleFormatError: a sample has another length than it was planned with.
    """
    by_piece: list[ReadPieces | None] = []
    if (pieces.sizes < pieces.lengths).any():
        by_piece = [read_pieces_of(reader) for reader in leaves(readers)]
    if by_piece and all(read is not None for read in by_piece):
        in_turn = iter(by_piece)
        batches = map_leaves(lambda reader: _alone(reader, next(in_turn), pieces, empty), readers)
        return batches, _begins(batches, pieces.samples, pieces.sizes)
    samples, lengths, which = pieces.samples, pieces.lengths, np.arange(len(pieces.samples))
    if by_piece:  # of a sample that is cut, there may be several pieces
        once, first, of_once = np.unique(samples, return_index=True, return_inverse=True)
        if len(once) < len(samples):
            samples, lengths, which = once, lengths[first], of_once.reshape(-1)
    batches = map_leaves(lambda reader: read_batch(reader, samples, empty), readers)
    return batches, _begins(batches, samples, lengths)[which] + pieces.begins


def _alone(reader: Reader, read: Any, pieces: Pieces, empty: Empty) -> Tree[Batched]:
    """The pieces without what they are cut off."""
    out = empty_out(reader.spec, len(pieces.samples), empty)
    read(pieces.samples, pieces.begins, pieces.sizes, out)
    batch: Tree[Batched] = result_of(out)
    return batch


def _begins(batches: Tree[Batched], samples: Indices, lengths: Indices) -> Indices:
    """Where each of the samples begins in what was read of them; the same in all parts."""
    begins: Indices | None = None
    for batch in leaves(batches):
        assert isinstance(batch, Ragged)
        wrong = np.flatnonzero(batch.lengths != lengths)
        if len(wrong):
            at = int(wrong[0])
            raise SampleFormatError.at(
                int(samples[at]),
                f"sample {samples[at]} can't be packed: it has {batch.lengths[at]} values, and had "
                f"{lengths[at]} when its row was planned. Were the data changed since? Make a new "
                "Packed of them",
            )
        begins = batch.offsets[:-1]
    assert begins is not None
    return begins
