"""Spread: which row each sample goes to where the number of samples in a row has a limit.

Best fit puts long samples together first. That leaves rows which are full with a few, and then more
short samples than may be in the others. So samples are also dealt out in rounds: in each, every row
gets one more, the roomiest row the longest. What takes fewer rows is taken.
"""

import numpy as np

from headrace.arrays import Array, Indices
from headrace.readers.views.packed.best_fit import best_fit
from headrace.readers.views.packed.compact import compact

# Rows to deal samples out to, as shares of the least that there can be.
_SHARES = (1.0, 1.01, 1.02, 1.04)
# With more in a row, the limit hardly matters, and rounds would take long.
_MOST_ROUNDS = 1000


def spread(by_length: Array, length: int, max_segments: int) -> Indices:
    """The row of each sample; as `best_fit`."""
    best = best_fit(by_length, length, max_segments)
    n = len(best)
    if max_segments > _MOST_ROUNDS:
        return best
    least = max(-(-int(by_length.sum()) // length), -(-n // max_segments))
    for share in _SHARES:
        n_rows = min(n, int(least * share))
        if best.max(initial=-1) + 1 > n_rows:
            best = min(best, _in_rounds(by_length, length, max_segments, n_rows), key=np.max)
    return best


def _in_rounds(by_length: Array, length: int, max_segments: int, n_rows: int) -> Indices:
    n = len(by_length)
    rows = np.empty(n, np.int64)
    rooms = np.full(n_rows, length)
    left, after = np.zeros(0, np.int64), 0  # those that have not fitted so far, and the next
    for _ in range(max_segments):
        stop = min(n, after + n_rows - len(left))
        dealt, after = np.concatenate([left, np.arange(after, stop)]), stop
        roomiest = np.argsort(compact(length - rooms), kind="stable")[: len(dealt)]
        sizes = by_length[dealt]
        fits = sizes <= rooms[roomiest]
        rows[dealt[fits]] = roomiest[fits]
        rooms[roomiest[fits]] -= sizes[fits]
        left = dealt[~fits]
        if not fits.any():
            break
    left = np.concatenate([left, np.arange(after, n)])
    rows[left] = n_rows + best_fit(by_length[left], length, max_segments)
    return rows
