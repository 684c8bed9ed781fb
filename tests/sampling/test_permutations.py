"""Many permutations at once: each is a bijection, of its own. See test_statistics.py, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_permutations import at_positions, whole

from headrace.sampling.permutations import Permutations

SIZES = [1, 2, 3, 5, 8, 13, 64, 100, 1000]


@pytest.mark.parametrize("make", [at_positions, whole])
@pytest.mark.parametrize("size", SIZES)
def test_each_is_a_bijection(make, size):
    made = make(size, 50)
    assert made.dtype == np.int64
    assert (np.sort(made, axis=1) == np.arange(size)).all()


@given(st.data())
def test_any_positions_of_any_of_them_give_what_they_give_alone(data):
    permutations = Permutations(np.array(SIZES), np.random.SeedSequence(5))
    which = np.array(data.draw(st.lists(st.integers(0, len(SIZES) - 1), max_size=20)), np.int64)
    numbers = np.array([data.draw(st.integers(0, 2**62)) for _ in which], np.int64)
    places = np.array([data.draw(st.integers(0, SIZES[i] - 1)) for i in which], np.int64)
    found = permutations(which, numbers, places)
    alone = [
        permutations(*(a[i : i + 1] for a in (which, numbers, places))) for i in range(len(which))
    ]
    assert found.tolist() == [int(one[0]) for one in alone]
    assert permutations.positions(which, numbers, found).tolist() == places.tolist()


def test_large_ranges_do_not_collide():
    for size in (2**32, 2**32 + 1, 2**40 + 1, 2**62):
        permutations = Permutations(np.array([size]), np.random.SeedSequence(1))
        positions = np.concatenate([np.arange(5000), size - 1 - np.arange(5000)])
        zeros = np.zeros_like(positions)
        found = permutations(zeros, zeros + 7, positions)
        assert found.min() >= 0
        assert found.max() < size
        assert len(np.unique(found)) == len(found)
        assert (permutations.positions(zeros, zeros + 7, found) == positions).all()


def test_they_are_the_same_in_every_release():
    assert at_positions(10, 2, seed=3).tolist() == GOLDEN_AT_POSITIONS
    assert whole(10, 2, seed=3).tolist() == GOLDEN_WHOLE


GOLDEN_AT_POSITIONS = [[7, 1, 0, 8, 6, 3, 2, 5, 9, 4], [5, 8, 6, 7, 1, 2, 4, 0, 3, 9]]
GOLDEN_WHOLE = [[4, 9, 7, 1, 2, 5, 0, 3, 8, 6], [5, 4, 6, 1, 7, 0, 2, 3, 9, 8]]
