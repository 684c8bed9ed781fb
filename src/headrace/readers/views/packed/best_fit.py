"""Best fit: which row each sample goes to, so that as few rows as possible are filled.

The longest samples first, each into the row that it fills best (best fit decreasing). Rows with the
same room are dealt with at once, as are samples of the same length. So the work depends on how many
different lengths there are, and hardly on how many samples.
"""

import math

import numpy as np

from headrace.arrays import Array, Indices


def best_fit(by_length: Array, length: int, max_segments: int) -> Indices:
    """The row of each sample.

    Args:
        by_length: the lengths of the samples, from 1 to `length`, the longest first.
        length: what a row has room for.
        max_segments: how many samples a row has at most.

    Returns:
        int64, shape (samples,), the rows counted from 0.
    """
    ends = np.flatnonzero(np.diff(by_length, append=0)) + 1
    sizes, counts = by_length[ends - 1].tolist(), np.diff(ends, prepend=0).tolist()
    rooms = _Rooms(length)
    # Rows that are alike, in turn with the samples: the first one, how many, samples in each.
    first_rows, rows, samples = [], [], []
    n_rows = 0
    for size, count in zip(sizes, counts, strict=True):
        while count:
            room, first, n, used = rooms.take(size) or (length, n_rows, count, 0)
            each = min(room // size, max_segments - used)
            full, rest = divmod(count, each)
            if full >= n:
                full, rest = n, 0
            for start, taken, put in ((first, full, each), (first + full, int(rest > 0), rest)):
                if taken:
                    first_rows.append(start)
                    rows.append(taken)
                    samples.append(put)
                    if used + put < max_segments:
                        rooms.add(room - put * size, start, taken, used + put)
            count -= full * each + rest
            filled = full + (rest > 0)
            if first == n_rows:
                n_rows += filled
            elif filled < n:
                rooms.add(room, first + filled, n - filled, used)
    firsts, alike, each = (np.array(part, np.int64) for part in (first_rows, rows, samples))
    # Every row that is filled, in turn, and how many of the samples it gets.
    filled_rows = np.repeat(firsts - np.cumsum(alike) + alike, alike) + np.arange(alike.sum())
    return np.repeat(filled_rows, np.repeat(each, alike))


class _Rooms:
    """Rows that are not full, by the room that they have left.

    Which of the rooms from 1 to `most` there are is kept in ints of bits, and which of those are
    not 0 in another, so that the least room that is enough is found in a few steps.
    """

    def __init__(self, most: int) -> None:
        self._width = math.isqrt(most) + 1
        self._bits = [0] * (most // self._width + 1)
        self._any = 0
        self._rows: dict[int, list[tuple[int, int, int]]] = {}

    def add(self, room: int, first: int, n: int, used: int) -> None:
        """Adds n rows, from the first on, each of which has `used` samples."""
        if not room:
            return
        alike = self._rows.setdefault(room, [])
        if not alike:
            word, bit = divmod(room, self._width)
            self._bits[word] |= 1 << bit
            self._any |= 1 << word
        alike.append((first, n, used))

    def take(self, size: int) -> tuple[int, int, int, int] | None:
        """Takes rows with the least room that is enough: that room, and as `add`; None if none."""
        word, bit = divmod(size, self._width)
        found = self._bits[word] >> bit
        if found:
            bit += _lowest(found)
        else:
            words = self._any >> (word + 1)
            if not words:
                return None
            word += 1 + _lowest(words)
            bit = _lowest(self._bits[word])
        room = word * self._width + bit
        alike = self._rows[room]
        first, n, used = alike.pop()
        if not alike:
            self._bits[word] &= ~(1 << bit)
            if not self._bits[word]:
                self._any &= ~(1 << word)
        return room, first, n, used


def _lowest(bits: int) -> int:
    """The position of the lowest bit."""
    return (bits & -bits).bit_length() - 1
