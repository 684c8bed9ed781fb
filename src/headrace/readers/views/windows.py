"""Windows: stretches of consecutive samples, such as of a long recording, with their targets."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError, bad_value
from headrace.pytree import Tree, leaves, map_leaves, named_leaves
from headrace.readers.access import Access, Stamps, access_of, read_windows_of
from headrace.readers.array import take_rows
from headrace.readers.reader import Arrays, Out, Reader, Spec, Specs, check_read, is_ragged
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
from headrace.readers.views.starts import Starts, lengths_of
from headrace.readers.views.subset import chosen_of
from headrace.readers.views.view import View
from headrace.storage.stamps import joined


class Windows(View):
    """Windows of consecutive samples: window i begins at sample `i * stride` of the source.

    It is a reader whose samples are the windows, or pairs of a window and its target. A window has
    the structure of a sample, with one axis more at the front: shape (length, *sample). It has the
    samples `start`, `start + rate`, ..., `start + (length - 1) * rate`. These are the windows of
    `keras.utils.timeseries_dataset_from_array`, with the same targets. Samples that several windows
    of a batch share are read once.

    Args:
        source: what a `Loader` takes: a reader, an array, or a tuple or dict of them. Its samples
            are consecutive in time.
        length: samples in a window.
        stride: from the start of a window to that of the next.
        rate: from one sample of a window to the next; 1 takes all.
        series: where the source has several recordings, one after the other: a label for each
            sample, a new one where a recording begins; or their lengths. No window crosses from
            one to the next.
        targets: None for windows alone. An int h: the h samples of the same source that follow
            the window, at the same rate, shape (h, *sample). Or a source with a target for each
            sample: `targets[start]` is that of the window which begins at `start`, as in Keras. It
            may be shorter than the source where there are no `series`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed, or
            no window fits.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> windows = hr.Windows(np.arange(10), length=3, targets=2)
        >>> len(windows)
        6
        >>> x, y = hr.Loader(windows, batch_size=2, shuffle=False).batch(0, 0)
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [1, 2, 3]], [[3, 4], [4, 5]])
    """

    def __init__(
        self,
        source: object,
        length: int,
        stride: int = 1,
        rate: int = 1,
        series: npt.ArrayLike | None = None,
        targets: object = None,
    ) -> None:
        self._readers = readers_of(source)
        n = common_length(self._readers)
        _check_fixed(self._readers)
        length = check_int("length", length, 1, MAX_SAMPLES)
        stride = check_int("stride", stride, 1, MAX_SAMPLES)
        rate = check_int("rate", rate, 1, MAX_SAMPLES)
        steps = [length]
        self._targets: Tree[Reader] | None = None
        most = n  # where the last window may start, and one more
        if isinstance(targets, int | np.integer):
            steps.append(length + check_int("targets", targets, 1, MAX_SAMPLES))
        elif targets is not None:
            self._targets = readers_of(targets, "targets")
            most = common_length(self._targets, "targets")
            if series is not None and most != n:
                raise ArgumentError(
                    f"targets must be one for each of the {n} samples where there are series, but "
                    f"are {most}. For those that follow a window, pass their number."
                )
        span = (steps[-1] - 1) * rate + 1
        self._starts = Starts(lengths_of(series, n), span, stride, most)
        if not len(self._starts):
            raise ArgumentError(
                f"length must leave room for a window, but one of length {length} and rate {rate}"
                f"{', with its targets,' if len(steps) > 1 else ''} spans {span} samples, and the "
                f"longest series has {lengths_of(series, n).max()}."
            )
        # Those of a window, and perhaps those of its targets, counted from its start.
        self._offsets = [
            range(start * rate, stop * rate, rate)
            for start, stop in zip([0, *steps], steps, strict=False)
        ]

    @functools.cached_property
    def spec(self) -> Specs:
        """Of a window, or of the pair of a window and its target."""
        parts = [_windows_of(spec_of_parts(self._readers), len(steps)) for steps in self._offsets]
        if self._targets is not None:
            parts.append(spec_of_parts(self._targets))
        return tuple(parts) if len(parts) > 1 else parts[0]

    @property
    def ids(self) -> list[str] | None:
        """The name of the first sample of each window, in a new list; None if there are none."""
        ids = ids_of_parts(self._readers)
        return None if ids is None else [ids[start] for start in self._starts.all().tolist()]

    def ids_at(self, indices: Indices) -> list[str] | None:
        """The names of these windows."""
        return ids_at_of_parts(self._readers, self._starts.at(indices))

    @functools.cached_property
    def access(self) -> Access:
        """How windows are accessed: together those that start in the same block."""
        access, span = access_of_parts(self._readers), self._offsets[-1][-1] + 1
        of_starts = self._starts.access(access)
        touched = 1 + (span - 1) / access.block  # blocks, by a window
        keeps_all = access.blocks_kept * access.block >= common_length(self._readers)
        return replace(
            of_starts,
            block_cost=of_starts.cost * touched / sum(map(len, self._offsets)),
            blocks_kept=access.blocks_kept if keeps_all else int(access.blocks_kept / touched),
        )

    @property
    def part_readers(self) -> Tree[Reader]:
        """Windows of each part of the source, and the targets, if nothing is then read twice."""
        windows = [self._alone(offsets) for offsets in self._offsets]
        if self._targets is not None:
            # Targets may be shifted, so that a window is not called as its target is.
            starts = self._starts
            return windows[0], map_leaves(
                lambda part: chosen_of(part, starts, named=False), self._targets
            )
        if len(windows) == 1:
            return windows[0]
        in_memory = all(access_of(reader).in_memory for reader in leaves(self._readers))
        return tuple(windows) if in_memory else self

    def _alone(self, offsets: range) -> Tree[Reader]:
        """Readers of each part of the source, of one of the stretches."""
        alone = len(self._offsets) == 1 and self._targets is None
        if alone and not isinstance(self._readers, tuple | dict):
            return self
        return map_leaves(lambda reader: _windows(reader, offsets, self._starts), self._readers)

    def __len__(self) -> int:
        return len(self._starts)

    def __repr__(self) -> str:
        targets = "" if self._targets is None else f", targets={self._targets!r}"
        lengths = " + ".join(str(len(steps)) for steps in self._offsets)
        return f"Windows({self._readers!r}, n={len(self)}, length={lengths}{targets})"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source and the targets, and of the windows."""
        offsets = [(steps[0], steps[-1], len(steps)) for steps in self._offsets]
        targets = "" if self._targets is None else samples_hash(self._targets)
        return fingerprint(
            samples_hash(self._readers), repr(offsets), self._starts.fingerprint(), targets
        )

    def stamps(self, indices: Indices) -> Stamps:
        """What changes with the files of samples."""
        starts = self._starts.at(indices)
        rows = np.concatenate(_Rows(starts, self._offsets).positions, axis=1)
        wanted, found = np.unique(rows, return_inverse=True)
        stamps = stamps_of_parts(self._readers, wanted)[found.reshape(rows.shape)]
        parts = list(stamps.T)
        if self._targets is not None:
            parts.append(stamps_of_parts(self._targets, starts))
        return joined(parts)

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        starts = self._starts.at(indices)
        parts = [out] if len(self._offsets) == 1 and self._targets is None else list(out)
        rows = _Rows(starts, self._offsets)
        try:
            map_leaves(rows.read, self._readers, *parts[: len(self._offsets)])
        except Exception as error:
            renumber_in(error, "window {}", indices, *rows.positions)
            raise
        if self._targets is not None:
            try:
                read_parts(self._targets, starts, parts[-1])
            except Exception as error:
                renumber_in(error, "window {}", indices, starts)
                raise


class _Rows:
    """The samples of the windows of one batch, which are read once from each reader.

    Args:
        starts: of the windows.
        offsets: of the samples of a window, and perhaps of its targets, from its start.
    """

    def __init__(self, starts: Indices, offsets: list[range]) -> None:
        self._starts, self._offsets = starts, offsets

    @functools.cached_property
    def positions(self) -> list[Indices]:
        """The samples of the windows, and of the targets, shape (batch, length)."""
        return [
            self._starts[:, None] + np.arange(offsets.start, offsets.stop, offsets.step)
            for offsets in self._offsets
        ]

    @functools.cached_property
    def _unique(self) -> tuple[Indices, Indices]:
        """All of them once, ascending, and where in these each is."""
        rows = np.concatenate([each.reshape(-1) for each in self.positions])
        wanted, found = np.unique(rows, return_inverse=True)
        return wanted, found.reshape(-1)

    def read(self, reader: Reader, *parts: Any) -> None:
        """Has the reader read them into `parts`, trees of arrays of shape (batch, length, ...)."""
        read_windows = read_windows_of(reader)
        if read_windows is not None:
            for offsets, part in zip(self._offsets, parts, strict=True):
                first = self._starts + offsets.start if offsets.start else self._starts
                read_windows(first, offsets.step, part)
            return
        flat = [map_leaves(_flat, each) for each in parts]
        if access_of(reader).in_memory:  # where reading once would be copying twice
            for positions, part in zip(self.positions, flat, strict=True):
                reader.read(positions.reshape(-1), part)
            return
        wanted, found = self._unique
        if len(wanted) == self.positions[0].size and len(parts) == 1:
            reader.read(self.positions[0].reshape(-1), flat[0])
            return
        read: Arrays = map_leaves(
            lambda spec: np.empty((len(wanted), *spec.shape), spec.dtype), reader.spec
        )
        reader.read(wanted, read)
        start = 0
        for positions, part in zip(self.positions, flat, strict=True):
            at = found[start : start + positions.size]
            map_leaves(lambda source, target, at=at: take_rows(source, at, target), read, part)
            start += positions.size


def _check_fixed(readers: Tree[Reader]) -> None:
    for name, reader in named_leaves(readers, "source"):
        if is_ragged(reader.spec):
            remedy = (
                "Keep them padded to one, as with headrace.Cached(source, map=...). For windows of "
                "steps of recordings that lie one after the other, pass their lengths as series."
            )
            raise bad_value(name, reader.spec, "of samples of one shape", remedy)


def _flat(windows: Array) -> Array:
    """The samples of all windows, one after the other."""
    return windows.reshape(windows.shape[0] * windows.shape[1], *windows.shape[2:])


def _windows(reader: Reader, offsets: range, starts: Starts) -> Windows:
    """Windows without targets, of checked starts, which several may share."""
    windows = Windows.__new__(Windows)
    windows._readers, windows._targets = reader, None
    windows._offsets, windows._starts = [offsets], starts
    return windows


def _windows_of(specs: Specs, length: int) -> Specs:
    return map_leaves(lambda spec: Spec((length, *spec.shape), spec.dtype), specs)
