"""A permutation is a bijection, is the same in every release, and looks like a shuffle."""

import functools
import itertools
import math
import pickle

import numpy as np
import pytest
from scipy import stats

import headrace as hr

BOUNDARIES = sorted({n for k in range(1, 21) for n in (2**k - 1, 2**k, 2**k + 1)} | {65537})
LARGE = [2**40, 2**40 + 1, 10**12, 3 * 2**55, 2**62 - 1, 2**62]


def is_bijection(n: int, seed: int) -> bool:
    numbers = hr.Permutation(n, seed)[np.arange(n)]
    # As numbers are in range, n of them hit each one exactly if they hit each at least once.
    return bool(np.bincount(numbers, minlength=n).min() == 1) and len(numbers) == n


def test_is_a_bijection_for_every_small_n():
    assert [n for n in range(1, 5001) if not is_bijection(n, seed=n)] == []


@pytest.mark.parametrize("n", BOUNDARIES)
def test_is_a_bijection_around_powers_of_two(n):
    assert all(is_bijection(n, seed) for seed in range(3))


@pytest.mark.parametrize("n", [*range(1, 40), 1000, 65537, *LARGE])
def test_a_number_is_found_where_it_is(n):
    permutation = hr.Permutation(n, seed=n)
    for position in {0, n // 3, n - 1}:
        assert permutation.position(permutation[position]) == position
    with pytest.raises(hr.OutOfRangeError, match=r"number must lie in range\("):
        permutation.position(n)


@pytest.mark.parametrize("n", LARGE)
def test_large_permutations_stay_in_range_and_do_not_collide(n):
    generator = np.random.default_rng(0)
    positions = np.unique(
        np.concatenate(
            [np.arange(10_000), n - 1 - np.arange(10_000), generator.integers(0, n, 50_000)]
        )
    )
    numbers = hr.Permutation(n, 5)[positions]
    assert numbers.min() >= 0
    assert numbers.max() < n
    assert len(np.unique(numbers)) == len(positions)


def test_an_int_and_arrays_of_any_shape_agree():
    permutation = hr.Permutation(1000, 3)
    positions = np.arange(24).reshape(2, 3, 4) * 41
    numbers = permutation[positions]
    assert numbers.dtype == np.int64
    assert numbers.shape == positions.shape
    assert [permutation[int(p)] for p in positions.flat] == numbers.reshape(-1).tolist()
    assert type(permutation[0]) is int
    assert permutation[np.arange(0)].shape == (0,)
    assert permutation[np.int32(5)] == permutation[5]


def test_indexing_does_not_change_the_positions_given():
    positions = np.arange(10)
    hr.Permutation(10, 0)[positions]
    assert positions.tolist() == list(range(10))


def test_is_the_same_in_every_release():
    assert hr.Permutation(10, 0)[np.arange(10)].tolist() == GOLDEN_10
    assert hr.Permutation(10**12, 7)[np.arange(4)].tolist() == GOLDEN_LARGE
    assert hr.BatchSampler(100, 5, seed=2**64).indices(3, 4).tolist() == GOLDEN_SAMPLER


def test_survives_pickling_in_little_space():
    permutation = hr.Permutation(2**62, 9)
    data = pickle.dumps(permutation)
    assert len(data) < 4096
    assert pickle.loads(data)[123456789] == permutation[123456789]


def test_seed_and_epoch_are_not_exchangeable():
    one_zero = hr.BatchSampler(1000, 1000, seed=1).indices(epoch=0, step=0)
    zero_one = hr.BatchSampler(1000, 1000, seed=0).indices(epoch=1, step=0)
    assert (one_zero == zero_one).mean() < 0.01


# --- statistics; with a fixed set of seeds, each outcome is the same on every run -----------------


def p_of_counts(counts) -> float:
    return float(stats.chisquare(np.asarray(counts).reshape(-1)).pvalue)


@functools.cache
def tables(n: int, seeds: int = 4000) -> np.ndarray:
    positions = np.arange(n)
    return np.array([hr.Permutation(n, seed)[positions] for seed in range(seeds)])


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_permutations_are_equally_likely(n):
    number_of = {order: i for i, order in enumerate(itertools.permutations(range(n)))}
    orders = tables(n)
    counts = np.bincount([number_of[tuple(o)] for o in orders.tolist()], minlength=len(number_of))
    assert p_of_counts(counts) > 1e-4


@pytest.mark.parametrize("n", [7, 8, 16, 33])
def test_every_number_is_equally_likely_at_every_position(n):
    orders = tables(n)
    expected = len(orders) / n
    counts = np.array([np.bincount(column, minlength=n) for column in orders.T])
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, (n - 1) ** 2) > 1e-4


@pytest.mark.parametrize("n", [7, 8, 16, 33])
def test_distance_between_two_positions_is_uniform(n):
    orders = tables(n)
    for a, b in [(0, 1), (0, n // 2), (1, n - 1), (2, 3)]:
        distances = (orders[:, b] - orders[:, a]) % n
        assert p_of_counts(np.bincount(distances, minlength=n)[1:]) > 1e-4


@pytest.mark.parametrize("n", [7, 8, 16, 33])
def test_fixed_points_are_as_many_as_in_a_shuffle(n):
    fixed = (tables(n) == np.arange(n)).sum(1)
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


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2.0, "3", None, True])
def test_n_of_another_type_is_refused(n):
    with pytest.raises(TypeError, match="n must be an int"):
        hr.Permutation(n, 0)


def test_what_is_out_of_range_is_refused():
    for n, seed in ((0, 0), (2**62 + 1, 0), (5, -1)):
        with pytest.raises(hr.ArgumentError):
            hr.Permutation(n, seed)
    permutation = hr.Permutation(5, 0)
    for index in (5, -1, np.array([0, 5]), np.array([-1])):
        with pytest.raises(IndexError, match=r"index must lie in range\(5\)"):
            permutation[index]
    for index in (1.0, "a", np.array([0.5])):
        with pytest.raises(TypeError, match="index must be an int or an array of integers"):
            permutation[index]


GOLDEN_10 = [6, 8, 7, 1, 3, 0, 4, 5, 2, 9]
GOLDEN_LARGE = [627068960877, 507515326525, 608986640344, 840596416938]
GOLDEN_SAMPLER = [28, 57, 76, 3, 39]
