"""spread: rows with a limit of samples, of which there are no more than best fit takes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.readers.views.packed.best_fit import best_fit
from headrace.readers.views.packed.spread import spread


@given(st.data())
def test_no_row_has_more_than_it_can_have(data):
    length, most = data.draw(st.integers(1, 30)), data.draw(st.sampled_from([1, 2, 3, 7, 2000]))
    lengths = data.draw(st.lists(st.integers(1, length), max_size=60).map(sorted))[::-1]
    by_length = np.array(lengths, np.int64)
    rows = spread(by_length, length, most)
    assert rows.shape == (len(lengths),)
    assert np.bincount(rows, lengths, 1).max() <= length
    assert np.bincount(rows, minlength=1).max() <= most
    assert rows.max(initial=-1) <= best_fit(by_length, length, most).max(initial=-1)
    if lengths:
        assert np.bincount(rows).min() > 0


def test_rows_with_a_limit_have_long_and_short_samples():
    lengths = np.random.default_rng(0).lognormal(5.2, 1, 20_000).astype(np.int64).clip(1, 2048)
    by_length = np.sort(lengths)[::-1]
    least = -(-lengths.sum() // 2048)
    assert best_fit(by_length, 2048, 8).max() + 1 > 1.25 * least
    assert spread(by_length, 2048, 8).max() + 1 < 1.04 * least
