import contextlib
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import in_workers
import numpy as np
import pytest

import headrace as hr
from headrace import Processes
from headrace.executors.lookahead import available_cpus
from headrace.executors.processes import shared_memory
from headrace.pytree import named_leaves
from headrace.testing import ExecutorContract

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE = 60

SUPPORT = Path(in_workers.__file__).parent
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system has no /proc to look into"
)


class TestProcessesContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Processes(2, lookahead_bytes=lookahead_bytes)


class TestOneProcessContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Processes(1, lookahead_bytes=lookahead_bytes)


@pytest.fixture(scope="module")
def shared():
    """Two processes for all tests that leave them whole."""
    with_two = Processes(2)
    yield with_two
    with_two.close()


@pytest.fixture
def two_processes():
    with_two = Processes(2)
    yield with_two
    with_two.close()


@pytest.fixture
def run(tmp_path):
    """A function that starts a script in a session of its own: a file, its work in `main()`."""
    processes = []
    path = [str(SUPPORT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]

    def start(script, *, top="", prefix=()):
        file = tmp_path / f"script_{len(processes)}.py"
        imports = "import gc, itertools, os, signal, sys, threading, time, multiprocessing"
        file.write_text(
            f"{imports}\n{top}\nimport numpy as np\nimport headrace as hr\nimport in_workers\n"
            f"def main():\n{textwrap.indent(textwrap.dedent(script), '    ')}\n"
            "if __name__ == '__main__':\n"
            # Shells have it ignored in what they run in the background, and so in its children.
            "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "    main()\n"
        )
        processes.append(
            subprocess.Popen(
                [*prefix, sys.executable, str(file)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def eventually(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def of_session(leader):
    """The command lines of the processes of a session, by their number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text()
    return found


def workers_of_session(leader):
    return [pid for pid, command in of_session(leader).items() if "spawn_main" in command]


def names_in_shared_memory():
    return {name for name in os.listdir("/dev/shm") if "headrace" in name}


def mapping_of(array):
    """The beginning of the mapping that the array lies in, if workers share it."""
    start = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        if first <= start and start + array.nbytes <= last and "/memfd:headrace" in line:
            return first
    return None


def notes(error):
    return "\n".join(error.__notes__)


# --- arguments -----------------------------------------------------------------------------------


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
        Processes(**arguments)
    assert said in str(caught.value)


def test_default_is_the_cpus_that_the_process_may_use():
    assert Processes().n == available_cpus()
    assert [Processes(n).lookahead_bytes // 2**20 for n in (1, 2, 6)] == [64, 64, 192]


def test_repr_is_how_it_is_made_and_what_is_pickled(two_processes):
    executor = Processes(3, lookahead_bytes=5)
    assert repr(executor) == "Processes(3, lookahead_bytes=5)"
    assert repr(pickle.loads(pickle.dumps(executor))) == "Processes(3, lookahead_bytes=5)"
    list(two_processes.map(str, range(3)))
    assert repr(pickle.loads(pickle.dumps(two_processes))) == repr(Processes(2))


# --- workers -------------------------------------------------------------------------------------


def test_nothing_is_started_before_the_first_batch_is_asked_for(two_processes):
    threads, children = set(threading.enumerate()), set(multiprocessing.active_children())
    batches = two_processes.map(str, range(3))
    loader = hr.Loader(np.arange(4), 2, executor=two_processes)
    assert set(threading.enumerate()) == threads
    assert set(multiprocessing.active_children()) == children
    assert list(batches) == ["0", "1", "2"]
    started = set(multiprocessing.active_children()) - children
    assert len(started) == 2
    assert all(process.daemon and process.name.startswith("headrace-") for process in started)
    assert len(list(loader)) == 2
    assert set(multiprocessing.active_children()) - children == started


def test_loaders_may_share_it(shared):
    outer = hr.Loader(np.arange(40), batch_size=2, shuffle=False, executor=shared)
    inner = hr.Loader(np.arange(8), batch_size=2, shuffle=False, executor=shared)
    seen = []
    for batch in outer:
        seen += batch.tolist()
        assert np.concatenate(list(inner)).tolist() == list(range(8))
    assert seen == list(range(40))


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


def test_the_data_of_a_loader_travel_once(shared, tmp_path):
    file = tmp_path / "picklings"
    counts = in_workers.CountsPicklings(str(file))
    loader = hr.Loader(
        np.arange(40), 4, executor=shared, transform=in_workers.CountedTransform(counts)
    )
    for _ in range(5):
        assert len(list(loader)) == 10
    assert len(file.read_text().split()) <= 2


# --- workers that die ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSEGV, "exit"])
def test_a_worker_that_dies_is_replaced_and_its_batch_made_again(two_processes, tmp_path, way):
    make_batch = in_workers.DiesAt(tmp_path, 7, 1, way)
    batches = list(two_processes.map(make_batch, range(20)))
    assert len(set(make_batch.file.read_text().split())) == 2
    assert [batch.tobytes() for batch in batches] == [
        in_workers.batch(key).tobytes() for key in range(20)
    ]


def test_workers_may_be_killed_at_any_time(two_processes):
    last = 0
    for key, (pid, batch) in enumerate(two_processes.map(in_workers.pid_and_batch, range(60))):
        assert batch.tobytes() == in_workers.batch(key).tobytes()
        if key % 12 == 5 and pid != last:
            os.kill(pid, signal.SIGKILL)
            last = pid
    assert key == 59


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


def test_the_batch_of_a_loader_that_kills_workers_is_named(two_processes, tmp_path):
    deadly = in_workers.DiesAt(tmp_path, 8, 2, signal.SIGKILL)
    loader = hr.Loader(
        np.arange(200), 4, shuffle=False, transform=deadly.transform, executor=two_processes
    )
    batches = iter(loader)
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(hr.WorkerDiedError, match=r"the batch of epoch 0, step 2 \(samples 8, 9,"):
        next(batches)
    assert loader.place == (0, 8)
    assert [batch[0] for batch in loader] == list(range(8, 200, 4))


def test_children_that_something_else_waits_for_do_no_harm(run):
    process = run("""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        executor = hr.Processes(2)
        for round in range(2):
            assert list(executor.map(str, range(5))) == list("01234")
            executor.close()
        for key, (pid, _) in enumerate(executor.map(in_workers.pid_and_batch, range(20))):
            if key == 3:
                os.kill(pid, signal.SIGKILL)
        executor.close()
        print("passed", key)
    """)
    assert process.communicate(timeout=DEADLINE) == ("passed 19\n", "")


# --- the end of the parent -----------------------------------------------------------------------


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
    process = run("""
        import warnings
        warnings.simplefilter("ignore")  # of a fork with threads
        batches = hr.Processes(2).map(in_workers.batch, itertools.count())
        next(batches)
        if not os.fork():
            time.sleep(1000)
        print("running", flush=True)
        time.sleep(1000)
    """)
    assert process.stdout.readline() == "running\n"
    process.kill()
    assert eventually(lambda: not workers_of_session(process.pid))


@needs_proc
def test_ctrl_c_ends_everything_without_a_word_from_workers(run):
    process = run("""
        for batch in hr.Processes(2).map(in_workers.slow_batch, itertools.count()):
            print("running", flush=True)
    """)
    assert process.stdout.readline() == "running\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
    assert eventually(lambda: not of_session(process.pid))


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
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
    assert eventually(lambda: not of_session(process.pid))


@needs_proc
def test_nothing_is_left_after_a_hundred_epochs(run, tmp_path):
    for number in range(64):
        np.save(tmp_path / f"{number}.npy", np.full(8192, number, "float32"))
    process = run(f"""
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

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

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
            sizes.append(resident())
        del batch
        loader.close()
        after = left()
        assert after == before, (before, after)
        assert max(sizes[50:]) - max(sizes[10:50]) < 8 * 2**20, sizes
        print("passed")
    """)
    assert process.communicate(timeout=2 * DEADLINE) == ("passed\n", "")


def test_many_pools_may_start_and_end_at_once(run):
    process = run("""
        def cycle():
            for _ in range(3):
                executor = hr.Processes(1)
                right.append(list(executor.map(str, range(3))) == ["0", "1", "2"])
                executor.close()

        right = []
        threads = [threading.Thread(target=cycle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 12
        assert not multiprocessing.active_children()
        print("passed")
    """)
    assert process.communicate(timeout=DEADLINE) == ("passed\n", "")


def test_an_exit_amid_an_epoch_is_quiet(run):
    process = run("""
        batches = hr.Processes(2).map(in_workers.batch, itertools.count())
        next(batches)
        print("passed")
    """)
    assert process.communicate(timeout=DEADLINE) == ("passed\n", "")


# --- memory --------------------------------------------------------------------------------------


@needs_proc
def test_a_batch_is_not_copied_and_its_memory_used_again_when_no_view_is_left(two_processes):
    kept, mappings = [], set()
    for key, batch in enumerate(two_processes.map(in_workers.batch_of_16_mb, range(60))):
        mappings.add(mapping_of(batch))
        if key % 12 == 0:
            kept.append((key, batch.reshape(4, -1)[::2]))
    assert None not in mappings
    assert all((view == in_workers.batch_of_16_mb(key)[0]).all() for key, view in kept)
    # Those that are kept; and for each worker, which may at one time have made all that is ahead,
    # the look-ahead of 64 MiB, one in use, one being made, and one that it was not yet told of.
    assert len(mappings) <= 5 + 2 * (4 + 3)


@needs_proc
def test_slots_are_used_again(two_processes):
    mappings = set()
    for _ in range(4):
        batches = two_processes.map(in_workers.batch, range(100))
        mappings |= {mapping_of(batch) for batch in batches}
    assert None not in mappings
    assert len(mappings) <= 160  # 80 for each worker


@needs_proc
def test_a_consumer_that_kept_many_batches_gets_shared_memory_again(two_processes):
    kept = list(two_processes.map(in_workers.batch, range(200)))
    # 80 slots for each worker, of which one may be too late to make any.
    assert 80 <= sum(mapping_of(batch) is not None for batch in kept) <= 160
    assert all(batch.tobytes() == in_workers.batch(key).tobytes() for key, batch in enumerate(kept))
    kept.clear()
    list(two_processes.map(in_workers.batch, range(200)))
    again = two_processes.map(in_workers.batch, range(50))
    assert all(mapping_of(batch) is not None for batch in again)


def test_a_consumer_may_keep_all_batches_with_few_descriptors(run):
    process = run("""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        kept = list(hr.Processes(2).map(in_workers.batch, range(400)))
        assert all(np.array_equal(batch, in_workers.batch(key)) for key, batch in enumerate(kept))
        print("passed")
    """)
    assert process.communicate(timeout=DEADLINE) == ("passed\n", "")


@pytest.mark.parametrize("make", [in_workers.growing_batch, in_workers.mixed_batch])
def test_batches_may_differ_in_size(shared, make):
    kept = []
    for key, batch in enumerate(shared.map(make, range(60))):
        assert np.array_equal(batch, make(key))
        assert batch.ctypes.data % 64 == 0
        if key % 4 == 0:
            kept.append((key, batch))
    assert all(np.array_equal(batch, make(key)) for key, batch in kept)


def test_batches_arrive_as_they_were_made(shared):
    for key, batch in enumerate(shared.map(in_workers.every_kind, range(6))):
        expected = dict(named_leaves(in_workers.every_kind(key)))
        arrived = dict(named_leaves(batch))
        assert list(arrived) == list(expected)
        assert type(batch["nested"][0]) is in_workers.Pair
        assert type(batch["ordered"]).__name__ == "OrderedDict"
        for name, array in expected.items():
            assert type(arrived[name]) is type(array), name
            if not isinstance(array, np.ndarray):
                assert arrived[name] == array, name
                continue
            assert arrived[name].dtype == array.dtype, name
            assert arrived[name].shape == array.shape, name
            assert arrived[name].flags.writeable == array.flags.writeable, name
            assert (arrived[name] == array).all(), name
            if array.dtype.kind not in "OM":
                assert arrived[name].ctypes.data % 64 == 0, name
        assert batch["fortran"].flags.f_contiguous


def test_a_large_str_arrives(shared):
    assert list(shared.map(in_workers.big_str, range(3))) == list(map(in_workers.big_str, range(3)))


def test_look_ahead_that_does_not_fit_is_refused():
    executor = Processes(1, lookahead_bytes=2**50)
    with pytest.raises(hr.SharedMemoryError, match="Pass a smaller lookahead_bytes to Processes"):
        next(executor.map(str, range(3)))
    assert isinstance(hr.SharedMemoryError(), MemoryError)


@needs_proc
def test_memory_of_a_container_is_what_its_cached_files_do_not_need(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{300 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{290 * 2**20}\n")
    stat = f"anon 1\nactive_file {2**20}\nworkingset_activate_file 5\ninactive_file {100 * 2**20}\n"
    (tmp_path / "memory.stat").write_text(stat)
    shared_memory.check_free(111 * 2**20, "It")
    with pytest.raises(hr.SharedMemoryError, match=f"memory has {111 * 2**20} left"):
        shared_memory.check_free(111 * 2**20 + 1, "It")
    (tmp_path / "memory.max").write_text("max\n")
    shared_memory.check_free(111 * 2**20 + 1, "It")


def test_a_small_shared_memory_folder_is_named(run):
    prefix = ["unshare", "--mount", "sh", "-c",
              'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh"]  # fmt: skip
    try:
        allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        allowed = 1
    if allowed != 0:
        pytest.skip("this user may not mount a smaller /dev/shm")
    process = run(
        """
        try:
            next(hr.Processes(2, lookahead_bytes=2**27).map(in_workers.batch, range(3)))
        except hr.SharedMemoryError as error:
            assert "/dev/shm has 67108864 left" in str(error), error
            assert "lookahead_bytes" in str(error) and "--shm-size" in str(error)
        else:
            raise AssertionError
        executor = hr.Processes(2, lookahead_bytes=20 * 2**20)
        for key, batch in enumerate(executor.map(in_workers.batch, range(200))):
            assert np.array_equal(batch, in_workers.batch(key))
        kept = []
        try:
            kept.extend(executor.map(in_workers.batch_of_16_mb, range(10)))
        except hr.SharedMemoryError as error:
            assert "/dev/shm" in str(error)
        else:
            raise AssertionError
        assert kept
        assert all((batch == key).all() for key, batch in enumerate(kept))
        print(os.listdir("/dev/shm"))
        executor.close()
        """,
        top="del os.memfd_create",
        prefix=prefix,
    )
    assert process.communicate(timeout=DEADLINE) == ("[]\n", "")


def test_memory_without_memfd_has_no_name(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    before = names_in_shared_memory()
    file = shared_memory.create(10_000)
    assert names_in_shared_memory() == before
    one, other = (shared_memory.attach(os.dup(file), 10_000) for _ in range(2))
    os.close(file)
    one[5] = 7
    assert other[5] == 7


# --- what can't travel ---------------------------------------------------------------------------


def test_a_function_that_cannot_be_pickled_is_an_error_with_the_remedy(shared):
    number = 3
    for function in (lambda key: key, lambda key: key + number):
        with pytest.raises((pickle.PicklingError, AttributeError)) as caught:
            next(shared.map(function, range(3)))
        assert "must be at the top level of a module" in notes(caught.value)
        assert "Or use Threads" in notes(caught.value)
    loader = hr.Loader(np.arange(4), 2, transform=lambda batch, rng: batch, executor=shared)
    with pytest.raises((pickle.PicklingError, AttributeError)) as caught:
        next(iter(loader))
    assert "must be at the top level of a module" in notes(caught.value)
    assert list(shared.map(str, range(3))) == ["0", "1", "2"]


def test_a_function_of_a_module_that_workers_do_not_find_is_an_error(shared, tmp_path, monkeypatch):
    (tmp_path / "module_to_vanish.py").write_text("def f(key):\n    return key\n")
    monkeypatch.syspath_prepend(tmp_path)
    import module_to_vanish

    (tmp_path / "module_to_vanish.py").unlink()
    with pytest.raises(ModuleNotFoundError, match="module_to_vanish") as caught:
        next(shared.map(module_to_vanish.f, range(3)))
    assert "that the workers can import" in notes(caught.value)
    del sys.modules["module_to_vanish"]


def test_a_function_of_a_main_without_a_file_is_an_error_with_the_remedy():
    script = """
import headrace as hr
def f(key):
    return key
list(hr.Processes(1).map(f, range(3)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert "AttributeError: Can't get attribute 'f'" in done.stderr
    assert "not in a notebook or an interactive session" in done.stderr


def test_a_script_without_a_guard_ends_with_the_remedy(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import headrace as hr\nprint(list(hr.Processes(1).map(str, range(3))), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "headrace.errors.WorkerDiedError: worker processes die before they can begin" in (
        done.stderr
    )
    assert "below 'if __name__ == \"__main__\":'" in done.stderr


@pytest.mark.parametrize("error", [ImportError, FileNotFoundError, EOFError, SystemExit])
def test_a_result_that_cannot_be_loaded_is_an_error_at_its_turn(shared, error):
    with pytest.raises(error) as caught:
        next(shared.map(in_workers.foreign, [error]))
    assert "while taking over what a worker process has made" in notes(caught.value)


@pytest.mark.parametrize("error", [ImportError, FileNotFoundError, EOFError, SystemExit])
def test_an_error_that_cannot_be_loaded_is_told_by_its_traceback(shared, error):
    children = set(multiprocessing.active_children())
    with pytest.raises(error) as caught:
        next(shared.map(in_workers.raise_foreign, [error]))
    assert "in raise_foreign" in notes(caught.value)
    assert set(multiprocessing.active_children()) >= children


def test_an_error_that_cannot_be_pickled_is_told_by_another(shared):
    with pytest.raises(hr.HeadraceError, match=r"ErrorWithoutPickle: bad 0\na note") as caught:
        next(shared.map(in_workers.raise_without_pickle, range(3)))
    assert "in raise_without_pickle" in notes(caught.value)
    with pytest.raises(hr.HeadraceError, match="ErrorWithoutWords"):
        next(shared.map(in_workers.raise_without_words, range(3)))


def test_the_traceback_and_cause_of_an_error_are_in_its_notes(shared):
    with pytest.raises(KeyError) as caught:
        next(shared.map(in_workers.raise_below, range(3)))
    assert "ZeroDivisionError: the cause" in notes(caught.value)
    assert "in raise_below" in notes(caught.value)


def test_processes_within_a_worker_are_an_error_that_says_so(shared):
    with pytest.raises(hr.HeadraceError, match="Use Inline or Threads there"):
        next(shared.map(in_workers.map_in_worker, [range(3)]))


# --- closing -------------------------------------------------------------------------------------


def test_close_lets_a_waiting_consumer_go(two_processes):
    outcome = []

    def consume():
        try:
            outcome.extend(two_processes.map(in_workers.slow_batch, itertools.count()))
        except BaseException as error:
            outcome.append(error)

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    assert eventually(multiprocessing.active_children)
    two_processes.close()
    consumer.join(DEADLINE)
    assert isinstance(outcome[-1], hr.ExecutorClosedError)


def test_views_outlive_the_executor(two_processes):
    batches = two_processes.map(in_workers.batch, range(5))
    kept = [next(batches)[7:] for _ in range(3)]
    two_processes.close()
    del batches
    gc.collect()
    list(two_processes.map(in_workers.batch, range(100, 110)))
    two_processes.close()
    assert all(np.array_equal(kept[key], in_workers.batch(key)[7:]) for key in range(3))


def test_a_signal_handler_may_close_it_at_any_moment(run):
    process = run("""
        executor = hr.Processes(1)
        signal.signal(signal.SIGALRM, lambda *_: executor.close())
        for attempt in range(12):
            batches = executor.map(str, itertools.count())
            next(batches)
            signal.setitimer(signal.ITIMER_REAL, 0.001 * (attempt + 1))
            try:
                for _ in batches:
                    pass
            except hr.ExecutorClosedError:
                continue
        print("passed")
    """)
    assert process.communicate(timeout=DEADLINE) == ("passed\n", "")


def test_a_map_goes_wrong_for_the_reason_and_not_because_it_is_closed(run):
    process = run("""
        import resource
        executor = hr.Processes(1)
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        kept = []
        try:
            for batch in executor.map(in_workers.batch, range(100)):
                kept.append(batch)
        except hr.SharedMemoryError as error:
            assert "raise the limit (ulimit -n)" in str(error)
        assert 0 < len(kept) < 40
        del kept, batch
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        executor.close()
        print("passed")
    """)
    assert process.communicate(timeout=DEADLINE) == ("passed\n", "")


def test_copying_to_shared_memory_counts_as_handing_over(shared):
    loader = hr.Loader(np.zeros((64, 2**17)), batch_size=16, executor=shared)
    list(loader)
    stats = loader.stats()
    assert stats.batches == 4
    assert 0 < stats.handing_over_s < stats.elapsed_s * 2
