"""Ray on one node: the contract of executors, the law, errors, and what is left behind."""

import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import in_workers
import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="needs headrace[ray]")

from picklable import noisy_x

import headrace as hr
from headrace.executors.ray import pool as ray_pool
from headrace.executors.ray import task as ray_task
from headrace.pytree import leaves
from headrace.testing import ExecutorContract

# For what takes seconds at most: only something that hangs takes longer.
DEADLINE = 60
STORE_BYTES = 200 * 2**20


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    with pytest.MonkeyPatch.context() as patch:
        # So that the workers find the modules of tests/support.
        patch.setenv("PYTHONPATH", str(Path(in_workers.__file__).parent), prepend=os.pathsep)
        ray.init(
            num_cpus=2,
            resources={"own": 1},
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
        )
    yield
    ray.shutdown()


@pytest.fixture
def executor():
    executor = hr.Ray(2)
    yield executor
    executor.close()


def eventually(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def free_bytes():
    return ray.available_resources().get("object_store_memory", 0)


def as_bytes(batch):
    return [(leaf.shape, leaf.dtype.str, leaf.tobytes()) for leaf in leaves(batch)]


class TestRayContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return hr.Ray(2, lookahead_bytes=lookahead_bytes)

    def running(self):
        # Ray has threads of its own, which it starts when it needs them.
        return {thread for thread in threading.enumerate() if thread.name.startswith("headrace-")}

    def test_a_new_map_works_in_a_forked_child(self):
        """It does not: see test_a_forked_child_is_told_so."""

    def test_a_running_map_does_not_keep_the_interpreter_from_ending(self, run):
        output = run("""
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
            batches = hr.Ray(2).map(str, itertools.count())
            print(next(batches), threading.active_count() > 1)
        """)
        assert output == "0 True\n"


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n must be an int from 1 to 1024, but 0 was given"),
        ({"n": 2.0}, "n must be an int, but a float was given"),
        ({"lookahead_bytes": -1}, "lookahead_bytes must be an int from 0"),
        ({"max_retries": 3}, "max_retries must be left out, but 3 was given. headrace has"),
        ({"num_returns": 2}, "num_returns must be left out, but 2 was given"),
        ({"cpus": 2}, "options must be those of a task of Ray, but {'cpus': 2} were given. Inv"),
        ({"num_cpus": -1}, "but {'num_cpus': -1} were given. The quantity of resource num_cpus"),
        ({"num_cpus": "1"}, "but {'num_cpus': '1'} were given. The type of keyword 'num_cpus'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        hr.Ray(**arguments)
    assert said in str(caught.value)


def test_defaults_are_of_the_cluster():
    executor = hr.Ray()
    executor.map(str, [])
    assert executor.n == 2
    assert executor.lookahead_bytes == 64 * 2**20
    many = hr.Ray(100)
    many.map(str, [])
    assert many.lookahead_bytes == STORE_BYTES // 2


def test_repr_is_how_it_is_made_and_what_is_pickled():
    for executor in (hr.Ray(), hr.Ray(3, lookahead_bytes=5, num_cpus=0.5)):
        list(executor.map(str, range(3)))
        assert repr(pickle.loads(pickle.dumps(executor))) == repr(executor)
        executor.close()
    assert repr(hr.Ray()) == "Ray()"
    assert repr(executor) == "Ray(3, lookahead_bytes=5, num_cpus=0.5)"


def test_look_ahead_that_the_object_store_cannot_hold_is_refused():
    with pytest.raises(hr.SharedMemoryError) as caught:
        hr.Ray(lookahead_bytes=STORE_BYTES + 1).map(str, [])
    for part in (f"takes {STORE_BYTES + 1} bytes", f"has {STORE_BYTES}", "object_store_memory"):
        assert part in str(caught.value)


def test_resources_that_no_node_has_are_told_and_waiting_for_them_can_be_ended():
    executor = hr.Ray(2, resources={"unheard of": 1})
    batches = executor.map(str, range(3))
    closing = threading.Timer(1.0, executor.close)
    closing.start()
    with (
        pytest.warns(UserWarning, match=r"no node .* has {'CPU': 1, 'unheard of': 1}, so no batch"),
        pytest.raises(hr.ExecutorClosedError),
    ):
        next(batches)
    closing.join(DEADLINE)
    assert not closing.is_alive()


def test_options_are_those_of_the_tasks():
    executor = hr.Ray(1, runtime_env={"env_vars": {"ROOM": "tailrace"}}, resources={"own": 1})

    def told(key):
        return os.environ["ROOM"], ray.get_runtime_context().get_assigned_resources()["own"]

    assert list(executor.map(told, [0])) == [("tailrace", 1)]
    executor.close()


def test_without_ray_the_extra_to_install_is_told():
    script = """
import sys
sys.modules["ray"] = None  # as if it were not installed
import headrace as hr
try:
    hr.Ray()
except hr.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert "pip install 'headrace[ray]'" in done.stdout, done.stderr


def test_importing_headrace_does_not_import_ray():
    script = "import sys, headrace; print('ray' in sys.modules, headrace.Ray.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False Ray\n", done.stderr


# --- the law -------------------------------------------------------------------------------------


def make_loader(**options):
    source = {"x": np.arange(26 * 6, dtype="float32").reshape(26, 2, 3), "y": np.arange(26)}
    return hr.Loader(source, batch_size=4, **{"seed": 3, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False, "tail": "partial"},
        {"tail": "pad"},
        {"rank": 1, "world_size": 2},
        {"transform": hr.per_sample(noisy_x)},
    ],
    ids=str,
)
def test_batches_are_those_of_inline_in_each_epoch(executor, options):
    inline = make_loader(executor=hr.Inline(), **options)
    expected = [[as_bytes(batch) for batch in inline] for _ in range(3)]
    loader = make_loader(executor=executor, **options)
    assert [[as_bytes(batch) for batch in loader] for _ in range(3)] == expected


def test_states_go_from_one_executor_to_another(executor):
    expected = [as_bytes(batch) for batch in make_loader(executor=hr.Inline())]
    for first, second in ((executor, hr.Inline()), (hr.Threads(2), executor)):
        before, after = make_loader(executor=first), make_loader(executor=second)
        taken = [as_bytes(batch) for batch in itertools.islice(before, 3)]
        after.load_state_dict(before.state_dict())
        assert taken + [as_bytes(batch) for batch in after] == expected
        before.close()


def test_every_kind_of_array_arrives_as_it_was_made(executor):
    for key, made in enumerate(executor.map(in_workers.every_kind, range(3))):
        expected = in_workers.every_kind(key)
        objects, expected_objects = made.pop("objects"), expected.pop("objects")
        assert objects.tolist() == expected_objects.tolist()
        nested, expected_nested = made.pop("nested"), expected.pop("nested")
        assert type(nested[0]) is in_workers.Pair
        assert nested[1] == expected_nested[1]
        assert as_bytes(made) == as_bytes(expected)


# --- functions, memory ---------------------------------------------------------------------------


def test_a_function_is_pickled_once_and_a_loader_put_once(executor, tmp_path):
    file = tmp_path / "picklings"
    function = in_workers.CountsPicklings(str(file))
    for _ in range(3):
        assert len(list(executor.map(function, range(8)))) == 8
    assert file.read_text() == "pickled\n"
    counted = in_workers.CountedTransform(in_workers.CountsPicklings(str(file)))
    loader = hr.Loader(np.arange(40), 4, executor=executor, transform=counted)
    for _ in range(3):
        assert len(list(loader)) == 10
    assert file.read_text() == "pickled\n" * 2


def test_a_worker_loads_a_function_once(tmp_path):
    file = tmp_path / "loadings"

    class CountsLoadings:
        def __init__(self, file):
            self.file = file

        def __setstate__(self, state):
            self.__dict__ = state
            with open(self.file, "a") as opened:
                opened.write(f"{os.getpid()}\n")

        def __call__(self, key):
            return key

    executor = hr.Ray(1)
    function = CountsLoadings(file)
    assert list(executor.map(function, range(20))) == list(range(20))
    loadings = file.read_text().split()
    assert len(loadings) == len(set(loadings))
    executor.close()


def test_a_function_that_is_dropped_leaves_the_object_store(executor):
    class Large:
        def __init__(self):
            self.data = np.zeros(50_000_000, np.uint8)

        def __call__(self, key):
            return key

    held = Large()
    full = free_bytes()
    assert list(executor.map(held, range(4))) == list(range(4))
    assert eventually(lambda: free_bytes() <= full - 40_000_000)
    del held
    gc.collect()
    # Workers keep the last few that they have loaded.
    for _ in range(ray_task._MOST_FUNCTIONS):
        another = in_workers.CountedTransform(None)
        list(executor.map(lambda key, kept=another: key, range(8)))
    assert eventually(lambda: free_bytes() > full - 10_000_000)


def test_arrays_are_read_only_aligned_and_keep_their_memory(executor):
    batches = executor.map(in_workers.batch_of_16_mb, itertools.count())
    first, second = next(batches), next(batches)
    view = first[5:10]
    assert not first.flags.writeable
    assert first.ctypes.data % 64 == 0
    del first
    for _ in range(30):
        next(batches)
    assert view.tolist() == [0] * 5
    assert (second == 1).all()


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
        assert eventually(lambda: used_mib() == 64), "four are ready, without being asked for"
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

    threads = set(threading.enumerate())
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
    assert set(threading.enumerate()) <= threads
    # The tasks that ran have given their CPUs back, and no other has begun.
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


# --- failures ------------------------------------------------------------------------------------


def test_a_failure_has_its_type_its_notes_and_names_the_batch(executor):
    class Unknown(Exception):
        pass

    def fails(samples, rng):
        if 9 in samples:
            raise Unknown("no such thing")
        return samples

    loader = hr.Loader(np.arange(40), 4, shuffle=False, executor=executor, transform=fails)
    batches = iter(loader)
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(Unknown, match="no such thing") as caught:
        next(batches)
    notes = "\n".join(caught.value.__notes__)
    assert "the batch of epoch 0, step 2 (samples 8, 9, 10, 11)" in notes
    assert "raised in a worker process" in notes
    assert "in fails" in notes
    assert loader.place == (0, 8)


def test_an_error_that_cannot_be_pickled_is_told_by_another(executor):
    def fails(key):
        error = ValueError(f"bad {key}")
        error.lock = threading.Lock()
        raise error

    with pytest.raises(hr.HeadraceError, match="ValueError: bad 0"):
        list(executor.map(fails, range(3)))


def test_a_function_that_cannot_be_pickled_is_an_error_with_the_remedy(executor):
    lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle") as caught:
        list(executor.map(lambda key: lock, range(3)))
    assert "Ray sends the readers and the transform" in "\n".join(caught.value.__notes__)


def test_a_function_that_the_workers_cannot_import_is_an_error_with_the_remedy(
    executor, tmp_path, monkeypatch
):
    (tmp_path / "only_here.py").write_text("def function(key):\n    return key\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    with pytest.raises(ModuleNotFoundError, match="only_here") as caught:
        list(executor.map(only_here.function, range(3)))
    assert "working_dir" in "\n".join(caught.value.__notes__)
    del sys.modules["only_here"]


def test_workers_without_headrace_are_an_error_that_tells_what_they_need(tmp_path):
    (tmp_path / "headrace.py").write_text("raise ImportError('there is none')\n")
    with_env = hr.Ray(1, runtime_env={"env_vars": {"PYTHONPATH": str(tmp_path)}})
    with pytest.raises(hr.HeadraceError, match="Each node must have headrace") as caught:
        list(with_env.map(str, range(3)))
    assert "there is none" in str(caught.value.__cause__)
    with_env.close()


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, "exit"])
def test_a_batch_whose_worker_dies_is_made_again(executor, tmp_path, way):
    make_batch = in_workers.DiesAt(tmp_path, 7, 1, way)
    batches = list(executor.map(make_batch, range(20)))
    assert len(set(make_batch.file.read_text().split())) == 2
    assert [batch.tobytes() for batch in batches] == [
        in_workers.batch(key).tobytes() for key in range(20)
    ]


def test_a_batch_that_kills_its_workers_is_an_error_that_names_it(executor, tmp_path):
    deadly = in_workers.DiesAt(tmp_path, 8, ray_pool._MOST_WORKERS_LOST, signal.SIGKILL)
    loader = hr.Loader(
        np.arange(200), 4, shuffle=False, transform=deadly.transform, executor=executor
    )
    batches = iter(loader)
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(hr.WorkerDiedError) as caught:
        next(batches)
    assert "the batch of epoch 0, step 2 (samples 8, 9," in str(caught.value)
    assert isinstance(caught.value.__cause__, ray.exceptions.WorkerCrashedError)
    assert [batch[0] for batch in loader] == list(range(8, 200, 4)), "it is over with dying"


# --- Ray itself, processes -----------------------------------------------------------------------


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
def test_a_forked_child_is_told_so(run):
    output = run("""
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
    """)
    assert output == "1 2 3\n"


def test_a_transform_of_the_main_module_and_its_classes_work(run):
    output = run("""
        import collections
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        global Pair
        Pair = collections.namedtuple("Pair", "left right")
        Pair.__module__ = "__main__"
        def paired(x, rng):
            return Pair(x, -x)
        with hr.Loader(np.arange(8), 2, shuffle=False, transform=paired, executor=hr.Ray()) as l:
            for batch in l:
                assert type(batch) is Pair, type(batch)
        print(batch.right.tolist())
    """)
    assert output == "[-6, -7]\n"


# --- frameworks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_torch_gets_tensors_that_may_be_written_to(executor, tail):
    torch = pytest.importorskip("torch")
    expected = list(make_loader(executor=hr.Inline(), tail=tail).to_torch())
    for batch, same in zip(
        make_loader(executor=executor, tail=tail).to_torch(), expected, strict=True
    ):
        for tensor, other in zip(leaves(batch), leaves(same), strict=True):
            assert torch.equal(tensor, other)
            tensor += 1
