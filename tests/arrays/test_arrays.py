"""Memory is used again when nothing can see it any more, and never before."""

import gc
import pickle

import numpy as np
import pytest
from at_once import at_once

import headrace as hr
from headrace.arrays import MemoryPool, address, aligned_empty
from headrace.testing.processes import eventually

SHAPE, DTYPE = (300, 1000), np.dtype("float32")


@pytest.mark.parametrize("make", [aligned_empty, lambda *of: MemoryPool().empty(*of)])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (5, 7), (400, 1000)])
@pytest.mark.parametrize("dtype", ["uint8", "float64", "M8[s]", "U3", "f4,i8"])
def test_arrays_are_aligned_writable_and_of_their_shape(make, shape, dtype):
    array = make(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.carray
    assert address(array) % 64 == 0
    array[...] = np.zeros(shape, dtype)


def test_the_memory_of_a_dropped_array_is_used_again():
    pool = MemoryPool()
    array = pool.empty(SHAPE, DTYPE)
    first = address(array)
    del array
    assert address(pool.empty(SHAPE, DTYPE)) == first


@pytest.mark.parametrize(
    "share",
    [
        lambda array: array[3:5],
        lambda array: array.view(np.uint8).T[::2],
        lambda array: memoryview(array),
        lambda array: np.frombuffer(array, np.uint8),
        lambda array: np.lib.stride_tricks.sliding_window_view(array, 2, axis=0),
    ],
)
def test_memory_that_a_view_can_see_is_not_used_again(share):
    pool = MemoryPool()
    array = pool.empty(SHAPE, DTYPE)
    first, shared = address(array), share(array)
    del array
    gc.collect()
    others = [pool.empty(SHAPE, DTYPE) for _ in range(4)]
    assert first not in [address(other) for other in others]
    del shared
    gc.collect()
    assert address(pool.empty(SHAPE, DTYPE)) == first


@pytest.mark.parametrize(("mebibytes", "most"), [(40, 6), (60, 4), (150, 2)])
def test_little_memory_is_kept(mebibytes, most):
    pool = MemoryPool()
    arrays = [pool.empty((mebibytes, 2**20), np.dtype("uint8")) for _ in range(10)]
    assert len({address(array) for array in arrays}) == 10
    arrays.clear()
    (kept,) = pool._kept.values()
    assert len(kept) == most


def test_closing_a_loader_frees_the_memory_that_it_kept():
    # Without a GIL, memory comes back when the thread that made a batch runs again.
    executor = hr.Threads(2, lookahead_bytes=0)
    loader = hr.Loader(np.zeros((8, 100_000)), batch_size=2, executor=executor)
    pool = loader._feed.maker._memory
    for _ in range(2):
        list(loader)
        assert eventually(lambda: any(pool._kept.values()))
        loader.close()
        assert not any(pool._kept.values())


def test_a_pickle_holds_no_memory():
    pool = MemoryPool()
    pool.empty(SHAPE, DTYPE)
    assert len(pickle.dumps(pool)) < 100


def test_batches_that_are_kept_never_change_while_others_are_made():
    # Each sample is full of its own index, so that a batch tells whether it was overwritten.
    n = 4000
    x = np.repeat(np.arange(n, dtype="int64")[:, None], 128, axis=1)
    loader = hr.Loader(x, batch_size=400, seed=1, executor=hr.Threads(4))
    generator = np.random.default_rng(0)
    kept = []
    with loader:
        for epoch in range(30):
            for step, batch in enumerate(loader):
                kept.append((loader.indices(epoch, step), batch[generator.integers(100) :]))
                while len(kept) > generator.integers(8):
                    indices, rows = kept.pop(generator.integers(len(kept)))
                    expected = indices[len(indices) - len(rows) :, None]
                    assert (rows == expected).all()


def test_threads_may_take_and_drop_at_once():
    pool = MemoryPool()

    def work(number):
        for _ in range(300):
            array = pool.empty(SHAPE, DTYPE)
            array[::50] = number
            assert (array[::50] == number).all()

    at_once(work, range(4))
