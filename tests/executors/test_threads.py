"""Threads: the contract, and when batches are made."""

import gc
import itertools
import threading
import time
import weakref

import pytest

from headrace import Threads
from headrace.testing import ExecutorContract

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 30


class TestThreadsContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Threads(2, lookahead_bytes=lookahead_bytes)


class TestManyThreadsContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Threads(7, lookahead_bytes=lookahead_bytes)


class TestOneThreadContract(ExecutorContract):
    """One worker is enough for all that the contract asks."""

    def make_executor(self, lookahead_bytes):
        return Threads(1, lookahead_bytes=lookahead_bytes)


def test_threads_start_with_the_first_map_and_are_daemons(two_threads):
    before = set(threading.enumerate())
    assert list(two_threads.map(str, range(3))) == ["0", "1", "2"]
    started = set(threading.enumerate()) - before
    assert len(started) == 2
    assert all(t.daemon and t.name.startswith("headrace-") for t in started)


def test_batches_are_made_at_the_same_time(two_threads):
    meeting = threading.Barrier(2)
    batches = two_threads.map(lambda key: (key, meeting.wait(DEADLINE)), range(10))
    assert [key for key, _ in batches] == list(range(10))


def test_failure_in_one_map_does_not_touch_another(two_threads):
    good = two_threads.map(str, itertools.count())
    bad = two_threads.map(lambda key: 1 // (3 - key), itertools.count())
    assert [next(good) for _ in range(3)] == ["0", "1", "2"]
    assert [next(bad) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(bad)
    assert next(good) == "3"


def test_what_waits_for_its_turn_is_not_made_once_the_map_is_closed(two_threads, clock):
    both, go_on, made = threading.Barrier(3), threading.Event(), []
    keys, waits = itertools.count(), threading.Event()

    def make_batch(key):
        if waits.is_set():
            both.wait(DEADLINE)
            go_on.wait(DEADLINE)
        made.append(key)

    batches = two_threads.map(make_batch, keys)
    for taken in range(1, 5):  # so that it is looked further ahead
        next(batches)
        ahead = int(repr(keys)[len("count(") : -1]) - taken
        deadline = time.monotonic() + DEADLINE
        while batches.ready < ahead:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        clock.now_s += 1  # for which workers have nothing to do
    waits.set()
    done = len(made)
    next(batches)
    assert next(keys) > done + 2  # both workers are busy, and more keys wait
    both.wait(DEADLINE)
    batches.close()
    go_on.set()
    list(two_threads.map(str, range(5)))  # queued behind, so that the rest has had its turn
    two_threads.close()
    assert sorted(made) == list(range(done + 2))


def test_error_of_a_batch_is_freed_with_what_it_held(two_threads):
    class Held:
        pass

    def make_batch(key):
        held = Held()
        kept.append(weakref.ref(held))
        raise ValueError(key)

    kept = []
    for _ in range(3):
        with pytest.raises(ValueError, match="0"):
            next(two_threads.map(make_batch, range(1)))
    two_threads.close()
    gc.collect()
    assert [reference() for reference in kept] == [None] * 3
