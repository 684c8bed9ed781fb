"""Many permutations of one range, as the rows of an array, in each of the ways to make them."""

import functools

import numpy as np

import headrace as hr
from headrace.sampling.permutations import Permutations, shuffled_rows


@functools.cache
def alone(size, count=4000):
    """Of so many seeds."""
    positions = np.arange(size)
    return np.array([hr.Permutation(size, seed)[positions] for seed in range(count)])


def at_positions(size, count=20_000, seed=0):
    numbers = np.arange(count)
    permutations = Permutations(np.array([3, size]), np.random.SeedSequence(seed))
    which = np.ones(size * count, np.int64)
    positions = np.tile(np.arange(size), count)
    return permutations(which, numbers.repeat(size), positions).reshape(count, size)


def whole(size, count=20_000, seed=0):
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return shuffled_rows(size, np.arange(count), start)


WAYS = {"alone": alone, "at positions": at_positions, "whole": whole}
