"""Subset: some samples of a source, in an order of one's own."""

import functools
import warnings
from typing import Any

import numpy as np

from headrace.arrays import Indices, fingerprint
from headrace.pytree import Tree, leaves, map_leaves
from headrace.readers.access import (
    Access,
    Part,
    ReadAmplificationWarning,
    ReadPieces,
    Stamps,
    lengths_of,
    parts_of,
    read_pieces_of,
)
from headrace.readers.reader import Arrays, Reader, Specs, check_read
from headrace.readers.source import common_length, readers_of, samples_hash
from headrace.readers.views.chosen import Choice, Chosen
from headrace.readers.views.parts import (
    access_of_parts,
    ids_at_of_parts,
    ids_of_parts,
    read_parts,
    renumber_in,
    spec_of_parts,
    stamps_of_parts,
)
from headrace.readers.views.starts import Starts
from headrace.readers.views.view import View

# With less, sorted indices would gain hardly anything.
_LEAST_WARNED_OF = 1.5


class Subset(View):
    """The samples `indices` of a source: sample i is sample `indices[i]` of the source.

    It is a reader, whose samples have the structure of the source. It keeps 8 bytes for each index,
    and nothing for a slice or a range. Errors name the file and the index of the sample in the
    source.

    Where samples are stored in blocks, such as chunks, give sorted indices: a loader with
    `BlockShuffle` can then read those of a block together. It warns if it could not
    (`ReadAmplificationWarning`).

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

    _named = True

    def __init__(self, source: object, indices: Choice) -> None:
        self._readers = readers_of(source)
        n = common_length(self._readers)
        self._chosen: Chosen | Starts = Chosen(indices, n)
        self._spec = spec_of_parts(self._readers)
        access = access_of_parts(self._readers)
        times = self._chosen.times_met(access.block)
        if times > _LEAST_WARNED_OF and access.blocks_kept * access.block < n:
            warnings.warn(
                f"the samples of source lie in blocks of {access.block}, each of which is read as "
                f"a whole, and indices come back to each about {times:.3g} times. Sort them, as "
                "with numpy.sort(indices), so that a loader can have a block read once.",
                ReadAmplificationWarning,
                stacklevel=2,
            )

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def ids(self) -> list[str] | None:
        """The names of the samples, in order, in a new list; None if they have none."""
        ids = ids_of_parts(self._readers) if self._named else None
        return None if ids is None else [ids[index] for index in self._chosen.all().tolist()]

    def ids_at(self, indices: Indices) -> list[str] | None:
        """The names of these samples; None if they have none."""
        return ids_at_of_parts(self._readers, self._chosen.at(indices)) if self._named else None

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

    def sample_lengths(self) -> Tree[Indices | None]:
        """How long each sample is, where the source knows it; as `lengths_of` says."""
        chosen = self._chosen.all()
        return map_leaves(
            lambda lengths: None if lengths is None else lengths[chosen],
            map_leaves(lengths_of, self._readers),
        )

    @property
    def read_pieces(self) -> ReadPieces | None:
        """Reads pieces of samples of any length, if the source does; as `read_pieces_of` says."""
        if isinstance(self._readers, tuple | dict):
            return None
        of_source = read_pieces_of(self._readers)
        return None if of_source is None else functools.partial(self._read_pieces, of_source)

    def _read_pieces(self, of_source: ReadPieces, indices: Indices, *pieces: Any) -> None:
        chosen = self._chosen.at(indices)
        try:
            of_source(chosen, *pieces)
        except Exception as error:
            renumber_in(error, "sample {} of the subset", indices, chosen)
            raise

    @property
    def part_readers(self) -> Tree[Reader]:
        """A subset of each part of the source."""
        if not isinstance(self._readers, tuple | dict):
            return self
        return map_leaves(lambda reader: chosen_of(reader, self._chosen), self._readers)

    def __len__(self) -> int:
        return len(self._chosen)

    def __repr__(self) -> str:
        return f"Subset({self._readers!r}, n={len(self)})"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source, and of the indices."""
        return fingerprint(samples_hash(self._readers), self._chosen.fingerprint())

    def stamps(self, indices: Indices) -> Stamps:
        """What changes with the files of samples."""
        return stamps_of_parts(self._readers, self._chosen.at(indices))

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(len(self), self.spec, indices, out)
        of_source = self._chosen.at(indices)
        try:
            read_parts(self._readers, of_source, out)
        except Exception as error:
            renumber_in(error, "sample {} of the subset", indices, of_source)
            raise


def chosen_of(reader: Reader, chosen: Chosen | Starts, named: bool = True) -> Subset:
    """The samples of a reader that were chosen by checked indices, which several may share.

    Args:
        named: whether they have the names that they have in the reader.
    """
    subset = Subset.__new__(Subset)
    subset._readers, subset._chosen, subset._spec = reader, chosen, reader.spec
    subset._named = named
    return subset
