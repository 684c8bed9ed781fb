"""Starts: where windows begin in the samples of one or more series.

series      |0 1 2 3 4 5 6|7 8 9 10 11|          length=3, stride=2
windows      0 1 2                               0 starts at 0
                 2 3 4                           1 starts at 2
                     4 5 6                       2 starts at 4
                           7 8 9                 3 starts at 7
                               9 10 11           4 starts at 9
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_ids
from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError, bad_value
from headrace.readers.access import Access
from headrace.readers.views.chosen import every


class Starts:
    """The starts of all windows, in order. It keeps three numbers for each series.

    Args:
        lengths: of the series, int64; those without a window are passed over.
        span: from the first sample of a window to behind its last.
        stride: from one start to the next.
        most: windows start before this sample.
    """

    def __init__(self, lengths: Indices, span: int, stride: int, most: int) -> None:
        begins = np.cumsum(lengths) - lengths
        last = np.minimum(lengths - span, most - 1 - begins)  # within a series
        counts = np.maximum(0, last // stride + 1)
        has_some = counts > 0
        self._stride = stride
        self._ends = np.cumsum(counts[has_some])
        self._n = int(counts.sum())
        # Where the first window of a series would start, were all windows before it in the series.
        self._offsets = begins[has_some] - (self._ends - counts[has_some]) * stride

    def __len__(self) -> int:
        return self._n

    def at(self, windows: Indices) -> Indices:
        """Where these windows begin."""
        starts = windows if self._stride == 1 else windows * self._stride
        if len(self._ends) > 1:
            starts = starts + self._offsets[self._ends.searchsorted(windows, "right")]
        elif self._offsets[0]:
            starts = starts + self._offsets[0]
        return starts

    def all(self) -> Indices:
        """All starts, in order."""
        return self.at(np.arange(len(self)))

    def access(self, access: Access) -> Access:
        """How the samples are accessed at which windows start."""
        start = int(self._offsets[0]) if len(self._ends) == 1 else None
        return every(self._stride, start, access)

    def fingerprint(self) -> str:
        """A hash of the starts."""
        arrays = (self._ends, self._offsets)
        return fingerprint(str(self._stride), *(array.astype("<i8").data for array in arrays))


def lengths_of(series: Any, n: int) -> Indices:
    """The lengths of the series that `n` samples are of.

    Args:
        series: None for one; their lengths; or a label for each sample.
    """
    if series is None:
        return np.array([n], np.int64)
    given: Array = series if isinstance(series, np.ndarray) else _array(check_ids(series, "series"))
    if given.ndim == 1 and len(given) == n:
        starts = np.flatnonzero(given[1:] != given[:-1]) + 1
        return np.diff(starts, prepend=0, append=n).astype(np.int64)
    if given.ndim == 1 and given.dtype.kind in "iu" and (given >= 0).all() and given.sum() == n:
        return given.astype(np.int64)
    allowed = f"a label for each of the {n} samples, or the lengths of the series, {n} together"
    what = f"{len(given)} of sum {given.sum()}" if given.dtype.kind in "iu" else f"{given.shape}"
    raise ArgumentError(f"series must be {allowed}, but an array of {what} was given.")


def _array(labels: list[object]) -> npt.NDArray[Any]:
    try:
        return np.asarray(labels)
    except ValueError:
        raise bad_value("series", labels, "a label for each sample, or the lengths") from None
