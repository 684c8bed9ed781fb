"""Subset: some samples of a source, in an order of one's own."""

import functools

import numpy as np

from headrace.arrays import Indices, fingerprint
from headrace.pytree import Tree, leaves, map_leaves
from headrace.readers.access import Access, Part, parts_of
from headrace.readers.reader import Arrays, Reader, Specs, check_read
from headrace.readers.source import common_length, data_hash, readers_of
from headrace.readers.views.chosen import Choice, Chosen
from headrace.readers.views.parts import (
    access_of_parts,
    ids_of_parts,
    numbered_as,
    read_parts,
    spec_of_parts,
)


class Subset:
    """The samples `indices` of a source: sample i is sample `indices[i]` of the source.

    It is a reader, whose samples have the structure of the source. It keeps 8 bytes for each index,
    and nothing for a slice or a range. Errors name the file and the index of the sample in the
    source.

    Where samples are stored in blocks, such as chunks, give sorted indices: a loader with
    `BlockShuffle` can then read those of a block together.

    Args:
        source: what a `Loader` takes: a reader, an array, or a tuple or dict of them.
        indices: ints in range(n), n the samples of the source, in any order, repeats allowed; or a
            range; or a slice. Of a mask, `numpy.flatnonzero(mask)`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> x, y = np.arange(10.0) / 10, np.arange(10)
        >>> subset = hr.Subset((x, y), [7, 2, 5])
        >>> hr.Loader(subset, batch_size=3, shuffle=False).batch(0, 0)
        (array([0.7, 0.2, 0.5]), array([7, 2, 5]))
        >>> len(hr.Subset(x, slice(None, None, 2)))
        5
    """

    def __init__(self, source: object, indices: Choice) -> None:
        self._readers = readers_of(source)
        self._chosen = Chosen(indices, common_length(self._readers))
        self._spec = spec_of_parts(self._readers)

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def ids(self) -> list[str] | None:
        """The names of the samples, in order, in a new list; None if they have none."""
        ids = ids_of_parts(self._readers)
        return None if ids is None else [ids[index] for index in self._chosen.all().tolist()]

    @functools.cached_property
    def access(self) -> Access:
        """How the samples are accessed."""
        return self._chosen.access(access_of_parts(self._readers))

    @functools.cached_property
    def parts(self) -> list[Part]:
        """The sources of a `Concat`, as far as they are chosen; none if they alternate."""
        parts = next((parts for parts in map(parts_of, leaves(self._readers)) if parts), ())
        if not parts:
            return []
        ends = np.cumsum([part.length for part in parts])
        source_of = np.searchsorted(ends, self._chosen.all(), "right")
        if (source_of[1:] < source_of[:-1]).any():
            return []
        counts = np.bincount(source_of, minlength=len(parts)).tolist()
        block = self.access.block
        return [Part(n, block, part.name) for n, part in zip(counts, parts, strict=True)]

    @property
    def part_readers(self) -> Tree[Reader]:
        """A subset of each part of the source."""
        if not isinstance(self._readers, tuple | dict):
            return self
        return map_leaves(lambda reader: _subset(reader, self._chosen), self._readers)

    def __len__(self) -> int:
        return len(self._chosen)

    def __repr__(self) -> str:
        return f"Subset({self._readers!r}, n={len(self)})"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source, and of the indices."""
        return fingerprint(data_hash(self._readers), self._chosen.fingerprint())

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(len(self), self.spec, indices, out)
        of_source = self._chosen.at(indices)
        with numbered_as("subset", indices, of_source):
            read_parts(self._readers, of_source, out)


def _subset(reader: Reader, chosen: Chosen) -> Subset:
    """A subset by indices that are checked already, and shared with other subsets."""
    subset = Subset.__new__(Subset)
    subset._readers, subset._chosen, subset._spec = reader, chosen, reader.spec
    return subset
