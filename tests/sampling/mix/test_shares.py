"""Shares are exact up to any position, and each position goes to one source."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.sampling.mix.shares import Shares

shares = st.lists(
    st.one_of(
        st.integers(0, 9),
        st.floats(0, 1, allow_subnormal=False).map(Fraction),
        st.integers(1, 10**7).map(lambda part: Fraction(part, 10**7)),
    ).map(Fraction),
    min_size=1,
    max_size=12,
).filter(any)


@given(shares)
def test_each_source_has_its_share_up_to_any_position(given_shares):
    made = Shares(given_shares)
    n = 3000
    sources, before = made.of(np.arange(n))
    came = np.cumsum(sources[:, None] == np.arange(len(given_shares)), axis=0)
    assert (before == came[np.arange(n), sources] - 1).all()
    total = sum(made.integers)
    exact = np.arange(1, n + 1)[:, None] * (np.array(made.integers) / total)
    sources_with_share = sum(map(bool, made.integers))
    most = 0.5 if sources_with_share <= 2 else 1.68
    assert np.abs(came - exact).max() <= most + 1e-6
    assert made.counts(n) == came[-1].tolist()


@given(shares, st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=20))
def test_any_position_is_computed_by_itself(given_shares, positions):
    made = Shares(given_shares)
    sources, before = made.of(np.array(positions))
    for position, source, count in zip(positions, sources.tolist(), before.tolist(), strict=True):
        ours, after = made.counts(position), made.counts(position + 1)
        assert (ours[source], after[source]) == (count, count + 1)
        assert sum(ours) == position
        assert made.position(source, count) == position


@given(shares)
def test_integers_are_exact_or_close(given_shares):
    made = Shares(given_shares)
    total = sum(made.integers)
    assert total <= 2**31
    for share, integer in zip(given_shares, made.integers, strict=True):
        wanted = share / sum(given_shares)
        assert (integer > 0) == (share > 0)
        assert abs(Fraction(integer, total) - wanted) <= Fraction(2 * len(given_shares), 2**31)
    if all(share.denominator == 1 for share in given_shares):
        assert [Fraction(i, total) for i in made.integers] == [
            share / sum(given_shares) for share in given_shares
        ]


@pytest.mark.parametrize("block", [1000, 10_000])
def test_a_small_share_is_neither_starved_nor_rounded_up(block):
    made = Shares([Fraction("0.7"), Fraction("0.2999"), Fraction("0.0001")])
    sources, _ = made.of(np.arange(100_000))
    counts = [np.bincount(part, minlength=3) for part in sources.reshape(-1, block)]
    exact = np.array([0.7, 0.2999, 0.0001]) * block
    assert np.abs(counts - exact).max() < 2
    assert np.sum(counts, axis=0).tolist() == [70_000, 29_990, 10]
