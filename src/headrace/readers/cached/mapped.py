"""Mapped: the samples of a source after a function without random numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.arrays import Indices, fingerprint
from headrace.errors import ArgumentError, stopped_early
from headrace.pytree import Tree, map_leaves
from headrace.readers.access import Access, Part, Stamps, fingerprint_of, parts_of
from headrace.readers.reader import (
    Arrays,
    Batched,
    Reader,
    Specs,
    check_read,
    empty_out,
    result_of,
)
from headrace.readers.shared.samples.sample_values import UnfitError, learned, write_sample
from headrace.readers.source import common_length, samples_hash
from headrace.readers.views.parts import (
    access_of_parts,
    ids_of_parts,
    read_parts,
    spec_of_parts,
    stamps_of_parts,
)

Function = Callable[[Any], Any]


class Mapped:
    """`function(sample)` for each sample of a source; the first one tells their spec.

    Args:
        readers: of the source.
        function: takes and returns a sample, of any structure.
        version: names what it does.
    """

    def __init__(self, readers: Tree[Reader], function: Function, version: str) -> None:
        self.readers, self._function, self._version = readers, function, version
        self._n = common_length(readers)
        first = self._sample(self._source(np.zeros(1, np.int64)), 0, 0)
        try:
            self._spec = learned(first, "what it returned of sample 0")
        except UnfitError as error:
            raise _unfit(error) from None

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def ids(self) -> Sequence[str] | None:
        return ids_of_parts(self.readers)

    @property
    def access(self) -> Access:
        access = access_of_parts(self.readers)
        return Access(False, access.block, access.blocks_kept, access.block_cost)

    @property
    def parts(self) -> Sequence[Part]:
        return parts_of(self.readers) if not isinstance(self.readers, tuple | dict) else ()

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        name = getattr(self._function, "__qualname__", self._function)
        return f"{self.readers!r}, map={name}"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source, and of the version.

        With what the function says of itself, as the crops of headrace do.
        """
        version, said = self.function_name
        more = ("\0", said) if said else ()
        return fingerprint(samples_hash(self.readers), "\0", version, *more)

    @property
    def function_name(self) -> tuple[str, str]:
        """The version, and what the function says of itself."""
        return self._version, fingerprint_of(self._function)

    def stamps(self, indices: Indices) -> Stamps:
        return stamps_of_parts(self.readers, indices)

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(self._n, self._spec, indices, out)
        source = self._source(indices)
        for row, index in enumerate(indices.tolist()):
            sample = self._sample(source, row, index)
            try:
                where = f"what it returned of sample {index}"
                write_sample(sample, self._spec, out, row, where, converts=False)
            except UnfitError as error:
                raise _unfit(error) from None

    def _source(self, indices: Indices) -> Tree[Batched]:
        """The samples of the source."""
        out = empty_out(spec_of_parts(self.readers), len(indices))
        read_parts(self.readers, indices, out)
        batch: Tree[Batched] = result_of(out)
        return batch

    def _sample(self, source: Tree[Batched], row: int, index: int) -> object:
        try:
            return self._function(map_leaves(lambda part: part[row], source))
        except Exception as error:
            if isinstance(error, StopIteration):  # it would end the loop of whoever asks for this
                raise stopped_early(error, f"map of sample {index}") from error
            error.add_note(f"headrace: in map of sample {index}")
            raise


def _unfit(error: UnfitError) -> ArgumentError:
    return ArgumentError(f"map must return samples like that of sample 0, but {error.what}.")
