import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

import headrace as hr
from headrace import Threads
from headrace.executors.lookahead import available_cpus
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


@pytest.fixture
def two_threads():
    with_two = Threads(2)
    yield with_two
    with_two.close()


@pytest.fixture
def run():
    """A function that starts a script in a process of its own."""
    prelude = "import itertools, os, signal, sys, threading\nimport headrace as hr\n"
    processes = []

    def start(script):
        command = [sys.executable, "-c", prelude + textwrap.dedent(script)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n must be an int from 1 to 1024, but 0 was given"),
        ({"n": 1025}, "n must be an int from 1 to 1024, but 1025 was given"),
        ({"n": 2.0}, "n must be an int, but a float was given"),
        ({"n": True}, "n must be an int, but a bool was given"),
        ({"lookahead_bytes": -1}, "lookahead_bytes must be an int from 0"),
        ({"lookahead_bytes": "1"}, "lookahead_bytes must be an int, but a str was given"),
        ({"lookahead_bytes": 2.5}, "lookahead_bytes must be an int, but a float was given"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        Threads(**arguments)
    assert said in str(caught.value)


def test_default_is_the_cpus_that_the_process_may_use_but_at_most_eight():
    assert Threads().n == min(8, available_cpus())
    assert Threads(2).lookahead_bytes == 64 * 2**20
    assert Threads(5).lookahead_bytes == 160 * 2**20


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs can't be taken away here")
def test_cpus_that_were_taken_away_do_not_count(run):
    process = run("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(hr.Threads().n)
    """)
    assert process.communicate(timeout=DEADLINE) == ("1\n", "")


def test_repr_is_how_it_is_made():
    assert repr(Threads(3, lookahead_bytes=5)) == "Threads(3, lookahead_bytes=5)"
    copy = pickle.loads(pickle.dumps(Threads(3, lookahead_bytes=5)))
    assert repr(copy) == "Threads(3, lookahead_bytes=5)"


def test_threads_start_with_the_first_map_and_are_daemons(two_threads):
    def names():
        return sorted(t.name for t in threading.enumerate() if t.name.startswith("headrace"))

    before = names()
    assert list(two_threads.map(str, range(3))) == ["0", "1", "2"]
    assert len(names()) == len(before) + 2
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("headrace"))


def test_batches_are_made_at_the_same_time(two_threads):
    meeting = threading.Barrier(2)
    batches = two_threads.map(lambda key: (key, meeting.wait(DEADLINE)), range(10))
    assert [key for key, _ in batches] == list(range(10))


def test_batches_are_made_while_the_consumer_is_busy(two_threads):
    made = [threading.Event() for _ in range(10)]
    batches = two_threads.map(lambda key: made[key].set(), range(10))
    for key in range(8):
        next(batches)
        assert made[key + 2].wait(DEADLINE)


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


def test_failure_in_one_map_does_not_touch_another(two_threads):
    good = two_threads.map(str, itertools.count())
    bad = two_threads.map(lambda key: 1 // (3 - key), itertools.count())
    assert [next(good) for _ in range(3)] == ["0", "1", "2"]
    assert [next(bad) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(bad)
    assert next(good) == "3"


def test_what_waits_for_its_turn_is_not_made_once_the_map_is_closed(two_threads):
    first_two, go_on, made = threading.Barrier(3), threading.Event(), []

    def make_batch(key):
        if key in (2, 3):  # both workers are busy, and more keys wait
            first_two.wait(DEADLINE)
            go_on.wait(DEADLINE)
        made.append(key)

    batches = two_threads.map(make_batch, itertools.count())
    next(batches)
    first_two.wait(DEADLINE)
    batches.close()
    go_on.set()
    list(two_threads.map(str, range(5)))  # queued behind, so that the rest has had its turn
    two_threads.close()
    assert sorted(made) == [0, 1, 2, 3]


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


def test_close_lets_a_waiting_consumer_go(two_threads):
    begun, go_on, outcome = threading.Event(), threading.Event(), []

    def make_batch(key):
        begun.set()
        go_on.wait(DEADLINE)
        return key

    def consume():
        try:
            outcome.extend(two_threads.map(make_batch, itertools.count()))
        except BaseException as error:
            outcome.append(error)

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    assert begun.wait(DEADLINE)
    closer = threading.Thread(target=two_threads.close, daemon=True)
    closer.start()
    go_on.set()
    for thread in (closer, consumer):
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert isinstance(outcome[-1], hr.ExecutorClosedError)
    assert outcome[:-1] == list(range(len(outcome) - 1))
    assert str(outcome[-1]).startswith("the executor was closed while batches were still being")


def test_a_worker_may_close_its_own_executor(two_threads):
    with pytest.raises(hr.ExecutorClosedError):
        list(two_threads.map(lambda _: two_threads.close(), range(500)))
    assert list(two_threads.map(str, range(3))) == ["0", "1", "2"]


def test_opening_and_closing_it_often_leaves_nothing_behind():
    executor = Threads(1)

    def cycle():
        assert list(executor.map(str, range(2))) == ["0", "1"]
        executor.close()

    def objects():
        gc.collect()
        return sum(isinstance(thing, threading.Thread) for thing in gc.get_objects())

    cycle()
    before = objects()
    for _ in range(20):
        cycle()
    assert objects() <= before


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a POSIX signal")
def test_ctrl_c_interrupts_a_consumer_that_waits(run):
    process = run("""
        # Shells have it ignored in what they run in the background, and so in its children.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def make_batch(key):
            if key == 3:
                print("waiting", flush=True)
                threading.Event().wait()
            return key

        for batch in hr.Threads(2).map(make_batch, itertools.count()):
            pass
    """)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGINT
    assert errors.endswith("KeyboardInterrupt\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_map_of_the_parent_ends_in_a_forked_child_and_goes_on_in_the_parent(run):
    process = run(f"""
        import warnings
        warnings.simplefilter("ignore")  # of a fork with threads
        executor = hr.Threads(2)
        batches = executor.map(str, itertools.count())
        next(batches)
        child = os.fork()
        if not child:
            signal.alarm({DEADLINE})
            try:
                for _ in range(1000):
                    next(batches)
            except hr.ExecutorClosedError as error:
                assert "fork" in str(error)
                assert list(executor.map(str, range(3))) == ["0", "1", "2"]
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        for _ in range(1000):
            next(batches)
        executor.close()
        print("passed")
    """)
    assert process.communicate(timeout=2 * DEADLINE) == ("passed\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_loader_goes_on_in_a_forked_child(run):
    process = run(f"""
        import warnings
        import numpy as np
        warnings.simplefilter("ignore")  # of a fork with threads
        loader = hr.Loader(np.arange(10_000), 4, shuffle=False, executor=hr.Threads(2))
        batches = iter(loader)
        assert next(batches).tolist() == [0, 1, 2, 3]
        child = os.fork()
        if not child:
            signal.alarm({DEADLINE})
            rest = list(loader)
            os._exit(7 if np.array_equal(np.concatenate(rest), np.arange(4, 10_000)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert len(list(batches)) == 2499
        loader.close()
        print("passed")
    """)
    assert process.communicate(timeout=2 * DEADLINE) == ("passed\n", "")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_a_signal_handler_may_close_it_at_any_moment(run):
    process = run("""
        threads = hr.Threads(2)
        signal.signal(signal.SIGALRM, lambda *_: threads.close())
        closed = 0
        for number in range(400):
            signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + number % 50))
            try:
                for _ in itertools.islice(threads.map(str, itertools.count()), 300):
                    pass
            except hr.ExecutorClosedError:
                closed += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert list(threads.map(str, range(3))) == ["0", "1", "2"]
        print(closed > 20)
    """)
    assert process.communicate(timeout=2 * DEADLINE) == ("True\n", "")


def test_the_interpreter_ends_after_the_batches_that_are_being_made():
    script = """
import itertools, sys, time
import headrace as hr

def make_batch(key):
    print("begun", flush=True)
    time.sleep(0.3)
    print("done", flush=True)

next(hr.Threads(2).map(make_batch, itertools.count()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = done.stdout  # of which lines may be mixed up
    assert words.count("begun") == words.count("done") >= 1
