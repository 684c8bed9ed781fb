"""Ordering gives the order that numpy's stable argsort does."""

import numpy as np
import pytest

from headrace.readers.views.packed.ordering import stable_argsort

RNG = np.random.default_rng(0)
KEYS = RNG.integers(2**64, size=3000, dtype=np.uint64)


@pytest.mark.parametrize(
    "numbers",
    [
        np.zeros(0, np.int64),
        np.array([2**64 - 1], np.uint64),
        RNG.integers(9, size=3000),
        np.full(3000, 2**64 - 1, np.uint64),
        np.concatenate([KEYS, KEYS[::-1] ^ np.uint64(3), KEYS[::7]]),
    ],
    ids=["none", "one", "small", "all alike", "alike but for the last bits"],
)
def test_it_is_that_of_a_stable_sort(numbers):
    assert (stable_argsort(numbers) == np.argsort(numbers, kind="stable")).all()
