"""The end of a pool of threads: by closing, by a fork, by a signal, or with the interpreter."""

import os
import signal

import pytest

import headrace as hr

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 30


def test_opening_and_closing_it_often_leaves_nothing_behind(passes):
    # In a process of its own: threads of other tests, of pytest and of xdist come and go, too.
    passes("""
        executor = hr.Threads(1)

        def cycle():
            assert list(executor.map(str, range(2))) == ["0", "1"]
            executor.close()

        def objects():
            gc.collect()
            return len(gc.get_objects())

        for _ in range(3):
            cycle()
        before = objects()
        for _ in range(50):
            cycle()
        after = objects()
        assert after - before < 50, (before, after)
        assert threading.enumerate() == [threading.main_thread()]
    """)


def test_a_worker_may_close_its_own_executor(two_threads):
    with pytest.raises(hr.ExecutorClosedError):
        list(two_threads.map(lambda _: two_threads.close(), range(500)))
    assert list(two_threads.map(str, range(3))) == ["0", "1", "2"]


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a POSIX signal")
def test_ctrl_c_interrupts_a_consumer_that_waits_for_a_batch_that_never_ends(run):
    process = run("""
        from headrace.executors import thread_pool
        thread_pool._EXIT_SECONDS = 0.3

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
def test_map_of_the_parent_ends_in_a_forked_child_and_goes_on_in_the_parent(passes):
    passes(f"""
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
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_loader_goes_on_in_a_forked_child(passes):
    passes(f"""
        warnings.simplefilter("ignore")  # of a fork with threads
        loader = hr.Loader(np.arange(10_000), 4, shuffle=False, executor=hr.Threads(2))
        batches = iter(loader)
        assert next(batches).tolist() == [0, 1, 2, 3]
        child = os.fork()
        if not child:
            signal.alarm({DEADLINE})
            loader.load_state_dict(loader.state_dict())
            rest = list(loader)
            os._exit(7 if np.array_equal(np.concatenate(rest), np.arange(4, 10_000)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert len(list(batches)) == 2499
        loader.close()
    """)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_a_signal_handler_may_close_it_at_any_moment(passes):
    passes("""
        threads = hr.Threads(2)
        signal.signal(signal.SIGALRM, lambda *_: threads.close())

        def seconds():
            threads.close()
            started = time.perf_counter()
            for _ in itertools.islice(threads.map(str, itertools.count()), 300):
                pass
            return time.perf_counter() - started

        whole, closed = min(seconds() for _ in range(5)), 0
        for number in range(200):
            signal.setitimer(signal.ITIMER_REAL, whole * (1 + number % 50) / 50)
            try:
                seconds()
            except hr.ExecutorClosedError:
                closed += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert list(threads.map(str, range(3))) == ["0", "1", "2"]
        assert closed > 20
    """)


def test_the_interpreter_ends_after_the_batches_that_are_being_made(run):
    process = run("""
        def make_batch(key):
            print("started", flush=True)
            time.sleep(0.3)
            print("done", flush=True)

        next(hr.Threads(2).map(make_batch, itertools.count()))
    """)
    words, errors = process.communicate(timeout=2 * DEADLINE)
    assert (process.returncode, errors) == (0, "")
    assert words.count("started") == words.count("done") >= 1  # in lines that may be mixed up
