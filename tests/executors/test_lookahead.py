"""How far it is looked ahead, with Threads as workers."""

import itertools
import os
import sys
import threading
import time

import numpy as np
import pytest

from headrace import Threads

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 30


def wait_until(is_so):
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def numbers_ahead(clock, results, keys, n):
    """How many results are ahead after each of n, for which workers have waited a second."""
    for asked in range(1, n + 1):
        next(results)
        ahead = int(repr(keys)[len("count(") : -1]) - asked
        yield ahead
        wait_until(lambda ahead=ahead: results.ready == ahead)
        clock.now_s += 1


@pytest.mark.parametrize("n", [1, 4])
def test_looks_ahead_little_at_first_and_never_more_than_128(clock, n):
    keys = itertools.count()
    executor = Threads(n, lookahead_bytes=2**40)
    ahead = list(numbers_ahead(clock, executor.map(bytes, keys), keys, 40))
    executor.close()
    assert ahead[0] <= 4
    assert max(ahead) == 128
    assert all(after <= max(2 * before, 4) for before, after in itertools.pairwise(ahead))


@pytest.mark.parametrize("waits", [False, True], ids=["both work", "one waits for the other"])
def test_looks_further_ahead_only_if_workers_wait(clock, waits):
    gates, started, keys = [threading.Event() for _ in range(60)], set(), itertools.count()

    def make(key):
        started.add(key)
        assert gates[key].wait(DEADLINE)
        return key

    executor = Threads(2, lookahead_bytes=2**40)
    results = executor.map(make, keys)
    consumer = threading.Thread(target=lambda: list(itertools.islice(results, 50)))
    consumer.start()

    def both_work_and_the_consumer_waits(key):
        frame = sys._current_frames().get(consumer.ident)
        return {key, key + 1} <= started and frame is not None and frame.f_code.co_name == "result"

    for key in range(0, 50, 2):
        wait_until(lambda key=key: both_work_and_the_consumer_waits(key))
        clock.now_s += 1
        if waits:
            gates[key + 1].set()
            wait_until(lambda: results.ready)
            clock.now_s += 1
        gates[key].set()
        if not waits:
            wait_until(lambda key=key: both_work_and_the_consumer_waits(key + 1))
            clock.now_s += 1
            gates[key + 1].set()
        elif len(started) > key + 2:
            break
    for gate in gates:
        gate.set()
    consumer.join(DEADLINE)
    executor.close()
    assert (next(keys) > 50 + 2) == waits


def test_bytes_of_larger_batches_narrow_the_look_ahead(clock):
    keys = itertools.count()
    executor = Threads(2, lookahead_bytes=8000)
    results = executor.map(lambda key: np.zeros(100 if key < 150 else 1000, np.uint8), keys)
    ahead = list(numbers_ahead(clock, results, keys, 240))
    executor.close()
    assert ahead[40] == 80
    assert ahead[-1] == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs can't be taken away here")
def test_cpus_that_were_taken_away_do_not_count(run):
    process = run("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(hr.Threads().n)
    """)
    assert process.communicate(timeout=DEADLINE) == ("1\n", "")
