"""Packed: rows of fixed length, in each of which several samples of any length lie."""

import functools
import warnings
from typing import Literal

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_int, check_seed
from headrace.arrays import Indices, MemoryPool, fingerprint
from headrace.errors import ArgumentError, bad_value
from headrace.pytree import leaves, map_leaves
from headrace.readers.access import Access, ReadAmplificationWarning, Stamps, access_of
from headrace.readers.reader import Out, Spec, Specs, check_read
from headrace.readers.source import common_length, readers_of, samples_hash
from headrace.readers.views.packed.lengths import common_lengths
from headrace.readers.views.packed.plan import Fitted, Joined, Plan
from headrace.readers.views.packed.reading import read_pieces
from headrace.readers.views.packed.rows import Layout
from headrace.readers.views.parts import (
    access_of_parts,
    renumber_in,
    spec_of_parts,
    stamps_of_parts,
)
from headrace.readers.views.view import View
from headrace.storage.stamps import joined

Split = Literal["never", "long", "always"]

# Positions are int32.
_MOST_VALUES = 2**31 - 1
# Of the memory that samples are read into before they are copied to their rows.
_KEPT_BYTES = 2**25
_IDS, _POSITIONS = "segment_ids", "positions"


class Packed(View):
    """Rows of `length` values, in each of which samples of any length lie one after the other.

    It is a reader of fixed shape, so that everything works with it as with any other: orders,
    ranks, states, executors and frameworks. A row is a dict of

    - `values`: shape (length, *element), in the structure of the source; 0 where no sample lies.
      Where the samples of the source are dicts, their arrays are here by their own names instead;
    - `segment_ids`: int32, shape (length,): 1 for all values of the first sample in the row, 2 for
      those of the second, and so on; 0 for padding;
    - `positions`: int32, shape (length,): 0, 1, 2, ... in each sample; 0 for padding.

    Which samples lie together is planned once, of the lengths of all samples, and is the same in
    each epoch; a loader shuffles the rows. Samples without values lie in no row. Each value is in
    exactly one row. It keeps at most 16 bytes for each sample.

    Args:
        reader: what a `Loader` takes: a reader of samples of any length, such as `RaggedArray`; or
            a tuple or dict of them, whose samples are equally long.
        length: values in a row.
        split: "never" leaves samples whole; one that is longer than a row is an error. "long" cuts
            only those, into full rows and a rest, which is then as a sample. Both fill rows by best
            fit, the longest samples first. "always" joins all samples, in an order drawn from the
            seed, and cuts what comes of it into rows.
        max_segments: the most samples, or pieces of them, in a row; None for any number. Not with
            split="always".
        seed: with "always" of the order; else it decides which samples of the same length go where.

    Attributes:
        fill: the share of all rows that is not padding.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed; a
            sample is longer than a row, and may not be split; or no sample has a value.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> tokens = hr.RaggedArray(np.arange(1, 11), np.array([0, 3, 8, 10]))  # of 3, 5 and 2
        >>> packed = hr.Packed(tokens, length=6)
        >>> batch = hr.Loader(packed, batch_size=2, shuffle=False).batch(0, 0)
        >>> batch["values"]
        array([[ 1,  2,  3,  9, 10,  0],
               [ 4,  5,  6,  7,  8,  0]])
        >>> batch["segment_ids"][0], batch["positions"][0]
        (array([1, 1, 1, 2, 2, 0], dtype=int32), array([0, 1, 2, 0, 1, 0], dtype=int32))
    """

    def __init__(
        self,
        reader: object,
        length: int,
        split: Split = "never",
        max_segments: int | None = None,
        seed: int = 0,
    ) -> None:
        self._readers = readers_of(reader, "reader")
        n = common_length(self._readers, "reader")
        self._length = check_int("length", length, 1, _MOST_VALUES)
        if split not in ("never", "long", "always"):
            raise bad_value("split", split, "'never', 'long' or 'always'")
        if max_segments is not None:
            max_segments = check_int("max_segments", max_segments, 1, MAX_SAMPLES)
            if split == "always":
                remedy = "Pass split='long' for rows with a limit."
                raise bad_value("max_segments", max_segments, "None with split='always'", remedy)
        seed = check_seed(seed)
        self._spec = _spec_of_rows(spec_of_parts(self._readers), self._length)
        lengths = common_lengths(self._readers)
        if split == "never":
            _check_lengths(lengths, self._length)
        self._plan: Plan
        if split == "always":
            self._plan = Joined(lengths, self._length, seed)
        else:
            self._plan = Fitted(lengths, self._length, max_segments, seed)
        if not len(self._plan):
            raise ArgumentError(f"reader must have a sample with values, but all {n} are empty.")
        self.fill = float(lengths.sum()) / (len(self) * self._length)
        self._described = f"length={length}, split={split!r}"
        self._memory = MemoryPool(_KEPT_BYTES)
        _warn_of_blocks(access_of_parts(self._readers), n)

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def access(self) -> Access:
        """How rows are accessed: their samples lie anywhere in the source."""
        return Access(all(access_of(reader).in_memory for reader in leaves(self._readers)))

    def __len__(self) -> int:
        return len(self._plan)

    def __repr__(self) -> str:
        return f"Packed({self._readers!r}, n={len(self)}, {self._described})"

    @functools.cached_property
    def _plan_hash(self) -> str:
        return self._plan.fingerprint()

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source, and of the plan."""
        return fingerprint(samples_hash(self._readers), self._plan_hash)

    def stamps(self, indices: Indices) -> Stamps:
        """What changes with the files of the samples in rows."""
        pieces = self._plan.pieces(indices)
        of_pieces = stamps_of_parts(self._readers, pieces.samples)
        stamps = np.ones(len(indices), np.uint64)
        for row, stamp in zip(pieces.rows.tolist(), of_pieces, strict=True):
            stamps[row] = joined([stamps[row : row + 1], stamp.reshape(1)])[0]
        return stamps

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        if not len(indices):
            return
        pieces = self._plan.pieces(indices)
        try:
            batches, begins = read_pieces(self._readers, pieces, self._memory.empty)
        except Exception as error:
            renumber_in(error, "row {}", indices[pieces.rows], pieces.samples)
            raise
        layout = Layout(pieces, len(indices), self._length)
        layout.number(out[_IDS], out[_POSITIONS])
        runs = layout.runs(begins)
        # Of dicts, the arrays are there by their names.
        rows = out if isinstance(batches, dict) else out["values"]
        map_leaves(lambda batch, part: layout.copy(batch.values, runs, part), batches, rows)


def _spec_of_rows(spec: Specs, length: int) -> Specs:
    """The spec of a row, of samples of `spec`."""

    def of_rows(part: Spec) -> Spec:
        if not part.ragged:
            raise bad_value(
                "reader",
                part,
                "of samples of any length in all its parts",
                "Open it with ragged=True; leave out parts that have one value for a sample.",
            )
        return Spec((length, *part.element), part.dtype)

    rows = map_leaves(of_rows, spec)
    numbers = Spec((length,), np.dtype(np.int32))
    named = rows if isinstance(rows, dict) else {"values": rows}
    if taken := named.keys() & {_IDS, _POSITIONS}:
        allowed = f"without a part named {_IDS!r} or {_POSITIONS!r}, which rows have themselves"
        raise bad_value("reader", sorted(taken), allowed)
    return {**named, _IDS: numbers, _POSITIONS: numbers}


def _check_lengths(lengths: Indices, length: int) -> None:
    longer = np.flatnonzero(lengths > length)
    if len(longer):
        raise ArgumentError(
            f"length must be at least that of the longest sample with split='never', but sample "
            f"{longer[0]} has {lengths[longer[0]]} values, and a row has {length} (samples that "
            f"are too long: {len(longer)}). Pass split='long' to cut those, split='always' to cut "
            f"wherever a row is full, or length={lengths.max()}; or leave them out with "
            "headrace.Subset."
        )


def _warn_of_blocks(access: Access, n: int) -> None:
    if access.block > 1 and access.blocks_kept * access.block < n:
        warnings.warn(
            f"the samples of reader lie in blocks of {access.block}, each of which is read as a "
            f"whole, {access.blocks_kept} are kept in memory, and those of a row lie anywhere. "
            "Have the reader keep all blocks, or write the samples as values and offsets for "
            "headrace.RaggedArray.",
            ReadAmplificationWarning,
            stacklevel=3,
        )
