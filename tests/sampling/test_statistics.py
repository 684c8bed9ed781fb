"""Orders look like shuffles. With a fixed set of seeds, each outcome is the same on every run.

The numbers are those of every release, as other tests show, whatever the version of numpy.
"""

import itertools
import math

import numpy as np
import pytest
from many_permutations import WAYS, alone
from scipy import stats

import headrace as hr
from headrace.sampling.block_shuffle import BlockShuffled

LARGE = [2**40, 2**40 + 1, 10**12, 3 * 2**55, 2**62 - 1, 2**62]


def p_of_counts(counts) -> float:
    return float(stats.chisquare(np.asarray(counts).reshape(-1)).pvalue)


every_way = pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)


@every_way
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_permutations_are_equally_likely(make, size):
    number_of = {order: i for i, order in enumerate(itertools.permutations(range(size)))}
    orders = make(size).tolist()
    counts = np.bincount([number_of[tuple(o)] for o in orders], minlength=len(number_of))
    assert p_of_counts(counts) > 1e-4


@every_way
@pytest.mark.parametrize("size", [7, 8, 10, 16, 33])
def test_positions_and_distances_are_uniform(make, size):
    orders = make(size)
    expected = len(orders) / size
    counts = np.array([np.bincount(column, minlength=size) for column in orders.T])
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, (size - 1) ** 2) > 1e-4
    for a, b in [(0, 1), (0, size // 2), (1, size - 1), (2, 3)]:
        distances = (orders[:, b] - orders[:, a]) % size
        assert p_of_counts(np.bincount(distances, minlength=size)[1:]) > 1e-4


@every_way
def test_one_does_not_tell_of_the_next(make):
    orders = make(8)
    for column in (0, 5):
        table = np.histogram2d(orders[:-1, column], orders[1:, column], bins=8)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("n", [7, 8, 16, 33])
def test_fixed_points_are_as_many_as_in_a_shuffle(n):
    fixed = (alone(n) == np.arange(n)).sum(1)
    probabilities = stats.poisson.pmf(np.arange(4), 1)
    expected = 4000 * np.append(probabilities, 1 - probabilities.sum())
    counts = np.bincount(np.minimum(fixed, 4), minlength=5)
    assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize("n", [1000, 65536, 65537, 1_000_000])
def test_displacement_is_that_of_a_shuffle(n):
    # Of a uniform permutation, |p(i) - i| / n has mean 1/3 and variance 1/18.
    positions = np.arange(n)
    scores = []
    for seed in range(10):
        displacement = np.abs(hr.Permutation(n, seed)[positions] - positions) / n
        scores.append((displacement.mean() - 1 / 3) * math.sqrt(n * 18))
    # One in n is the finite-size part; the rest is noise, slightly less than of independent draws.
    assert np.abs(scores).max() < 4.5


@pytest.mark.parametrize("n", [1000, 1024, 65537, 2**20])
def test_neighbours_become_independent(n):
    positions = np.arange(n)
    for seed in range(4):
        numbers = hr.Permutation(n, seed)[positions]
        for lag in (1, 2, 128, n // 4, n // 2):
            bins = ((numbers[lag:] - numbers[:-lag]) % n) * 64 // n
            assert p_of_counts(np.bincount(bins, minlength=64)) > 1e-7


@pytest.mark.parametrize("n", LARGE)
def test_windows_of_large_permutations_are_uniform(n):
    window = np.arange(4096)
    for seed in range(4):
        permutation = hr.Permutation(n, seed)
        for start in (0, n // 3, n - 4096):
            numbers = permutation[start + window]
            assert p_of_counts(np.bincount((numbers / n * 64).astype(int), minlength=64)) > 1e-6
            assert p_of_counts(np.bincount(numbers % 64, minlength=64)) > 1e-6
            far = permutation[(start + window + n // 2) % n]
            bins = ((far - numbers) % n / n * 64).astype(int)
            assert p_of_counts(np.bincount(bins, minlength=64)) > 1e-6


@pytest.mark.parametrize("n", [1000, 2**20])
@pytest.mark.parametrize("other", ["epoch", "seed"])
def test_two_epochs_and_two_seeds_are_independent(n, other):
    def order(k: int) -> np.ndarray:
        seed, epoch = (0, k) if other == "epoch" else (k, 0)
        return hr.BatchSampler(n, n, seed=seed).indices(epoch, 0)

    for k in range(5):
        one, two = order(k), order(k + 1)
        assert abs(np.corrcoef(one, two)[0, 1]) * math.sqrt(n - 1) < 4.5
        table = np.histogram2d(one, two, bins=8)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-5
        assert (one == two).sum() < 12  # as many as fixed points: about one


def epochs_of_blocks(n: int, block: int, window: int, seeds: int = 1500) -> np.ndarray:
    positions = np.arange(n)
    orders = (BlockShuffled(n, seed, block, window) for seed in range(seeds))
    return np.array([order.indices(0, positions) for order in orders])


@pytest.mark.parametrize(("n", "block", "window"), [(12, 3, 2), (10, 2, 1)])
def test_every_block_is_equally_likely_in_every_slot(n, block, window):
    orders = epochs_of_blocks(n, block, window) // block
    for position in range(0, n, block):
        assert p_of_counts(np.bincount(orders[:, position], minlength=n // block)) > 1e-4


@pytest.mark.parametrize(("n", "block", "window"), [(14, 4, 2), (9, 2, 3)])
def test_a_short_last_block_comes_as_early_as_others(n, block, window):
    rest, slots = n % block, -(-n // block)
    orders = epochs_of_blocks(n, block, window)
    first_window = orders[:, : window * block - (block - rest)]
    early = int((first_window >= n - rest).any(axis=1).sum())
    assert stats.binomtest(early, len(orders), window / slots).pvalue > 1e-4


def test_samples_are_equally_likely_at_every_place_of_a_window():
    block, window = 4, 3
    orders = epochs_of_blocks(24, block, window)
    for position in (0, 5, 11):
        assert p_of_counts(np.bincount(orders[:, position], minlength=24)) > 1e-4


def test_as_many_blocks_as_there_are_is_a_full_shuffle():
    orders = epochs_of_blocks(6, 2, 3)
    pairs = orders[:, 0] * 6 + orders[:, 1]
    counts = np.bincount(pairs, minlength=36)[np.arange(36) % 7 != 0]  # no sample twice
    assert p_of_counts(counts) > 1e-4
