"""Concat: the samples of several sources, one after the other."""

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype, keeps_kind
from headrace.arrays import Indices, fingerprint
from headrace.arrays.conversion import UnheldError, held
from headrace.errors import ArgumentError, bad_value
from headrace.pytree import Tree, map_leaves, named_leaves
from headrace.ragged import Ragged, held_samples
from headrace.readers.access import Access, Part, Stamps, lengths_of
from headrace.readers.reader import (
    Batched,
    Out,
    Reader,
    Spec,
    Specs,
    check_read,
    empty_out,
    is_ragged,
    result_of,
)
from headrace.readers.shared.block_cache import rows_of_blocks
from headrace.readers.shared.format_error import bad_sample
from headrace.readers.source import common_length, readers_of, samples_hash
from headrace.readers.views.parts import (
    access_of_parts,
    ids_at_of_parts,
    ids_of_parts,
    read_parts,
    renumber_in,
    spec_of_parts,
    stamps_of_parts,
)
from headrace.readers.views.view import View

_DType: TypeAlias = npt.DTypeLike | None
DTypes: TypeAlias = _DType | Tree[_DType]


class Concat(View):
    """The samples of several sources, those of the first, then those of the second, and so on.

    It is a reader, whose samples have the structure of the sources. It keeps a number for each
    source. Errors name the file and the index of the sample in its source.

    Args:
        sources: each what a `Loader` takes: a reader, an array, or a tuple or dict of them. Their
            samples have the same structure and shapes.
        dtype: what the samples become, if that does not change their kind (uint8 to float32, but
            not float32 to uint8): a dtype for all arrays, or a tuple or dict of dtypes as the
            samples are, with None for what stays. A sample with a number that does not fit, such as
            300 into int8, is an error. Default: they must have the same.
        named: more sources, by name, so that a `Mix` can name their shares.

    Attributes:
        lengths: how many samples each source has.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed;
            or the samples of two sources differ, which names both.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> a, b = np.arange(3.0), np.arange(10.0, 14)
        >>> both = hr.Concat(a, b)
        >>> both.lengths, len(both)
        ((3, 4), 7)
        >>> hr.Loader(both, batch_size=4, shuffle=False).batch(0, 0)
        array([ 0.,  1.,  2., 10.])
    """

    def __init__(self, *sources: object, dtype: DTypes = None, **named: object) -> None:
        if not sources and not named:
            raise ArgumentError("sources must be at least one, but none was given.")
        self._names = ["" for _ in sources] + list(named)
        sources = (*sources, *named.values())
        self._sources = [readers_of(each, f"sources[{i}]") for i, each in enumerate(sources)]
        self.lengths = tuple(
            common_length(source, f"sources[{i}]") for i, source in enumerate(self._sources)
        )
        self._specs = [spec_of_parts(source) for source in self._sources]
        self._spec = _agreed(self._specs, dtype)
        self._ragged = is_ragged(self._spec)
        self._begins = np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def ids(self) -> list[str] | None:
        """The names of the samples, in order, in a new list; None if a source has none."""
        listed = [ids_of_parts(source) for source in self._sources]
        known = [ids for ids in listed if ids is not None]
        return [name for ids in known for name in ids] if len(known) == len(listed) else None

    def ids_at(self, indices: Indices) -> list[str] | None:
        """The names of these samples."""
        of_samples = self._source_of(indices)
        names = np.empty(len(indices), object)
        for number, source in enumerate(self._sources):
            rows = np.flatnonzero(of_samples == number)
            ids = ids_at_of_parts(source, indices[rows] - self._begins[number])
            if ids is None:
                return None
            names[rows] = ids
        listed: list[str] = names.tolist()
        return listed

    @functools.cached_property
    def access(self) -> Access:
        """How the samples are accessed: in blocks as large as the largest of a source."""
        accesses = [access_of_parts(source) for source in self._sources]
        largest = max(accesses, key=lambda access: access.block)
        block = largest.block
        # Of each source with blocks the same share is asked for, so that the one that keeps the
        # smallest share of its own is the one that counts.
        kept = [
            access.blocks_kept / math.ceil(n / access.block)
            for access, n in zip(accesses, self.lengths, strict=True)
            if access.block > 1
        ]
        return Access(
            in_memory=all(access.in_memory for access in accesses),
            block=block,
            blocks_kept=int(min(kept, default=0) * math.ceil(len(self) / block)),
            block_cost=largest.block_cost,
            blocks_aligned=all(access.blocks_aligned for access in accesses)
            and all(begin % block == 0 for begin in self._begins[:-1].tolist()),
        )

    @property
    def parts(self) -> list[Part]:
        """The sources, for an order that goes by them, such as `Mix`."""
        return [
            Part(n, access_of_parts(source).block, name)
            for n, source, name in zip(self.lengths, self._sources, self._names, strict=True)
        ]

    def sample_lengths(self) -> Tree[Indices | None]:
        """How long each sample is, where the sources know it; as `lengths_of` says."""
        of_sources = [map_leaves(lengths_of, source) for source in self._sources]
        named = [dict(named_leaves(lengths)) for lengths in of_sources]

        def joined(name: str) -> Indices | None:
            known = [each[name] for each in named]
            whole = [lengths for lengths in known if lengths is not None]
            return np.concatenate(whole) if len(whole) == len(known) else None

        names = iter(named[0])
        return map_leaves(lambda _: joined(next(names)), of_sources[0])

    @property
    def part_readers(self) -> Tree[Reader]:
        """A concatenation of each part of the sources, if all have the same parts."""
        first = self._sources[0]
        names = [{name for name, _ in named_leaves(source)} for source in self._sources]
        if not isinstance(first, tuple | dict) or any(each != names[0] for each in names):
            return self
        dtypes = map_leaves(_dtypes, first, self._spec)
        return map_leaves(
            lambda part, dtype, *others: self._of_part((part, *others), dtype),
            first,
            dtypes,
            *self._sources[1:],
        )

    def _of_part(self, readers: Sequence[Reader], dtype: DTypes) -> "Concat":
        part = Concat(*readers, dtype=dtype)
        part._names = self._names
        return part

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __repr__(self) -> str:
        return f"Concat({', '.join(map(repr, self._sources))})"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the sources, and of their numbers."""
        parts = [
            (n, samples_hash(source)) for n, source in zip(self.lengths, self._sources, strict=True)
        ]
        return fingerprint(repr(parts))

    def stamps(self, indices: Indices) -> Stamps:
        """What changes with the files of samples."""
        stamps = np.ones(len(indices), np.uint64)
        sources = self._source_of(indices)
        for source, rows in rows_of_blocks(sources):
            of_source = indices[rows] - self._begins[source]
            stamps[rows] = stamps_of_parts(self._sources[source], of_source)
        return stamps

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        for source, rows in rows_of_blocks(self._source_of(indices)):
            self._read(source, rows, indices[rows], out)

    def _source_of(self, indices: Indices) -> Indices:
        # A source without samples begins where the next does, which is then the one that is found.
        return np.searchsorted(self._begins, indices, side="right") - 1

    def _read(self, source: int, rows: Indices, indices: Indices, out: Out) -> None:
        """Reads samples of one source into these rows."""
        of_source = indices - self._begins[source]
        specs, first, n = self._specs[source], int(rows[0]), len(rows)
        # Rows of `out` that lie together are read into, where no dtype is to be changed.
        directly = specs == self._spec and int(rows[-1]) - first == n - 1 and not self._ragged
        target: Any
        if directly:
            target = map_leaves(lambda part: part[first : first + n], out)
        else:
            target = empty_out(specs, n)
        try:
            read_parts(self._sources[source], of_source, target)
        except Exception as error:
            renumber_in(error, "sample {} of the concatenation", indices, of_source)
            raise
        if not directly:
            try:
                map_leaves(lambda part, read: _put(part, rows, read), out, result_of(target))
            except UnheldError as error:
                index, at = int(indices[error.row]), int(of_source[error.row])
                where = f"sample {at} of sources[{source}]"
                raise bad_sample(index, where, f"it {error}") from None


def _put(part: Any, rows: Indices, read: Batched) -> None:
    if isinstance(read, Ragged):
        held_samples(read.values, read.offsets, part.dtype)
        part[rows] = read
    else:
        part[rows] = held(read, part.dtype)


def _agreed(specs: list[Specs], dtype: DTypes) -> Specs:
    """The spec of all, with the dtypes that are asked for."""
    named = [dict(named_leaves(spec)) for spec in specs]
    for number, each in enumerate(named):
        if each.keys() != named[0].keys():
            raise ArgumentError(
                f"sources must have samples of the same structure, but {_listed(specs, 0, number)}."
            )
    dtypes = _by_name(specs[0], dtype)
    agreed = iter(
        [_agreed_spec(name, [each[name] for each in named], dtypes[name]) for name in named[0]]
    )
    return map_leaves(lambda _: next(agreed), specs[0])


def _agreed_spec(name: str, specs: list[Spec], dtype: _DType) -> Spec:
    """The spec of one array of a sample, in all sources."""
    what = f"the same {{}} in their part {name}" if name else "the same {}"
    for number, spec in enumerate(specs):
        if spec.shape != specs[0].shape:
            raise ArgumentError(
                f"sources must have samples of {what.format('shape')}, but "
                f"{_listed(specs, 0, number)}."
            )
        if dtype is None and spec.dtype != specs[0].dtype:
            raise ArgumentError(
                f"sources must have samples of {what.format('dtype')}, but "
                f"{_listed(specs, 0, number)}. Pass dtype=, such as dtype="
                f"'{np.result_type(spec.dtype, specs[0].dtype)}', to convert them."
            )
    if dtype is None:
        return specs[0]
    wanted = check_dtype(dtype)
    for number, spec in enumerate(specs):
        if not keeps_kind(spec.dtype, wanted):
            raise bad_value(
                "dtype", str(wanted), f"of a kind that {spec.dtype} of sources[{number}] can become"
            )
    return Spec(specs[0].shape, wanted)


def _listed(specs: Sequence[Specs], *numbers: int) -> str:
    return " and ".join(f"sources[{number}] has {specs[number]}" for number in numbers)


def _by_name(spec: Specs, dtype: Any) -> dict[str, _DType]:
    """The dtype that is asked for of each array of a sample."""
    names = [name for name, _ in named_leaves(spec)]
    if isinstance(spec, Spec) or not isinstance(dtype, tuple | dict):
        return dict.fromkeys(names, dtype)
    dtypes: dict[str, Any] = dict(named_leaves(dtype))
    if dtypes.keys() != set(names):
        allowed = f"a dtype, or a tuple or dict of them as the samples are, {spec}"
        raise bad_value("dtype", dtype, allowed)
    return dtypes


def _dtypes(reader: Reader, spec: Specs) -> Tree[_DType]:
    del reader
    return map_leaves(lambda leaf: leaf.dtype, spec)
