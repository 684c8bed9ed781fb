"""The pool: workers that die, that are closed, and that end with their parent."""

import gc
import itertools
import os
import signal
import time

import in_workers
import numpy as np
import pytest
from process_table import names_in_shared_memory, needs_proc, of_session, workers_of_session

import headrace as hr
from headrace.testing.processes import eventually

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 60


def test_a_function_travels_once_to_each_worker(two_processes, tmp_path):
    file = tmp_path / "picklings"
    make_batch = in_workers.CountsPicklings(str(file))

    def picklings():
        return len(file.read_text().split())

    pids = set()
    while len(pids) < 2:
        pids |= {pid for pid, _ in two_processes.map(make_batch, range(8))}
    assert picklings() == 2
    other = two_processes.map(make_batch, itertools.count())
    next(other)
    list(two_processes.map(str, range(20)))
    assert picklings() == 2

    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    after = set()
    while len(after) < 2:
        after |= {pid for pid, _ in two_processes.map(make_batch, range(8))} - {victim}
    assert picklings() == 3


@pytest.mark.parametrize("way", [signal.SIGKILL, "exit"])
def test_a_worker_that_dies_is_replaced_and_its_batch_made_again(two_processes, tmp_path, way):
    make_batch = in_workers.DiesAt(tmp_path, 7, 1, way)
    batches = list(two_processes.map(make_batch, range(20)))
    assert len(set(make_batch.file.read_text().split())) == 2
    assert [batch.tobytes() for batch in batches] == [
        in_workers.batch(key).tobytes() for key in range(20)
    ]


@pytest.mark.parametrize("fatal_key", [0, 5, 17, 29])
def test_a_worker_may_be_killed_at_any_time(two_processes, fatal_key):
    # One for each call of map: a second might die over the same batch, which is an error.
    for key, (pid, batch) in enumerate(two_processes.map(in_workers.pid_and_batch, range(30))):
        assert batch.tobytes() == in_workers.batch(key).tobytes()
        if key == fatal_key:
            os.kill(pid, signal.SIGKILL)
    assert key == 29


@pytest.mark.parametrize(
    ("way", "told"), [(signal.SIGKILL, "signal 9 (SIGKILL)"), (40, "signal 40"),
                      ("exit", "exit code 3")]
)  # fmt: skip
def test_a_batch_that_kills_two_workers_is_an_error_at_its_turn(two_processes, tmp_path, way, told):
    make_batch = in_workers.DiesAt(tmp_path, 5, 2, way)
    batches = two_processes.map(make_batch, range(20))
    for key in range(5):
        assert next(batches).tobytes() == in_workers.batch(key).tobytes()
    with pytest.raises(hr.WorkerDiedError) as caught:
        next(batches)
    assert f"while they made the batch of 5; the last one ended with {told}" in str(caught.value)
    again = two_processes.map(make_batch, range(20))  # it is over with dying
    assert [batch[0] for batch in again] == [in_workers.batch(key)[0] for key in range(20)]


def test_children_that_something_else_waits_for_do_no_harm(passes):
    passes("""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        executor = hr.Processes(2)
        for round in range(2):
            assert list(executor.map(str, range(5))) == list("01234")
            executor.close()
        for key, (pid, _) in enumerate(executor.map(in_workers.pid_and_batch, range(20))):
            if key == 3:
                os.kill(pid, signal.SIGKILL)
        executor.close()
        assert key == 19
    """)


def test_views_outlive_the_executor(two_processes):
    batches = two_processes.map(in_workers.batch, range(5))
    kept = [next(batches)[7:] for _ in range(3)]
    two_processes.close()
    del batches
    gc.collect()
    list(two_processes.map(in_workers.batch, range(100, 110)))
    two_processes.close()
    assert all(np.array_equal(kept[key], in_workers.batch(key)[7:]) for key in range(3))


def test_a_signal_handler_may_close_it_at_any_moment(passes):
    passes("""
        executor = hr.Processes(1)
        signal.signal(signal.SIGALRM, lambda *_: executor.close())
        for attempt in range(8):
            batches = executor.map(str, itertools.count())
            next(batches)
            signal.setitimer(signal.ITIMER_REAL, 0.0015 * (attempt + 1))
            try:
                for _ in batches:
                    pass
            except hr.ExecutorClosedError:
                continue
    """)


def test_many_pools_may_start_and_end_at_once(passes):
    passes("""
        def cycle():
            for _ in range(2):
                executor = hr.Processes(1)
                right.append(list(executor.map(str, range(3))) == ["0", "1", "2"])
                executor.close()

        right = []
        threads = [threading.Thread(target=cycle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 8
        assert not multiprocessing.active_children()
    """)


def test_an_exit_amid_an_epoch_is_quiet(passes):
    passes("""
        batches = hr.Processes(2).map(in_workers.batch, itertools.count())
        next(batches)
    """)


@needs_proc
@pytest.mark.parametrize("function", ["in_workers.batch", "in_workers.Busy()"])
def test_workers_end_with_a_parent_that_is_killed(run, function):
    before = names_in_shared_memory()
    process = run(f"""
        executor = hr.Processes(2)
        pids = set()  # one that is killed while Python starts complains of it
        for pid, _ in executor.map(in_workers.pid_and_batch, itertools.count()):
            pids.add(pid)
            if len(pids) == 2:
                break
        batches = executor.map({function}, itertools.count())
        next(batches)
        print("running", flush=True)
        time.sleep(1000)
    """)
    assert process.stdout.readline() == "running\n"
    assert len(workers_of_session(process.pid)) == 2
    process.kill()
    assert eventually(lambda: not of_session(process.pid))
    assert process.communicate()[1] == ""
    assert names_in_shared_memory() == before


@needs_proc
def test_workers_end_though_a_forked_child_holds_their_connections(run):
    # So often a worker looks whether its parent lives.
    top = "from headrace.executors.processes import worker; worker._PARENT_ALIVE_SECONDS = 0.2"
    work = """
        warnings.simplefilter("ignore")  # of a fork with threads
        batches = hr.Processes(2).map(in_workers.batch, itertools.count())
        next(batches)
        if not os.fork():
            time.sleep(1000)
        print("running", flush=True)
        time.sleep(1000)
    """
    process = run(work, top=top)
    assert process.stdout.readline() == "running\n"
    process.kill()
    assert eventually(lambda: not workers_of_session(process.pid))


def assert_ends_quietly(process):
    """At Ctrl-C, with one traceback and no process left."""
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
    assert eventually(lambda: not of_session(process.pid))


@needs_proc
def test_ctrl_c_ends_everything_without_a_word_from_workers(run):
    process = run("""
        for batch in hr.Processes(2).map(in_workers.slow_batch, itertools.count()):
            print("running", flush=True)
    """)
    assert process.stdout.readline() == "running\n"
    assert_ends_quietly(process)


@needs_proc
@pytest.mark.parametrize("moment", [0, 0.04, 0.08, 0.16, 0.3])
def test_ctrl_c_while_workers_start_is_as_quiet(run, moment):
    process = run("""
        print("starting", flush=True)
        for batch in hr.Processes(2).map(in_workers.slow_batch, itertools.count()):
            pass
    """)
    assert process.stdout.readline() == "starting\n"
    assert eventually(lambda: workers_of_session(process.pid))
    time.sleep(moment)  # different ones, none of which is to be hit
    assert_ends_quietly(process)


@needs_proc
def test_nothing_is_left_after_a_hundred_epochs(passes, tmp_path):
    for number in range(64):
        np.save(tmp_path / f"{number}.npy", np.full(8192, number, "float32"))
    passes(f"""
        executor = hr.Processes(2)
        loader = hr.Loader(hr.NpyFiles({str(tmp_path)!r}, ids=range(64)), 16, executor=executor)

        def left():
            gc.collect()
            return (
                sorted(name for name in os.listdir("/dev/shm") if "headrace" in name),
                sorted(thread.name for thread in threading.enumerate()),
                multiprocessing.active_children(),
                len(os.listdir("/proc/self/fd")),
            )

        def own_memory():  # shared memory grows with what is ahead, within its budget
            with open("/proc/self/statm") as file:
                _, resident, shared, *_ = map(int, file.read().split())
            return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

        list(loader)
        loader.close()
        before, sizes = left(), []
        for epoch in range(1, 101):
            for step, batch in enumerate(loader):
                assert batch[0, 0] == loader.indices(epoch, step)[0]
                if epoch % 7 == 0 and step == 1:
                    break
            if epoch % 7 == 0:
                loader.seek(epoch + 1)
            if epoch % 33 == 0:
                loader.close()
            sizes.append(own_memory())
        del batch
        loader.close()
        after = left()
        assert after == before, (before, after)
        assert max(sizes[50:]) - max(sizes[10:50]) < 8 * 2**20, sizes
    """)
