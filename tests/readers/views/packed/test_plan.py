"""Plans: each value of each sample is in exactly one row, and rows hold no more than they can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.readers.views.packed.plan import Fitted, Joined

# How many values, and those that are often met where something goes wrong.
LENGTHS = {
    "all alike": np.full(30, 4),
    "ones": np.ones(30, np.int64),
    "zeros among them": np.array([0, 3, 0, 0, 1, 4, 0]),
    "one sample": np.array([5]),
    "one giant": np.array([1, 2, 10_000, 3]),
    "several blocks of which some are cut": np.arange(200) * 7919 % 97 // (1 + np.arange(200) % 9),
    "full rows alone": np.array([8, 16, 8]),
    "nothing": np.zeros(3, np.int64),
    "no samples": np.zeros(0, np.int64),
}


def everything(pieces):
    """Each value that is in the rows: its sample, and where in that it is. Sorted."""
    which = np.repeat(np.arange(len(pieces.sizes)), pieces.sizes)
    within = np.arange(len(which)) - (np.cumsum(pieces.sizes) - pieces.sizes)[which]
    return sorted(
        zip(pieces.samples[which].tolist(), (pieces.begins[which] + within).tolist(), strict=True)
    )


def check(plan, lengths, length, max_segments=None):
    pieces = plan.pieces(np.arange(len(plan)))
    wanted = [(sample, at) for sample, n in enumerate(lengths.tolist()) for at in range(n)]
    assert everything(pieces) == wanted
    assert (pieces.lengths == lengths[pieces.samples]).all()
    assert (pieces.sizes > 0).all()
    assert (np.diff(pieces.rows) >= 0).all()
    for row in range(len(plan)):
        (these,) = np.nonzero(pieces.rows == row)
        sizes = pieces.sizes[these]
        assert 0 < sizes.sum() <= length
        assert pieces.columns[these].tolist() == (np.cumsum(sizes) - sizes).tolist()
        assert max_segments is None or len(these) <= max_segments


def plans(lengths, length, max_segments=None, seed=0):
    yield Fitted(lengths, length, max_segments, seed)
    yield Joined(lengths, length, seed)


@given(
    lengths=st.lists(st.integers(0, 25), max_size=25).map(lambda n: np.array(n, np.int64)),
    length=st.integers(1, 9),
    max_segments=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 2**128 - 1),
    rows=st.lists(st.integers(0, 2**31), max_size=5),
)
def test_each_value_is_in_one_row(lengths, length, max_segments, seed, rows):
    for plan in plans(lengths, length, max_segments, seed):
        check(plan, lengths, length, max_segments if isinstance(plan, Fitted) else None)
        if len(plan):
            some = np.array(rows, np.int64) % len(plan)
            pieces = plan.pieces(some)
            for number, row in enumerate(some):
                alone = plan.pieces(np.array([row]))
                for of_some, of_row in zip(pieces[1:], alone[1:], strict=True):
                    assert of_some[pieces.rows == number].tolist() == of_row.tolist()


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_lengths_that_are_seldom_met(lengths):
    for plan in plans(lengths, 8):
        check(plan, lengths, 8)


def test_no_sample_is_cut_that_fits_in_a_row():
    lengths = np.random.default_rng(0).integers(0, 9, 100)
    plan = Fitted(lengths, 8, None, 0)
    pieces = plan.pieces(np.arange(len(plan)))
    assert sorted(pieces.sizes.tolist()) == sorted(lengths[lengths > 0].tolist())
    lengths[7] = 30
    plan = Fitted(lengths, 8, None, 0)
    pieces = plan.pieces(np.arange(len(plan)))
    cut = pieces.samples == 7
    assert pieces.sizes[cut].tolist() == [8, 8, 8, 6]
    assert pieces.sizes[~cut].tolist() == pieces.lengths[~cut].tolist()


def test_joined_rows_are_full_but_for_the_last():
    lengths = np.random.default_rng(0).integers(0, 30, 100)
    plan = Joined(lengths, 8, 0)
    assert len(plan) == -(-lengths.sum() // 8)
    pieces = plan.pieces(np.arange(len(plan)))
    assert (np.bincount(pieces.rows, pieces.sizes)[:-1] == 8).all()


def test_rows_that_are_fitted_are_in_the_order_of_their_first_samples():
    lengths = np.random.default_rng(0).integers(1, 9, 100)
    pieces = Fitted(lengths, 8, None, 0).pieces(np.arange(30))
    firsts = pieces.samples[pieces.columns == 0]
    assert (np.diff(firsts) > 0).all()
    assert (np.diff(pieces.samples)[np.diff(pieces.rows) == 0] > 0).all()


# A plan says which data a training has seen up to where it stopped, so it never changes.
FINGERPRINTS = ("a9fa89f58956b440", "01f1f64a65a1ad59")


def test_plans_never_change():
    lengths = (np.arange(1000) * 7919 % 97).astype(np.int64)
    fitted, joined = plans(lengths, 60)
    assert (fitted.fingerprint(), joined.fingerprint()) == FINGERPRINTS


def test_another_seed_is_another_plan():
    lengths = np.random.default_rng(0).integers(1, 9, 100)
    for one, same, other in zip(
        plans(lengths, 8), plans(lengths, 8), plans(lengths, 8, seed=1), strict=True
    ):
        assert one.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    "most", [200, 5_000, 100_000], ids=["short", "some are cut", "most are cut"]
)
def test_at_most_sixteen_bytes_a_sample(most):
    lengths = np.random.default_rng(0).integers(1, most, 100_000)
    for plan in plans(lengths, 2048):
        assert plan.nbytes <= 16 * len(lengths)
        assert plan.nbytes <= 9 * len(lengths) or most > 200
