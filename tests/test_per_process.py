"""A value for each process: made once in each, by one thread, and again in a forked child."""

import functools
import gc
import os
import pickle
import threading
import weakref

import pytest
from at_once import at_once

from headrace.per_process import PerProcess


class Value:
    """What is kept here: where it was made."""

    made = 0

    def __init__(self):
        type(self).made += 1
        self.pid = os.getpid()


@pytest.fixture(autouse=True)
def _nothing_made():
    Value.made = 0


def in_child(function):
    """What the function returns, in a forked child: a small int."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_is_made_when_it_is_first_asked_for_and_kept():
    kept = PerProcess(Value)
    assert Value.made == 0
    assert kept.get() is kept.get()
    assert Value.made == 1


def test_what_is_there_already_is_not_made():
    first = Value()
    assert PerProcess(Value, first).get() is first
    assert Value.made == 1


def test_none_is_a_value():
    made = []
    kept = PerProcess(lambda: made.append(1))
    assert (kept.get(), kept.get(), made) == (None, None, [1])


def test_threads_that_ask_at_once_get_the_same():
    def make():
        value = Value()
        threading.Event().wait(0.05)  # time for the others to come
        return value

    kept = PerProcess(make)
    found = at_once(lambda _: kept.get(), range(8))
    assert len(set(map(id, found))) == Value.made == 1


def test_after_a_failure_it_is_tried_again():
    outcomes = iter([OSError("away"), OSError("still away"), None])

    def make():
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return "value"

    kept = PerProcess(make)
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            kept.get()
    assert kept.get() == "value"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestForked:
    def test_a_child_and_its_child_make_their_own(self):
        kept = PerProcess(Value)
        before = kept.get()

        def grandchild():
            return int(kept.get().pid == os.getpid())

        def child():
            found = kept.get()
            own = found is not before and found.pid == os.getpid() and kept.get() is found
            return 10 * own + in_child(grandchild)

        assert in_child(child) == 11
        assert kept.get() is before

    def test_what_the_parent_had_is_dropped_in_the_child_when_it_has_its_own(self):
        kept = PerProcess(Value)
        inherited = weakref.ref(kept.get())

        def child():
            kept.get()
            gc.collect()
            return int(inherited() is None)

        assert in_child(child) == 1
        assert inherited() is not None

    def test_a_lock_that_another_thread_held_is_free_in_the_child(self):
        """Be it the kept one, or the one that is held while a value is made."""
        lock = PerProcess(threading.Lock)
        making, go_on = threading.Event(), threading.Event()

        def make():
            making.set()
            go_on.wait(60)
            return "value"

        slow = PerProcess(make)

        def hold():
            with lock.get():
                slow.get()

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert making.wait(60)

            def child():
                go_on.set()  # the child's
                return int(lock.get().acquire(timeout=30)) + 2 * (slow.get() == "value")

            assert in_child(child) == 3
        finally:
            go_on.set()
            thread.join()


def test_pickled_it_is_its_maker_without_the_value():
    kept = PerProcess(functools.partial(int, "7"), object())  # which no pickle could make again
    copy = pickle.loads(pickle.dumps(kept))
    assert copy.get() == 7


def test_it_does_not_outlive_its_owner():
    kept = PerProcess(Value)
    value = weakref.ref(kept.get())
    gc.disable()  # without the help of the collector of circles
    try:
        del kept
        assert value() is None
    finally:
        gc.enable()
