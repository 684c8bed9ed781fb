"""Weighted draws samples as often as their weights say, by integers alone."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import headrace as hr
from headrace.sampling import weighted


def order_of(weights, seed=0, **options):
    return hr.Weighted(weights, **options).order(len(weights), seed)


def epoch_of(order, epoch=0):
    return order.indices(epoch, np.arange(len(order)))


weights_of_all_kinds = st.lists(
    st.one_of(st.integers(0, 5), st.floats(0, 1e300), st.floats(0, 1e-300)), min_size=1, max_size=40
).filter(any)


@given(weights_of_all_kinds, st.integers(0, 2**64))
def test_a_draw_is_the_sample_in_whose_part_of_the_sum_it_falls(weights, seed):
    order = order_of(weights, seed, length=200)
    drawn = [
        d * order._total >> 62
        for d in order._draws(weighted.streams.WEIGHTED_DRAWS, 3)[np.arange(200)].tolist()
    ]
    sums = order._sums.tolist()
    expected = [next(i for i, total in enumerate(sums) if d < total) for d in drawn]
    assert epoch_of(order, 3).tolist() == expected
    assert all(weights[sample] > 0 for sample in expected)


@given(weights_of_all_kinds)
def test_parts_of_the_sum_are_those_of_the_weights(weights):
    order = order_of(weights)
    total = sum(map(Fraction, weights))
    parts = np.diff(order._sums, prepend=0).tolist()
    assert 2**60 <= order._total <= 2**62
    for weight, part in zip(weights, parts, strict=True):
        assert abs(Fraction(weight) / total - Fraction(part, order._total)) < Fraction(
            len(parts), 2**60
        )


@pytest.mark.parametrize("n", [5, 1000])
def test_counts_are_those_of_the_weights(n):
    weights = np.random.default_rng(1).integers(0, 5, n).astype(float)
    expected = weights / weights.sum() * 200_000
    counts = np.bincount(epoch_of(order_of(weights, length=200_000)), minlength=n)
    assert not counts[weights == 0].any()
    assert stats.chisquare(counts[weights > 0], expected[weights > 0]).pvalue > 1e-4


def test_one_draw_does_not_tell_of_the_next_or_of_other_epochs_and_seeds():
    weights = [1, 2, 3, 4]
    one = epoch_of(order_of(weights, length=50_000))
    others = [
        one[1:],
        epoch_of(order_of(weights, length=50_000), 1),
        epoch_of(order_of(weights, 1, length=50_000)),
    ]
    for other in others:
        table = np.histogram2d(one[: len(other)], other, bins=4)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-4


def test_weights_may_be_very_different_and_many():
    """The light ones are drawn, too, and numbers beyond 2**24 are no limit."""
    weights = np.ones(2**24 + 3, np.float32)
    weights[-1] = 2.0**24
    order = order_of(weights, length=4096)
    drawn = epoch_of(order)
    assert 1000 < (drawn == len(weights) - 1).sum() < 3000
    light = drawn[drawn < len(weights) - 1]
    assert stats.kstest(light / len(weights), "uniform").pvalue > 1e-4


def test_without_replacement_samples_come_as_if_drawn_one_after_the_other():
    weights = np.array([1, 2, 3, 0, 4.0])
    order = order_of(weights, length=2, replacement=False)
    pairs = np.array([epoch_of(order, epoch) for epoch in range(4000)])
    share = weights / weights.sum()
    expected = {
        (i, j): share[i] * share[j] / (1 - share[i])
        for i in range(5)
        for j in range(5)
        if i != j and share[i] and share[j]
    }
    counts = [(pairs == pair).all(axis=1).sum() for pair in expected]
    assert sum(counts) == 4000
    assert stats.chisquare(counts, np.array(list(expected.values())) * 4000).pvalue > 1e-4


@given(weights_of_all_kinds, st.integers(0, 2**64), st.data())
def test_without_replacement_each_sample_with_a_weight_comes_once(weights, seed, data):
    order = order_of(weights, seed, replacement=False)
    whole = epoch_of(order, 2).tolist()
    # One so light that it is nothing of the sum is left out.
    assert sorted(whole) == np.flatnonzero(np.diff(order._sums, prepend=0)).tolist()
    length = data.draw(st.integers(1, len(whole)))
    assert (
        epoch_of(order_of(weights, seed, replacement=False, length=length), 2).tolist()
        == whole[:length]
    )


def test_the_logarithm_is_one():
    draws = np.concatenate([np.arange(1000), 2**62 - 1 - np.arange(1000), 7 ** np.arange(22)])
    expected = [-math.log((draw + 1) / 2**62) for draw in draws.tolist()]
    np.testing.assert_allclose(weighted._exponential(draws), expected, rtol=1e-12, atol=1e-15)


def test_it_is_the_same_in_every_release():
    weights = 1 / np.arange(1, 101)
    assert epoch_of(order_of(weights, 2**64, length=8), 3).tolist() == GOLDEN_WITH
    assert (
        epoch_of(order_of(weights, 2**64, length=8, replacement=False), 3).tolist()
        == GOLDEN_WITHOUT
    )


@pytest.mark.parametrize("replacement", [True, False])
def test_it_takes_8_bytes_a_sample_or_12_without_replacement(replacement):
    n = 10**6
    weights = np.ones(n, np.float32)
    tracemalloc.start()
    try:
        order = order_of(weights, replacement=replacement)
        made = tracemalloc.get_traced_memory()[1]
        order.indices(0, np.array([0, n // 2]))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert made < 12 * n  # also while it is made
    assert kept < (9 if replacement else 13) * n


def test_bad_arguments_are_named():
    for weights, message in (
        ([1, -1], r"weights\[1\] must be a finite number from 0 on, but -1 was given"),
        ([1.0, math.nan], r"weights\[1\] must be"),
        ([math.inf], r"weights\[0\] must be"),
        ([0, 0], "one above 0"),
        ([[1, 2]], r"of shape \(n,\)"),
        ([], r"of shape \(n,\)|array of numbers"),
    ):
        with pytest.raises(hr.ArgumentError, match=message):
            hr.Weighted(weights)
    with pytest.raises(hr.ArgumentTypeError, match="weights must be an array of numbers"):
        hr.Weighted(["a"])
    with pytest.raises(hr.ArgumentError, match="length must be at most 1, the samples that have"):
        hr.Weighted([1, 0], length=2, replacement=False)
    with pytest.raises(hr.ArgumentError, match="as many as the samples, which are 3, but 2 were"):
        hr.Loader(np.arange(3), 1, shuffle=hr.Weighted([1, 2]))


GOLDEN_WITH = [6, 0, 0, 36, 2, 2, 23, 1]
GOLDEN_WITHOUT = [75, 0, 6, 3, 4, 15, 1, 5]
