"""The parts of a source that a view is of: what is asked of all of them at once."""

from collections.abc import Sequence

from headrace.arrays import Indices
from headrace.pytree import Tree, leaves, map_leaves
from headrace.readers.access import Access, Stamps, access_of, ids_at, ids_of, stamps_of
from headrace.readers.reader import Arrays, Reader, Specs
from headrace.readers.shared.format_error import index_in, renumber
from headrace.storage.stamps import joined


def spec_of_parts(readers: Tree[Reader]) -> Specs:
    """The specs of the readers, in their structure."""
    return map_leaves(lambda reader: reader.spec, readers)


def read_parts(readers: Tree[Reader], indices: Indices, out: Arrays) -> None:
    """Has each reader read into its part of `out`."""
    map_leaves(lambda reader, part: reader.read(indices, part), readers, out)


def ids_of_parts(readers: Tree[Reader]) -> Sequence[str] | None:
    """The names of the samples, as the first part that has some says."""
    return next((ids for ids in map(ids_of, leaves(readers)) if ids is not None), None)


def ids_at_of_parts(readers: Tree[Reader], indices: Indices) -> list[str] | None:
    """The names of these samples, as the first part that has some says."""
    found = (ids_at(reader, indices) for reader in leaves(readers))
    return next((ids for ids in found if ids is not None), None)


def stamps_of_parts(readers: Tree[Reader], indices: Indices) -> Stamps:
    """What changes with the files of samples, in any of the parts."""
    return joined(stamps_of(reader, indices) for reader in leaves(readers))


def access_of_parts(readers: Tree[Reader]) -> Access:
    """That of the part with the largest blocks; in memory if all are."""
    accesses = [access_of(reader) for reader in leaves(readers)]
    largest = max(accesses, key=lambda access: access.block)
    if all(access.in_memory for access in accesses) == largest.in_memory:
        return largest
    return Access(False, *_blocks_of(largest))


def _blocks_of(access: Access) -> tuple[int, int, float, bool]:
    return access.block, access.blocks_kept, access.block_cost, access.blocks_aligned


def renumber_in(error: Exception, sample: str, indices: Indices, *of_source: Indices) -> None:
    """Has an error about a sample of the source be about one of the view, and name both.

    Args:
        error: raised by reading the source.
        sample: what a sample of the view is called in messages, with {} for its index.
        indices: of samples of the view.
        of_source: those of the source that each of `indices` takes: one for each, or a row of them.
    """
    named = index_in(error)
    if named is None:
        return
    for taken in of_source:
        takes_it = (taken == named).reshape(len(indices), -1).any(axis=1)
        if takes_it.any():
            index = int(indices[takes_it.argmax()])
            renumber(error, index, sample.format(index))
            return
