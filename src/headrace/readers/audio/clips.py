"""Clips: which frames of which files are the samples, in three arrays."""

import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import check_ids
from headrace.arrays import Array, Indices
from headrace.errors import ArgumentError, bad_type, bad_value

# Of a file; so that the sum of two numbers of frames is one, too.
MOST_FRAMES = 2**61


class Clips(NamedTuple):
    """The samples, in order; each attribute has the shape (samples,).

    Attributes:
        file: the number of the file that each is in.
        start: its first frame.
        length: its frames.
    """

    file: Array
    start: Indices
    length: Indices

    @classmethod
    def whole(cls, frames: Indices) -> "Clips":
        """A sample for each file, of so many frames."""
        return cls(np.arange(len(frames), dtype=np.int32), np.zeros_like(frames), frames)

    @classmethod
    def cut(cls, frames: Indices, length: int, hop: int) -> "Clips":
        """Clips of a length from files of so many frames, a `hop` from start to start.

        What is left at the end of a file is in no clip.
        """
        counts = np.maximum(frames - length + hop, 0) // hop
        file = np.repeat(np.arange(len(frames)), counts)
        first = np.cumsum(counts) - counts
        start = (np.arange(len(file)) - first[file]) * hop
        if not len(file):
            raise ArgumentError(
                f"frames must be at most those of the longest file, {frames.max()}, but {length} "
                "was given."
            )
        return cls(file.astype(np.int32), start, np.full(len(file), length, np.int64))

    @classmethod
    def given(
        cls, clips: Iterable[object], names: Sequence[str], length: int | None, shown: str
    ) -> "Clips":
        """Those that a user lists: (file, start), or (file, start, length) if it has no `length`.

        Args:
            shown: the root, for messages.
        """
        numbers = {name: number for number, name in enumerate(names)}
        wanted = "(file, start)" if length is not None else "(file, start, length)"
        rows = []
        for position, clip in enumerate(check_ids(clips, "clips")):
            where = f"clips[{position}]"
            try:
                name, *ints = clip
                row = [operator.index(number) for number in ints]
                is_there = name in numbers
            except TypeError:
                raise bad_type(where, clip, f"{wanted}, a str and ints") from None
            if length is not None:
                row.append(length)
            if len(row) != 2:
                remedy = "Leave frames= out for clips of several lengths." if length else ""
                raise bad_value(where, clip, wanted, remedy)
            if not is_there:
                raise bad_value(where, clip, f"of one of the files in {shown!r}")
            if min(row) < 0 or max(row) > MOST_FRAMES:
                raise bad_value(where, clip, f"{wanted}, and no number below 0 or too large")
            rows.append((numbers[name], *row))
        if not rows:
            raise bad_value("clips", clips, "at least one clip")
        table = np.array(rows, np.int64)
        return cls(table[:, 0].astype(np.int32), table[:, 1].copy(), table[:, 2].copy())

    def check(self, frames: Indices, names: Sequence[str]) -> None:
        """Raises an ArgumentError unless the clips are within their files, of so many frames."""
        beyond = np.flatnonzero(self.start + self.length > frames[self.file])
        if len(beyond):
            at = int(beyond[0])
            file = int(self.file[at])
            raise ArgumentError(
                f"clips[{at}] must end by the last of the {frames[file]} frames of "
                f"{names[file]!r}, but it is of {self.length[at]} from frame {self.start[at]} on."
            )
