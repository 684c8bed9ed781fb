"""Ranges of bytes that lie near each other, joined, as bytes come faster than requests.

asked for     [0:4]  [5:8]                [90:99]  [2:6]
fetched       [0:8] for 0, 3 and 1        [90:99] for 2
"""

from dataclasses import dataclass

import numpy as np

from headrace.arrays import Array


@dataclass(slots=True)
class Joined:
    """The bytes [start:stop] of a file, in which the ranges at these positions lie."""

    file: int
    start: int
    stop: int
    positions: list[int]


def coalesce(
    files: Array,
    starts: Array,
    stops: Array,
    *,
    most_between_bytes: int,
    most_bytes: int | None = None,
) -> list[Joined]:
    """The ranges [start:stop] of files, joined where they overlap or lie near each other.

    Args:
        files: the number of each range's file; shape (ranges,), as the others.
        starts, stops: of the ranges, in bytes.
        most_between_bytes: so much between two of them is fetched with them.
        most_bytes: of what is joined, unless a single range has more. Default: any number.

    Returns:
        What is to be fetched, file after file, each from its beginning to its end; within each the
        positions of the ranges, by their starts.
    """
    found: list[Joined] = []
    order = np.lexsort((stops, starts, files))
    for position, file, start, stop in zip(
        order.tolist(),
        files[order].tolist(),
        starts[order].tolist(),
        stops[order].tolist(),
        strict=True,
    ):
        last = found[-1] if found else None
        if last is not None and file == last.file and start <= last.stop + most_between_bytes:
            end = max(stop, last.stop)
            if end == last.stop or most_bytes is None or end - last.start <= most_bytes:
                last.positions.append(position)
                last.stop = end
                continue
        found.append(Joined(file, start, stop, [position]))
    return found
