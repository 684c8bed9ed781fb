"""Samples that processes share: in memory and in a folder, at once, and killed in the midst."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cached_samples import SAMPLES, Logged, N, killed_at_each_write, logged, read_all
from cached_samples import read_in_a_fork as in_a_fork
from reading import read

import headrace as hr
from headrace.testing.processes import START_METHODS, kept_processes, needs_fork

needs_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux")


@pytest.fixture
def processes(request):
    return kept_processes(request)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture(params=["memory", "folder"])
def folder(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "kept"


@needs_linux
@pytest.mark.parametrize("method", [m for m in START_METHODS if m != "fork"])
def test_what_another_process_has_read_is_not_read_again(log, folder, processes, method):
    cached = hr.Cached(Logged(log), folder)
    read(cached, range(0, N, 2))
    assert np.array_equal(processes.call(read_all, cached, method=method), SAMPLES)
    assert np.array_equal(read(cached), SAMPLES)
    assert logged(log) == list(range(N))
    assert (cached.stats().hits, cached.stats().misses) == (N // 2 + N, N)


@needs_fork
def test_what_a_forked_child_has_read_is_not_read_again(log, folder, processes):
    cached = hr.Cached(Logged(log), folder)
    assert np.array_equal(processes.call(in_a_fork, cached), SAMPLES)
    assert logged(log) == list(range(N))


@needs_linux
def test_workers_of_processes_see_one_another_s_samples(log, folder):
    options = {"batch_size": 5, "seed": 1, "tail": "partial"}
    cached = hr.Cached(Logged(log), folder)
    expected = hr.Loader(SAMPLES, **options, executor=hr.Inline())
    with hr.Loader(cached, **options, executor=hr.Processes(2)) as loader:
        for _ in range(3):
            assert [b.tobytes() for b in loader] == [b.tobytes() for b in expected]
    assert set(logged(log)) == set(range(N))
    before = logged(log)
    assert np.array_equal(read(cached), SAMPLES)
    assert logged(log) == before
    assert cached.stats().hits > 2 * N
    assert cached.stats().kept == N


def test_memory_of_a_process_that_has_ended_is_new_memory(log, processes):
    # As a pickle that was stored, or sent to another machine.
    cached = processes.call(hr.Cached, Logged(log))
    assert np.array_equal(read(cached), SAMPLES)
    assert cached.stats().misses == N


def test_several_processes_may_fill_a_folder_at_once(log, tmp_path, processes):
    folder = tmp_path / "kept"
    methods = [m for m in START_METHODS if m != "fork"]
    caches = [hr.Cached(Logged(log), folder) for _ in methods]  # with no memory in common
    with ThreadPoolExecutor(len(methods)) as threads:
        calls = [
            threads.submit(processes.call, read_all, cached, 3, method=method)
            for cached, method in zip(caches, methods, strict=True)
        ]
        assert all(np.array_equal(call.result(), SAMPLES) for call in calls)
    after = hr.Cached(Logged(log), folder)
    assert np.array_equal(read(after), SAMPLES)
    assert (after.stats().hits, after.stats().misses, after.stats().changed) == (N, 0, 0)


@needs_fork
def test_a_process_may_be_killed_at_any_write(tmp_path, processes):
    root = tmp_path / "samples"
    root.mkdir()
    for i in range(5):
        np.save(root / f"{i}.npy", SAMPLES[i])
    ends = processes.call(killed_at_each_write, root, tmp_path / "kept")
    assert [signal_number for signal_number, _, _ in ends[:-1]] == [signal.SIGKILL] * 11
    assert all(np.array_equal(samples, SAMPLES[:5]) for _, samples, _ in ends)
    # The header, and then a sample and its record each.
    assert [hits for _, _, hits in ends] == [0, *np.repeat(range(5), 2), 5]
