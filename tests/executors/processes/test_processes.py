"""Processes as a user sees it: the contract, loaders, and scripts that are written wrongly."""

import multiprocessing
import pickle
import signal
import sys
import threading

import in_workers
import numpy as np
import pytest
from other_python import run_python

import headrace as hr
from headrace import Processes
from headrace.testing import ExecutorContract


def notes(error):
    return "\n".join(error.__notes__)


class TestProcessesContract(ExecutorContract):
    def make_executor(self, lookahead_bytes):
        return Processes(2, lookahead_bytes=lookahead_bytes)


def test_nothing_is_started_before_the_first_batch_is_asked_for(two_processes):
    threads, children = set(threading.enumerate()), set(multiprocessing.active_children())
    batches = two_processes.map(str, range(3))
    loader = hr.Loader(np.arange(4), 2, executor=two_processes)
    # Those of other tests may be ending.
    assert set(threading.enumerate()) <= threads
    assert set(multiprocessing.active_children()) <= children
    assert list(batches) == ["0", "1", "2"]
    started = set(multiprocessing.active_children()) - children
    assert len(started) == 2
    assert all(process.daemon and process.name.startswith("headrace-") for process in started)
    assert len(list(loader)) == 2
    assert set(multiprocessing.active_children()) - children == started


def test_the_data_of_a_loader_travel_once(shared, tmp_path):
    file = tmp_path / "picklings"
    counts = in_workers.CountsPicklings(str(file))
    loader = hr.Loader(
        np.arange(40), 4, executor=shared, transform=in_workers.CountedTransform(counts)
    )
    for _ in range(5):
        assert len(list(loader)) == 10
    assert len(file.read_text().split()) <= 2


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
    loader.load_state_dict(loader.state_dict())
    assert [batch[0] for batch in loader] == list(range(8, 200, 4))


def test_copying_to_shared_memory_counts_as_handing_over(shared):
    loader = hr.Loader(np.zeros((64, 2**17)), batch_size=16, executor=shared)
    list(loader)
    stats = loader.stats()
    assert stats.batches == 4
    assert 0 < stats.handing_over_s < stats.elapsed_s * 2


def test_look_ahead_that_does_not_fit_is_refused():
    executor = Processes(1, lookahead_bytes=2**50)
    with pytest.raises(hr.SharedMemoryError, match="Pass a smaller lookahead_bytes to Processes"):
        next(executor.map(str, range(3)))
    assert isinstance(hr.SharedMemoryError(), MemoryError)


def test_processes_within_a_worker_are_an_error_that_says_so(shared):
    with pytest.raises(hr.HeadraceError, match="Use Inline or Threads there"):
        next(shared.map(in_workers.map_in_worker, [range(3)]))


def test_a_function_that_cannot_be_pickled_is_an_error_with_the_remedy(shared, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)  # as if it were not installed
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


def test_a_function_that_needs_cloudpickle_works_where_it_is_there(shared):
    pytest.importorskip("cloudpickle", reason="needs headrace[notebook]")
    number = 3
    assert list(shared.map(lambda key: key + number, range(3))) == [3, 4, 5]
    lock = threading.Lock()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)) as caught:
        next(shared.map(lambda key: lock, range(3)))
    assert "Or use Threads" in notes(caught.value)
    assert "cloudpickle fails, too: TypeError: cannot pickle '_thread.lock'" in notes(caught.value)


OF_MAIN = """
import sys
import headrace as hr
import numpy as np
if {without}:
    sys.modules["cloudpickle"] = None
class Wrong(Exception):
    pass
def doubled(batch, rng):
    return batch * factor()
def factor():
    return 2
def wrong(batch, rng):
    raise Wrong("of main")
options = dict(batch_size=2, shuffle=False, executor=hr.Processes(1))
print([batch.tolist() for batch in hr.Loader(np.arange(4), transform=doubled, **options)])
try:
    next(iter(hr.Loader(np.arange(4), transform=wrong, **options)))
except Wrong as error:
    print("caught", error)
"""


def test_a_function_of_a_main_without_a_file_is_an_error_with_the_remedy():
    done = run_python("-c", OF_MAIN.format(without=True))
    assert done.returncode == 1
    assert "AttributeError: Can't get attribute 'doubled'" in done.stderr
    assert "there they need cloudpickle: pip install 'headrace[notebook]'" in done.stderr


def test_functions_and_errors_of_a_main_without_a_file_work_with_cloudpickle():
    pytest.importorskip("cloudpickle", reason="needs headrace[notebook]")
    done = run_python("-c", OF_MAIN.format(without=False))
    assert done.stdout == "[[0, 2], [4, 6]]\ncaught of main\n", done.stderr


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_script_from_stdin_is_told_to_be_saved_as_a_file(arguments):
    done = run_python(*arguments, input=OF_MAIN.format(without=False))
    assert (done.returncode, done.stdout) == (1, "")
    assert "a script that was read from <stdin>" in done.stderr
    assert "Save it as a file, with its work below 'if __name__" in done.stderr


def test_a_script_without_a_guard_ends_with_the_remedy(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import headrace as hr\nprint(list(hr.Processes(1).map(str, range(3))), flush=True)\n"
    )
    done = run_python(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert "headrace.errors.WorkerDiedError: worker processes die before they can begin" in (
        done.stderr
    )
    assert "below 'if __name__ == \"__main__\":'" in done.stderr
