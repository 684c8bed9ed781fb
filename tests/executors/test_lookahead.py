"""How far it is looked ahead, with Threads as workers."""

import itertools
import os

import numpy as np
import pytest

from headrace import Threads

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 30


@pytest.mark.parametrize("n", [1, 4])
def test_looks_ahead_little_at_first_and_never_more_than_128(n):
    taken = itertools.count()
    executor = Threads(n, lookahead_bytes=2**40)
    batches = executor.map(bytes, taken)
    ahead = []
    for asked in range(1, 300):
        next(batches)
        ahead.append(int(repr(taken)[len("count(") : -1]) - asked)
    executor.close()
    assert ahead[0] <= 4
    assert max(ahead) == 128
    assert all(after <= max(2 * before, 4) for before, after in itertools.pairwise(ahead))


def test_bytes_of_larger_batches_narrow_the_look_ahead():
    taken = itertools.count()
    executor = Threads(2, lookahead_bytes=8000)
    batches = executor.map(lambda key: np.zeros(100 if key < 50 else 1000, np.uint8), taken)
    ahead = []
    for asked in range(1, 200):
        next(batches)
        ahead.append(int(repr(taken)[len("count(") : -1]) - asked)
    executor.close()
    assert ahead[45] == 80
    assert ahead[-1] == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs can't be taken away here")
def test_cpus_that_were_taken_away_do_not_count(run):
    process = run("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(hr.Threads().n)
    """)
    assert process.communicate(timeout=DEADLINE) == ("1\n", "")
