"""Mapped: the samples of a source after a function without random numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.arrays import Array, Indices, fingerprint
from headrace.pytree import Tree, map_leaves
from headrace.readers.access import Access, Part, Stamps, parts_of
from headrace.readers.reader import Arrays, Reader, Spec, Specs, check_read
from headrace.readers.shared.sample_rows import as_array, put_sample
from headrace.readers.source import common_length, samples_hash
from headrace.readers.views.parts import (
    access_of_parts,
    ids_of_parts,
    read_parts,
    spec_of_parts,
    stamps_of_parts,
)

Function = Callable[[Any], Any]
_WHO = "map"


class Mapped:
    """`function(sample)` for each sample of a source; the first one tells their spec.

    Args:
        readers: of the source.
        function: takes and returns a sample, of any structure.
        version: names what it does.
    """

    def __init__(self, readers: Tree[Reader], function: Function, version: str) -> None:
        self._readers, self._function, self._version = readers, function, version
        self._n = common_length(readers)
        first = self._sample(self._source(np.zeros(1, np.int64)), 0, 0)
        self._spec: Specs = map_leaves(lambda leaf: Spec(leaf.shape, leaf.dtype), first)

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def ids(self) -> Sequence[str] | None:
        return ids_of_parts(self._readers)

    @property
    def access(self) -> Access:
        access = access_of_parts(self._readers)
        return Access(False, access.block, access.blocks_kept, access.block_cost)

    @property
    def parts(self) -> Sequence[Part]:
        return parts_of(self._readers) if not isinstance(self._readers, tuple | dict) else ()

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        name = getattr(self._function, "__qualname__", self._function)
        return f"{self._readers!r}, map={name}"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source, and of the version."""
        return fingerprint(samples_hash(self._readers), "\0", self._version)

    def described(self) -> Tree[Reader]:
        """What it is made of, but for the function, which its version names."""
        return self._readers

    def stamps(self, indices: Indices) -> Stamps:
        return stamps_of_parts(self._readers, indices)

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(self._n, self._spec, indices, out)
        source = self._source(indices)
        for row, index in enumerate(indices.tolist()):
            put_sample(self._sample(source, row, index), out, row, _WHO)

    def _source(self, indices: Indices) -> Arrays:
        """The samples of the source."""
        n = len(indices)
        batch: Arrays = map_leaves(
            lambda spec: np.empty((n, *spec.shape), spec.dtype), spec_of_parts(self._readers)
        )
        read_parts(self._readers, indices, batch)
        return batch

    def _sample(self, source: Arrays, row: int, index: int) -> Arrays:
        try:
            sample = self._function(map_leaves(lambda array: array[row], source))
            return map_leaves(_native, sample)
        except Exception as error:
            error.add_note(f"headrace: in map of sample {index}")
            raise


def _native(leaf: object) -> Array:
    array = as_array(leaf, _WHO)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
