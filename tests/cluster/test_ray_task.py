"""A task of Ray: how functions, batches and errors travel, and what workers keep of them."""

import gc
import itertools
import os
import sys
import threading

import in_workers
import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="needs headrace[ray]")

import headrace as hr
from headrace.executors.ray import task
from headrace.testing.processes import eventually

pytestmark = pytest.mark.usefixtures("local_ray")


def free_bytes():
    return ray.available_resources().get("object_store_memory", 0)


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


def test_a_function_that_is_dropped_leaves_the_object_store(executor, store_bytes):
    class Large:
        def __init__(self):
            self.data = np.zeros(50_000_000, np.uint8)

        def __call__(self, key):
            return key

    held = Large()
    gc.collect()
    assert eventually(lambda: free_bytes() > store_bytes - 10_000_000), "what others have put there"
    assert list(executor.map(held, range(4))) == list(range(4))
    assert eventually(lambda: free_bytes() <= store_bytes - 40_000_000)
    del held
    gc.collect()
    # Workers keep the last few that they have loaded.
    for _ in range(task._MOST_FUNCTIONS):
        another = in_workers.CountedTransform(None)
        list(executor.map(lambda key, kept=another: key, range(8)))
    assert eventually(lambda: free_bytes() > store_bytes - 10_000_000)


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
