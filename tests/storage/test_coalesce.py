"""Joined ranges hold all that was asked for, and little else."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.storage.coalesce import Joined, coalesce

RANGES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 60)), max_size=30
).map(lambda found: np.array(found, np.int64).reshape(-1, 3))


def joined(ranges, most_between_bytes, most_bytes=None):
    files, starts, lengths = ranges.T
    return coalesce(
        files,
        starts,
        starts + lengths,
        most_between_bytes=most_between_bytes,
        most_bytes=most_bytes,
    )


@given(RANGES, st.integers(0, 50), st.none() | st.integers(1, 200))
def test_each_range_lies_in_one_that_is_fetched(ranges, most_between, most_bytes):
    found = joined(ranges, most_between, most_bytes)
    assert sorted(at for one in found for at in one.positions) == list(range(len(ranges)))
    for one in found:
        for at in one.positions:
            file, start, length = ranges[at].tolist()
            assert file == one.file
            assert one.start <= start <= start + length <= one.stop


@given(RANGES, st.integers(0, 50), st.none() | st.integers(1, 200))
def test_nothing_is_fetched_but_what_was_asked_for_and_short_gaps(ranges, most_between, most_bytes):
    for one in joined(ranges, most_between, most_bytes):
        wanted = sorted((ranges[at][1], ranges[at][1] + ranges[at][2]) for at in one.positions)
        assert one.start == wanted[0][0]
        reached = wanted[0][1]
        for start, stop in wanted[1:]:
            assert start - reached <= most_between
            reached = max(reached, stop)
        assert one.stop == reached
        longest = max(stop - start for start, stop in wanted)
        assert most_bytes is None or one.stop - one.start <= max(most_bytes, longest)


@given(RANGES, st.integers(0, 50))
def test_without_a_bound_no_two_could_have_been_joined(ranges, most_between):
    found = joined(ranges, most_between)
    for before, after in itertools.pairwise(found):
        assert (before.file, before.start) <= (after.file, after.start)
        assert before.file != after.file or after.start - before.stop > most_between


def test_the_drawing():
    ranges = np.array([(0, 0, 4), (0, 5, 3), (0, 90, 9), (0, 2, 4)])
    assert joined(ranges, 1) == [Joined(0, 0, 8, [0, 3, 1]), Joined(0, 90, 99, [2])]


@pytest.mark.parametrize(("most_bytes", "fetched"), [(9, 2), (10, 1), (None, 1)])
def test_what_is_joined_is_bounded(most_bytes, fetched):
    assert len(joined(np.array([(0, 0, 5), (0, 5, 5)]), 0, most_bytes)) == fetched


def test_nothing_asked_for_is_nothing():
    assert joined(np.empty((0, 3), np.int64), 0) == []
