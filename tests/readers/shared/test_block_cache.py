"""BlockCache: what is kept and loaded, and that threads neither load twice nor wait for ever."""

import contextlib
import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.readers.shared.block_cache import BlockCache, copy_rows, rows_of_blocks

DEADLINE_SECONDS = 120


def block(key, nbytes=8):
    return np.full(nbytes, key % 251, np.uint8)


class Loads:
    """Loads blocks, and notes the keys of each call."""

    def __init__(self, nbytes=8):
        self.calls = []
        self.nbytes = nbytes

    def __call__(self, keys):
        self.calls.append(list(keys))
        for key in keys:
            yield key, block(key, self.nbytes)

    @property
    def keys(self):
        return [key for call in self.calls for key in call]


def taken(cache, keys, load, at_once=1):
    found = {key: array[0] for key, array in cache.each(keys, load, at_once)}
    assert found == {key: key % 251 for key in keys}


@given(
    batches=st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), max_size=20),
    max_blocks=st.integers(0, 12),
    at_once=st.integers(1, 5),
)
def test_each_gives_every_block_and_loads_what_is_not_kept(batches, max_blocks, at_once):
    cache, load = BlockCache(8 * max_blocks), Loads()
    for batch in batches:
        before = len(load.keys)
        taken(cache, batch, load, at_once)
        loaded = load.keys[before:]
        assert len(loaded) == len(set(loaded)) <= len(batch)
    assert all(1 <= len(call) <= at_once for call in load.calls)


def test_the_least_recently_used_go_first():
    cache, load = BlockCache(24), Loads()
    taken(cache, [1, 2, 3], load)
    taken(cache, [1], load)
    taken(cache, [4], load)  # instead of 2
    taken(cache, [1, 3, 4], load)
    assert load.keys == [1, 2, 3, 4]
    taken(cache, [2], load)
    assert load.keys == [1, 2, 3, 4, 2]


def test_the_limit_counts_all_arrays_of_a_block():
    cache, calls = BlockCache(100), []

    def load(keys):
        calls.extend(keys)
        for key in keys:
            yield key, {"x": np.zeros(30, np.uint8), "y": (np.zeros(10, np.uint8),)}

    for _ in range(2):
        list(cache.each([1, 2, 3], load))  # of which two fit
    assert calls == [1, 2, 3, 1, 2, 3]
    list(cache.each([2, 3], load))
    assert calls == [1, 2, 3, 1, 2, 3]


def test_the_last_block_is_kept_however_large():
    cache, load = BlockCache(10), Loads(nbytes=1000)
    taken(cache, [1], load)
    taken(cache, [1], load)
    taken(cache, [2, 3], load)
    taken(cache, [3], load)
    assert load.keys == [1, 2, 3]
    assert cache.blocks_kept(1000) == 1
    assert cache.blocks_kept(0) == 10
    assert BlockCache(100).blocks_kept(30) == 3


def test_a_negative_limit_is_refused():
    with pytest.raises(hr.ArgumentError, match="cache_bytes"):
        BlockCache(-1)


def test_a_failure_is_raised_and_the_next_tries_again():
    cache, load = BlockCache(100), Loads()

    def fail(keys):
        yield keys[0], block(keys[0])
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        list(cache.each([1, 2, 3], fail, at_once=3))
    taken(cache, [1, 2, 3], load, at_once=3)
    assert load.calls == [[2, 3]]


def test_a_load_that_leaves_out_a_block_is_found_out():
    cache = BlockCache(100)
    with pytest.raises(RuntimeError, match="2"):
        list(cache.each([1, 2], lambda keys: [(1, block(1))], at_once=2))


def test_a_caller_that_stops_owes_nothing():
    cache, load = BlockCache(100), Loads()
    taken(cache, [7], load)
    for keys in ([1, 2, 3], [4, 7, 5]):  # the second stops at a block that it had, with one owed
        blocks = cache.each(keys, load, at_once=3)
        next(blocks)
        blocks.close()
    with ThreadPoolExecutor(1) as other:
        other.submit(taken, cache, [1, 2, 3, 4, 5], load).result(DEADLINE_SECONDS)


def test_threads_that_need_the_same_block_load_it_once():
    cache, calls = BlockCache(100), []
    begun, go_on = threading.Event(), threading.Event()

    def slow(keys):
        calls.extend(keys)
        begun.set()
        assert go_on.wait(DEADLINE_SECONDS)
        for key in keys:
            yield key, block(key)

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(taken, cache, [5], slow)]
        assert begun.wait(DEADLINE_SECONDS)
        waiting += [threads.submit(taken, cache, [5], slow) for _ in range(3)]
        go_on.set()
        for one in waiting:
            one.result(DEADLINE_SECONDS)
    assert calls == [5]


def test_who_waits_for_a_load_that_fails_loads_it_itself():
    cache, load = BlockCache(100), Loads()
    begun, go_on = threading.Event(), threading.Event()

    def fail(keys):
        begun.set()
        assert go_on.wait(DEADLINE_SECONDS)
        raise OSError("broken")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(taken, cache, [5], fail)
        assert begun.wait(DEADLINE_SECONDS)
        second = threads.submit(taken, cache, [5], load)
        go_on.set()
        with pytest.raises(OSError, match="broken"):
            first.result(DEADLINE_SECONDS)
        second.result(DEADLINE_SECONDS)
    assert load.keys == [5]


@pytest.mark.parametrize("max_blocks", [0, 3, 100])
@pytest.mark.parametrize("at_once", [1, 4])
def test_overlapping_batches_of_threads_never_wait_for_each_other(max_blocks, at_once):
    cache = BlockCache(8 * max_blocks)

    def read(seed):
        rng = random.Random(seed)

        def load(keys):
            if rng.random() < 0.1:
                raise OSError("broken")
            for key in keys:
                yield key, block(key)

        for _ in range(100):
            with contextlib.suppress(OSError):
                taken(cache, rng.sample(range(20), 12), load, at_once)

    with ThreadPoolExecutor(8) as threads:
        for one in [threads.submit(read, seed) for seed in range(8)]:
            one.result(DEADLINE_SECONDS)
    taken(cache, range(20), Loads())


def test_pickles_empty():
    cache, load = BlockCache(100), Loads(nbytes=50)
    taken(cache, [1], load)
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.max_bytes == 100
    taken(copy, [1], load)
    assert load.keys == [1, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_of_its_parent():
    cache = BlockCache(100)
    begun, go_on = threading.Event(), threading.Event()

    def slow(keys):
        begun.set()
        assert go_on.wait(DEADLINE_SECONDS)
        for key in keys:
            yield key, block(key)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(taken, cache, [5], slow)
        assert begun.wait(DEADLINE_SECONDS)
        child = os.fork()
        if child == 0:
            threading.Timer(DEADLINE_SECONDS, os._exit, [1]).start()
            try:
                taken(cache, [5], Loads())
                os._exit(0)
            finally:
                os._exit(2)
        try:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            go_on.set()
        first.result(DEADLINE_SECONDS)


@given(st.lists(st.integers(0, 9)))
def test_rows_are_grouped_by_block(blocks):
    array = np.array(blocks, np.int64)
    grouped = list(rows_of_blocks(array))
    assert [number for number, _ in grouped] == sorted(set(blocks))
    for number, rows in grouped:
        assert rows.tolist() == [row for row, other in enumerate(blocks) if other == number]


@pytest.mark.parametrize("shape", [(), (3,), (40, 40)])
def test_rows_are_copied_and_converted(shape):
    stored = np.arange(5 * int(np.prod(shape)), dtype=np.int32).reshape(5, *shape)
    out = np.zeros((4, *shape), np.float64)
    copy_rows(stored, np.array([4, 0]), out, np.array([1, 3]))
    assert (out[[1, 3]] == stored[[4, 0]]).all()
    assert not out[[0, 2]].any()
