"""The pool of Ray: what it leaves behind, what is made again, and the end of Ray itself."""

import itertools
import os
import signal
import threading
import time

import in_workers
import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="needs headrace[ray]")

import headrace as hr
from headrace.executors.ray import pool
from headrace.testing.processes import eventually

# For what takes seconds at most: only something that hangs takes longer.
DEADLINE = 60

pytestmark = pytest.mark.usefixtures("local_ray")


def test_look_ahead_that_the_object_store_cannot_hold_is_refused(store_bytes):
    with pytest.raises(hr.SharedMemoryError) as caught:
        hr.Ray(lookahead_bytes=store_bytes + 1).map(str, [])
    for part in (f"takes {store_bytes + 1} bytes", f"has {store_bytes}", "object_store_memory"):
        assert part in str(caught.value)


def test_resources_that_no_node_has_are_told_and_waiting_for_them_can_be_ended():
    executor = hr.Ray(2, resources={"unheard of": 1})
    batches = executor.map(str, range(3))
    ended = threading.Event()

    def close():
        while not ended.wait(0.5):  # for as long as nothing is started, there is nothing to close
            executor.close()

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    with (
        pytest.warns(UserWarning, match=r"no node .* has {'CPU': 1, 'unheard of': 1}, so no batch"),
        pytest.raises(hr.ExecutorClosedError),
    ):
        next(batches)
    ended.set()
    closing.join(DEADLINE)
    assert not closing.is_alive()


def test_the_look_ahead_fits_into_the_object_store_and_nothing_is_written_to_disk(run):
    output = run("""
        from ray._private.internal_api import memory_summary  # as the command "ray memory" does
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=160 * 2**20)

        def summary():
            return memory_summary(ray.get_runtime_context().gcs_address, stats_only=True)

        def used_mib():
            return int(summary().split("memory usage ")[1].split(" MiB")[0])

        def eventually(condition):
            deadline = time.monotonic() + 60
            while not condition() and time.monotonic() < deadline:
                time.sleep(0.02)
            return condition()

        executor = hr.Ray(2, lookahead_bytes=64 * 2**20)
        batches = executor.map(in_workers.batch_of_16_mb, itertools.count())
        for _ in range(100):  # ten times what the store has room for
            next(batches)
        # Ray frees what is dropped when it needs the room, or about a second later.
        assert eventually(lambda: 16 <= used_mib() <= 64), "at most four are ready"
        assert "Spilled" not in summary()
        assert "filesystem" not in summary()
        executor.close()
        del batches
        assert eventually(lambda: used_mib() == 0), "nothing is left"
        print("passed")
    """)
    assert output == "passed\n"


@pytest.mark.parametrize("lost", [0, 1], ids=["at once", "though an interrupt is lost"])
def test_nothing_is_left_after_close(executor, tmp_path, lost):
    started = tmp_path / "started"

    def slow(key):
        with started.open("a") as file:
            file.write(f"{key}\n")
        interrupts = 0
        for _ in range(3000):
            try:
                time.sleep(0.1)
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > lost:
                    raise

    def workers():  # Ray has threads of its own, which it starts when it needs them
        return {thread for thread in threading.enumerate() if thread.name.startswith("headrace-")}

    before = workers()
    batches = executor.map(slow, itertools.count())
    ends = []

    def take():
        try:
            next(batches)
        except hr.ExecutorClosedError as error:
            ends.append(error)

    taking = threading.Thread(target=take)
    taking.start()
    assert eventually(lambda: started.exists() and len(started.read_text().split()) == 2)
    executor.close()
    taking.join(DEADLINE)
    assert len(ends) == 1
    assert workers() <= before
    # The tasks that ran have given their CPUs back, and no other has started.
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
    assert sorted(started.read_text().split()) == ["0", "1"]
    assert ray.is_initialized(), "Ray is not ours to end"


def test_tasks_are_cancelled_where_ctrl_c_is_ignored(run):
    """As it is by what a script runs in its background."""
    output = run("""
        import signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        folder = os.getcwd()

        def slow(key):
            open(f"{folder}/started", "w").close()
            for _ in range(3000):
                time.sleep(0.1)

        executor = hr.Ray(1)
        batches = executor.map(slow, itertools.count())
        taking = threading.Thread(target=lambda: list(batches), daemon=True)
        threading.excepthook = lambda _: None
        taking.start()
        while not os.path.exists("started"):
            time.sleep(0.05)
        executor.close()
        while ray.available_resources().get("CPU") != 1:
            time.sleep(0.1)
        print("passed")
    """)
    assert output.splitlines()[-1] == "passed"


def test_a_map_that_is_dropped_lets_its_tasks_be(executor, tmp_path):
    started = tmp_path / "started"

    def slow(key):
        with started.open("a") as file:
            file.write(f"{key}\n")
        for _ in range(3000 if key else 1):
            time.sleep(0.1)
        return key

    batches = executor.map(slow, itertools.count())
    assert next(batches) == 0
    assert eventually(lambda: len(started.read_text().split()) == 3)
    del batches
    assert list(executor.map(str, range(5))) == list("01234")


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, "exit"])
def test_a_batch_whose_worker_dies_is_made_again(executor, tmp_path, way):
    make_batch = in_workers.DiesAt(tmp_path, 7, 1, way)
    batches = list(executor.map(make_batch, range(20)))
    assert len(set(make_batch.file.read_text().split())) == 2
    assert [batch.tobytes() for batch in batches] == [
        in_workers.batch(key).tobytes() for key in range(20)
    ]


def test_a_batch_that_kills_its_workers_is_an_error_that_names_it(executor, tmp_path):
    deadly = in_workers.DiesAt(tmp_path, 8, pool._MOST_WORKERS_LOST, signal.SIGKILL)
    loader = hr.Loader(
        np.arange(200), 4, shuffle=False, transform=deadly.transform, executor=executor
    )
    batches = iter(loader)
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(hr.WorkerDiedError) as caught:
        next(batches)
    assert "the batch of epoch 0, step 2 (samples 8, 9," in str(caught.value)
    assert isinstance(caught.value.__cause__, ray.exceptions.WorkerCrashedError)
    assert [batch[0] for batch in loader] == list(range(0, 200, 4)), "it is over with dying"


def test_it_starts_ray_and_outlives_its_end(run):
    output = run("""
        executor = hr.Ray(2)
        assert not ray.is_initialized()
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        assert ray.is_initialized()
        batches = executor.map(str, itertools.count())
        next(batches)
        ray.shutdown()
        try:
            for _ in batches:
                pass
        except hr.HeadraceError as error:
            print(str(error).split(" while")[0])
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        print(*executor.map(str, range(3)))
        executor.close()
        print(ray.is_initialized())
    """)
    assert output == "Ray was shut down\n0 1 2\nTrue\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_a_forked_child_is_told_so(run, local_ray):
    script = """
        import signal
        executor = hr.Ray(2)
        batches = executor.map(str, itertools.count())
        next(batches)
        child = os.fork()
        if not child:
            signal.alarm(60)
            try:
                executor.map(str, range(3))
            except hr.HeadraceError as error:
                said = "forked from one that uses Ray" in str(error)
            try:
                for _ in batches:
                    pass
            except hr.ExecutorClosedError:
                executor.close()
                os._exit(7 if said else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(*itertools.islice(batches, 3))
        executor.close()
    """
    output = run(script, RAY_ADDRESS=local_ray)
    assert output == "1 2 3\n"
