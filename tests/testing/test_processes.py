"""The processes that contracts keep do what they are told, tell what goes wrong, and end."""

import atexit
import multiprocessing
import operator
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tied_to_a_process

import headrace as hr
from headrace.testing import ExecutorContract, ReaderContract, processes

needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="this system has no /proc to look into"
)
METHODS = [method for method in processes.START_METHODS if method != "fork"]
SAMPLES = ReaderContract().make_samples(8, (3, 4), "float32")


@pytest.fixture(scope="module")
def kept():
    children = set(multiprocessing.active_children())
    kept = processes.KeptProcesses()
    yield kept
    kept.end()
    assert set(multiprocessing.active_children()) <= children


@pytest.mark.parametrize("method", METHODS)
def test_one_process_serves_all_calls(kept, method):
    pids = {kept.call(os.getpid, method=method) for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids
    array = np.arange(5)
    assert (kept.call(operator.add, array, 1, method=method) == array + 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_it_has_the_path_the_folder_and_the_environment_of_the_present(
    kept, method, tmp_path, monkeypatch
):
    kept.call(os.getpid, method=method)
    (tmp_path / "found_later.py").write_text("def function():\n    return 'found'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOUND_LATER", "as well")
    import found_later

    assert kept.call(found_later.function, method=method) == "found"
    assert kept.call(os.getcwd, method=method) == str(tmp_path)
    assert kept.call(os.getenv, "FOUND_LATER", method=method) == "as well"
    monkeypatch.undo()
    assert kept.call(os.getenv, "FOUND_LATER", method=method) is None
    del sys.modules["found_later"]


def test_an_error_fails_the_call_with_its_traceback_and_not_the_process(kept):
    pid = kept.call(os.getpid)
    for function, arguments, said in [
        (operator.truediv, (1, 0), "ZeroDivisionError"),
        (sys.exit, (3,), "SystemExit: 3"),
        (tied_to_a_process.function_of, (1,), "pickle"),  # a result that can't travel
        (len, (tied_to_a_process.LoadsOnlyAtHome(SAMPLES),), "OSError: not here"),
    ]:
        with pytest.raises(AssertionError, match=said):
            kept.call(function, *arguments)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        kept.call(len, lambda: None)
    assert kept.call(os.getpid) == pid


@needs_proc
@pytest.mark.parametrize("method", METHODS)
def test_one_that_dies_fails_the_call_and_is_replaced(kept, method):
    pid = kept.call(os.getpid, method=method)
    with pytest.raises(AssertionError, match="_exit ends its process with exit code 7"):
        kept.call(os._exit, 7, method=method)
    replaced = kept.call(os.getpid, method=method)
    assert replaced != pid
    os.kill(replaced, signal.SIGKILL)  # between two calls
    assert processes.eventually(lambda: _is_waited_for(replaced))
    assert kept.call(os.getpid, method=method) not in (pid, replaced)


def test_one_that_hangs_fails_the_call_and_is_replaced(kept, monkeypatch):
    pid = kept.call(os.getpid)
    monkeypatch.setattr(processes, "DEADLINE_SECONDS", 0.1)
    with pytest.raises(AssertionError, match="sleep hangs"):
        kept.call(time.sleep, 1000)
    monkeypatch.undo()
    assert not _runs(pid)
    assert kept.call(os.getpid) != pid


def test_one_that_crashes_at_its_end_fails():
    kept = processes.KeptProcesses()
    kept.call(atexit.register, os._exit, 5)
    with pytest.raises(AssertionError, match=r"do not end well: {'spawn': 5}"):
        kept.end()
    kept.end()  # nothing is left to be ended


@needs_proc
def test_it_ends_with_a_parent_that_ends_or_is_killed():
    assert not _runs(processes.in_new_process(tied_to_a_process.keep_a_process))
    parent = processes.KeptProcesses()
    pid = parent.call(tied_to_a_process.keep_a_process)
    assert _runs(pid)
    os.kill(parent.call(os.getpid), signal.SIGKILL)
    assert processes.eventually(lambda: not _runs(pid))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (tied_to_a_process.WrongInAnotherProcess, None),
        (tied_to_a_process.LoadsOnlyAtHome, "OSError: not here"),
        (tied_to_a_process.EndsAnotherProcess, "exit code 3"),
    ],
)
def test_a_reader_that_does_not_work_in_another_process_is_found(kept, method, broken, said):
    contract = ReaderContract()
    good = tied_to_a_process.WrongInAForkedChild(SAMPLES)
    contract.test_works_in_another_process(good, SAMPLES, kept, method)
    with pytest.raises(AssertionError, match=said):
        contract.test_works_in_another_process(broken(SAMPLES), SAMPLES, kept, method)


@processes.needs_fork
def test_a_reader_that_does_not_work_in_a_forked_child_is_found(kept):
    contract = ReaderContract()
    contract.test_works_in_a_forked_child(tied_to_a_process.Good(SAMPLES), SAMPLES, kept)
    broken = tied_to_a_process.WrongInAForkedChild(SAMPLES)
    with pytest.raises(AssertionError):
        contract.test_works_in_a_forked_child(broken, SAMPLES, kept)


@processes.needs_fork
def test_an_executor_that_does_not_work_in_a_forked_child_is_found(kept):
    contract = ExecutorContract()
    contract.test_a_new_map_works_in_a_forked_child(hr.Threads(2), kept)
    with pytest.raises(AssertionError, match="HeadraceError: not here"):
        contract.test_a_new_map_works_in_a_forked_child(
            tied_to_a_process.RefusesInAForkedChild(2), kept
        )


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_waited_for(pid):
    multiprocessing.active_children()  # which waits for those that have ended
    return not os.path.exists(f"/proc/{pid}")
