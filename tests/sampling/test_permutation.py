"""A permutation is a bijection, is the same in every release, and looks like a shuffle."""

import pickle

import numpy as np
import pytest

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


@pytest.mark.parametrize("n", [10**6, 10**12])
def test_many_numbers_at_once_are_those_of_a_few(n):
    permutation = hr.Permutation(n, seed=5)
    positions = np.arange(70_000)
    few = [permutation[some] for some in np.split(positions, 70)]
    np.testing.assert_array_equal(permutation[positions], np.concatenate(few))


def test_is_the_same_in_every_release():
    assert hr.Permutation(10, 0)[np.arange(10)].tolist() == GOLDEN_10
    assert hr.Permutation(10**12, 7)[np.arange(4)].tolist() == GOLDEN_LARGE
    assert hr.BatchSampler(100, 5, seed=2**64).indices(3, 4).tolist() == GOLDEN_SAMPLER


def test_survives_pickling_in_little_space():
    permutation = hr.Permutation(2**62, 9)
    data = pickle.dumps(permutation)
    assert len(data) < 4096
    assert pickle.loads(data)[123456789] == permutation[123456789]


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
