"""Pieces of files, each of which is a sample or a part of one: those of a batch, read together."""

from collections.abc import Iterator, Sequence

from headrace.arrays import Array, Indices
from headrace.readers.shared.sample_files import fetched
from headrace.storage.coalesce import coalesce
from headrace.storage.storage import Request, Storage

# Fewer bytes between two pieces are read along, as another request would take longer.
_MOST_BYTES_BETWEEN = 2**14
# What is read with one request takes at most so many bytes, unless a piece is larger.
_MOST_BYTES_TOGETHER = 2**23


def read_pieces(
    storage: Storage,
    names: Sequence[str],
    files: Array,
    starts: Array,
    stops: Array,
    indices: Indices,
) -> Iterator[tuple[int, memoryview]]:
    """Yields (position, bytes) of each piece, in any order; neighbours come with one request.

    Args:
        storage: where the files lie.
        names: of the files.
        files: which of them each piece is in; shape (pieces,), as the others.
        starts, stops: of the pieces, in bytes.
        indices: the sample that each is of, for errors.

    Raises:
        SampleNotFoundError, StorageError: a file does not exist, or can't be read.
    """
    joined = coalesce(
        files,
        starts,
        stops,
        most_between_bytes=_MOST_BYTES_BETWEEN,
        most_bytes=_MOST_BYTES_TOGETHER,
    )
    requests = [Request(names[one.file], one.start, one.stop) for one in joined]
    firsts = indices[[one.positions[0] for one in joined]]
    for number, data in fetched(storage, requests, firsts):
        begin = joined[number].start
        for position in joined[number].positions:
            yield position, data[int(starts[position]) - begin : int(stops[position]) - begin]
