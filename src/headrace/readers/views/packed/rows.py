"""Layout: how samples that were read get into the rows of a batch."""

import numpy as np

from headrace.arrays import Array, Indices
from headrace.readers.views.packed.plan import Pieces

# Where values begin in what was read, where in the rows, and how many follow there.
Run = tuple[int, int, int]


class Layout:
    """Where pieces lie in a batch of rows, whose values are counted from row to row.

    Args:
        pieces: of the rows, at least one in each.
        n: rows in the batch.
        length: values in a row.
    """

    def __init__(self, pieces: Pieces, n: int, length: int) -> None:
        self._pieces, self._length = pieces, length
        # Behind the last piece of each row.
        self._stops = pieces.rows.searchsorted(np.arange(n), "right")
        last = self._stops - 1
        fills = pieces.columns[last] + pieces.sizes[last]
        self._padding = length - fills
        padded = np.flatnonzero(self._padding)
        starts = padded * length + fills[padded]
        stops = starts + self._padding[padded]
        self._gaps = list(zip(starts.tolist(), stops.tolist(), strict=True))

    def number(self, segment_ids: Array, positions: Array) -> None:
        """Fills both, int32, shape (n, length)."""
        pieces, stops = self._pieces, self._stops
        counts = np.diff(stops, prepend=0)
        segments = np.arange(1, len(pieces.rows) + 1) - np.repeat(stops - counts, counts)
        sizes = np.insert(pieces.sizes, stops, self._padding)
        segment_ids.reshape(-1)[:] = _repeat(np.insert(segments, stops, 0), sizes)
        begins = _repeat(np.insert(pieces.columns, stops, 0), sizes).reshape(positions.shape)
        np.subtract(np.arange(self._length, dtype=np.int32), begins, out=positions)
        self._fill_gaps(positions.reshape(-1))

    def runs(self, sources: Indices) -> list[Run]:
        """What is to be copied, of pieces that begin at `sources` in what was read.

        Pieces that follow one another there as they do in the rows are copied together.
        """
        sizes = self._pieces.sizes
        targets = self._pieces.rows * self._length + self._pieces.columns
        together = (np.diff(sources) == sizes[:-1]) & (np.diff(targets) == sizes[:-1])
        first = np.flatnonzero(np.concatenate([[True], ~together]))
        runs = (sources[first], targets[first], np.add.reduceat(sizes, first))
        return list(zip(*(each.tolist() for each in runs), strict=True))

    def copy(self, values: Array, runs: list[Run], out: Array) -> None:
        """Fills `out`, shape (n, length, *element), with runs of `values`, and with 0 elsewhere."""
        flat = out.reshape(out.shape[0] * out.shape[1], *out.shape[2:])
        for source, target, size in runs:
            flat[target : target + size] = values[source : source + size]
        self._fill_gaps(flat)

    def _fill_gaps(self, flat: Array) -> None:
        nothing = np.zeros((), flat.dtype)
        for start, stop in self._gaps:
            flat[start:stop] = nothing


def _repeat(numbers: Indices, counts: Indices) -> Array:
    return np.repeat(numbers.astype(np.int32), counts)
