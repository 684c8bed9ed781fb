"""best_fit: as few rows as when each sample by itself is put into the row that it fills best."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.readers.views.packed.best_fit import best_fit


def rows_one_by_one(lengths, length, max_segments):
    """How many rows best fit takes."""
    rooms, used = [], []
    for size in lengths:
        fits = [row for row, room in enumerate(rooms) if room >= size and used[row] < max_segments]
        if not fits:
            rooms.append(length)
            used.append(0)
            fits = [len(rooms) - 1]
        best = min(fits, key=lambda row: rooms[row])
        rooms[best] -= size
        used[best] += 1
    return len(rooms)


@given(st.data())
def test_rows_are_those_of_one_sample_after_the_other(data):
    length = data.draw(st.integers(1, 70))
    lengths = data.draw(st.lists(st.integers(1, length), max_size=60).map(sorted))[::-1]
    rows = best_fit(np.array(lengths, np.int64), length, len(lengths))
    assert rows.shape == (len(lengths),)
    if lengths:
        assert np.bincount(rows, lengths).max() <= length
        assert rows.max() + 1 == rows_one_by_one(lengths, length, len(lengths))
        assert np.bincount(rows).min() > 0


@given(st.data())
def test_no_row_has_more_samples_than_allowed(data):
    length, most = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 4))
    lengths = data.draw(st.lists(st.integers(1, length), min_size=1).map(sorted))[::-1]
    rows = best_fit(np.array(lengths, np.int64), length, most)
    assert np.bincount(rows, lengths).max() <= length
    assert np.bincount(rows).max() <= most
    if most == 1:
        assert rows.tolist() == list(range(len(lengths)))


def test_rows_are_as_full_as_they_can_be():
    lengths = np.random.default_rng(0).lognormal(5.2, 1, 20_000).astype(np.int64).clip(1, 2048)
    rows = best_fit(np.sort(lengths)[::-1], 2048, len(lengths))
    assert rows.max() + 1 == -(-lengths.sum() // 2048)


def test_long_rows_of_many_different_lengths():
    lengths = np.sort(np.random.default_rng(0).integers(1, 10**6, 300))[::-1]
    rows = best_fit(lengths, 10**6, len(lengths))
    assert np.bincount(rows, lengths).max() <= 10**6
    assert rows.max() + 1 == rows_one_by_one(lengths, 10**6, len(lengths))
