"""A cache gives what was put into it or nothing, whatever happens to its processes and files."""

import fcntl
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import cache_scripts
import numpy as np
import pytest
from at_once import at_once
from cache_scripts import data_of, sizes
from hypothesis import given
from hypothesis import strategies as st
from other_python import printed_by
from rights import folder_for_all

import headrace as hr
from headrace.storage.cache import cache as cache_module
from headrace.storage.cache.folder import _recorded

HEADER = 64
LARGE = 2**30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_BUSY_SECONDS", 0.0)
    monkeypatch.setattr(cache_module, "_RETRY_SECONDS", 0.0)


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, cache_scripts.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def result(process: subprocess.Popen) -> dict:
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(out)


def entry(cache: hr.Cache, key: str) -> Path:
    """The file of a key."""
    return Path(cache._files.path(cache_module._digest(key)))


def used_at(cache: hr.Cache, key: str, seconds: float) -> None:
    os.utime(entry(cache, key), (seconds, seconds))


# What is in it


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.none() | st.binary(max_size=600)), max_size=40
    ),
    st.sampled_from([300, 1000, 10**6]),
)
def test_what_is_given_is_what_was_put_last(steps, max_bytes):
    with tempfile.TemporaryDirectory() as folder:
        cache = hr.Cache(folder, max_bytes)
        last = {}
        for key, data in steps:
            if data is None:
                got = cache.get(key)
                if max_bytes == 10**6:
                    assert (None if got is None else bytes(got)) == last.get(key)
                else:
                    assert got is None or bytes(got) == last[key]
            else:
                cache.put(key, data)
                if len(data) + HEADER <= max_bytes:
                    last[key] = data
                    assert bytes(cache.get(key)) == data
            assert sum(sizes(folder).values()) <= max_bytes
            assert sum(sizes(folder).values()) <= cache.stats().bytes <= max_bytes


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_key_will_do(key, other):
    with tempfile.TemporaryDirectory() as folder:
        cache = hr.Cache(folder, 10**6)
        cache.put(key, b"1")
        assert bytes(cache.get(key)) == b"1"
        assert key == other or cache.get(other) is None


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, "f4")])
def test_any_buffer_will_do(folder, make):
    cache = hr.Cache(folder, LARGE)
    data = np.arange(12, dtype="f4").tobytes()
    cache.put("a", memoryview(make(data)))
    got = cache.get("a")
    assert bytes(got) == data
    got[:4] = b"abcd"  # the caller's own
    assert bytes(cache.get("a")) == data


def test_bytes_without_any_are_an_entry_too(folder):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", b"")
    assert bytes(cache.get("a")) == b""


def test_another_process_and_another_day_find_it(folder):
    hr.Cache(folder, LARGE).put("a", b"1")
    script = f"import headrace as hr; print(bytes(hr.Cache({str(folder)!r}, 1000).get('a')))"
    assert printed_by(script).strip() == "b'1'"


def test_a_key_leaves_no_trace_in_the_folder(folder):
    hr.Cache(folder, LARGE).put("https://user:secret@host/x", b"1")
    for path in folder.rglob("*"):
        assert "secret" not in path.name
        assert not path.is_file() or b"secret" not in path.read_bytes()


def test_statistics(folder):
    cache = hr.Cache(folder, 1000)
    assert cache.stats().bytes == 0
    cache.get("a")
    cache.put("a", b"123")
    cache.get("a")
    cache.put("b", bytes(2000))
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.fills, stats.skipped) == (1, 1, 1, 1)
    assert (stats.evictions, stats.rejected, stats.bytes, stats.max_bytes) == (0, 0, 67, 1000)


# The limit


def test_what_was_used_least_recently_goes_first(folder):
    cache = hr.Cache(folder, 10 * 1000)
    keys = [str(i) for i in range(10)]
    for key in keys:
        cache.put(key, data_of(key, 1000 - HEADER))
    for age, key in enumerate(keys):
        used_at(cache, key, time.time() - 1000 + age)
    assert cache.get("0") is not None  # used now
    cache.put("new", data_of("new", 1000 - HEADER))
    # Down to nine tenths, the new one not counted: "1" alone.
    assert {key for key in keys if entry(cache, key).exists()} == set(keys) - {"1"}
    assert cache.stats().evictions == 1
    cache.put("newer", data_of("newer", 2000 - HEADER))
    assert {key for key in keys if entry(cache, key).exists()} == set(keys) - {"1", "2", "3"}
    assert cache.stats().bytes == sum(sizes(folder).values()) == 10 * 1000


def test_a_hit_is_a_use_written_down_at_most_once_a_second(folder):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", b"1")
    for seconds in (time.time() - 100, time.time() + 100):  # a clock may have been set back
        used_at(cache, "a", seconds)
        cache.get("a")
        assert abs(entry(cache, "a").stat().st_mtime - time.time()) < 60


def test_an_object_larger_than_the_limit_is_not_cached(folder):
    cache = hr.Cache(folder, 1000)
    cache.put("kept", b"1")
    cache.put("a", bytes(1001 - HEADER))
    assert cache.get("a") is None
    assert cache.get("kept") is not None
    cache.put("b", bytes(1000 - HEADER))
    assert cache.get("b") is not None
    assert sum(sizes(folder).values()) == 1000


def test_files_of_others_are_not_touched_and_do_not_count(folder):
    folder.mkdir()
    strangers = [folder / name for name in ("photo.jpg", "ab/photo.jpg", "cd/ef", "gh")]
    for stranger in strangers:
        stranger.parent.mkdir(exist_ok=True)
        stranger.write_bytes(bytes(5000))
    cache = hr.Cache(folder, 1000)
    for i in range(20):
        cache.put(str(i), bytes(300))
    assert cache.stats().fills == 20
    assert all(stranger.stat().st_size == 5000 for stranger in strangers)


@pytest.mark.parametrize("age", [3600, -3600], ids=["old", "future"])
def test_leftovers_of_dead_processes_are_swept(folder, age):
    cache = hr.Cache(folder, 2000)
    cache.put("a", bytes(900))
    left = folder / "partial" / "0123456789abcdef"
    left.write_bytes(bytes(900))
    seconds = time.time() - age
    os.utime(left, (seconds, seconds))
    cache.put("b", bytes(900))
    cache.put("c", bytes(900))  # what makes it count
    assert not left.exists()
    assert cache.get("c") is not None


def test_what_another_is_writing_counts_and_is_left_alone(folder, no_pauses):
    cache = hr.Cache(folder, 2000)
    cache.put("a", bytes(900))
    being_written = folder / "partial" / "0123456789abcdef"
    being_written.write_bytes(bytes(900))
    (folder / "total").unlink()
    cache.put("b", bytes(800))
    assert being_written.exists()
    assert (cache.get("a"), cache.stats().evictions) == (None, 1)
    being_written.write_bytes(bytes(1900))
    (folder / "total").unlink()
    cache.put("c", bytes(900))
    assert cache.stats().skipped == 1  # and nothing was evicted in vain
    assert cache.get("b") is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda total: total.unlink(),
        lambda total: total.write_bytes(b""),
        lambda total: total.write_bytes(total.read_bytes()[:-1]),
        lambda total: total.write_bytes(b"\0" * 28),
        lambda total: total.write_bytes(b"x" + total.read_bytes()[1:]),
        lambda total: total.write_bytes(_recorded(0, int(time.time()) - 4000)),
        lambda total: total.write_bytes(_recorded(0, int(time.time()) + 4000)),
    ],
    ids=["gone", "empty", "cut", "zeros", "flipped", "old", "future"],
)
def test_a_total_that_can_not_be_relied_on_is_counted_anew(folder, damage):
    cache = hr.Cache(folder, 10_000)
    for i in range(10):
        cache.put(str(i), bytes(900))
    damage(folder / "total")
    cache.put("new", bytes(900))
    assert cache.get("new") is not None
    assert cache.stats().bytes == sum(sizes(folder).values()) <= 10_000


def test_a_total_that_is_too_large_is_put_right(folder):
    cache = hr.Cache(folder, 10_000)
    cache.put("a", bytes(900))
    (folder / "total").write_bytes(_recorded(9900, int(time.time())))
    cache.put("b", bytes(900))
    assert cache.stats().evictions == 0
    assert cache.stats().bytes == sum(sizes(folder).values())


# Many at once


def test_processes_fill_and_evict_at_once_within_the_limit(folder):
    max_bytes = 40_000
    workers = [start("fill", folder, max_bytes, 300, seed) for seed in range(4)]
    most = 0
    while any(worker.poll() is None for worker in workers):
        if (folder / "total").exists():
            with open(folder / "total", "r+b") as lock:
                # No file is made or evicted meanwhile; one that is renamed keeps its inode.
                fcntl.flock(lock, fcntl.LOCK_EX)
                most = max(most, sum(sizes(folder).values()))
        time.sleep(0.02)
    results = [result(worker) for worker in workers]
    assert most <= max_bytes
    for each in results:
        assert each["wrong"] == each["rejected"] == 0
        assert each["asked"] == each["known"]
    assert sum(each["evictions"] for each in results) > 0
    assert os.listdir(folder / "partial") == []


def test_threads_fill_and_evict_at_once(folder, no_pauses):
    cache = hr.Cache(folder, 20_000)

    def use(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(300):
            key = str(order.randrange(40))
            got = cache.get(key)
            if got is None:
                cache.put(key, data_of(key, 1000))
            else:
                assert bytes(got) == data_of(key, 1000)

    at_once(use, range(6))
    stats = cache.stats()
    assert stats.hits + stats.misses == 1800
    assert stats.fills + stats.skipped == stats.misses
    assert stats.rejected == 0
    assert sum(sizes(folder).values()) <= 20_000


def test_one_that_was_stopped_with_the_lock_holds_nobody_up(folder, no_pauses):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", b"1")
    other = start("hold_lock", folder)
    try:
        assert other.stdout.readline() == "held\n"
        cache.put("b", b"2")
        assert bytes(cache.get("a")) == b"1"
        assert (cache.get("b"), cache.stats().skipped) == (None, 1)
    finally:
        other.kill()
        other.communicate()
    cache.put("b", b"2")
    assert bytes(cache.get("b")) == b"2"


# Killed


def test_killed_at_any_call_of_a_put_it_leaves_nothing_wrong(folder):
    process = start("killed_everywhere", folder)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert json.loads(out)["kills"] > 30
    # Those that change the disk were among the calls.
    called = set(errors.split())
    assert {"open", "flock", "pread", "pwrite", "unlink", "ftruncate", "write", "replace"} <= called


def test_killed_while_it_writes(folder):
    nbytes, max_bytes = 3_000_000, 20_000_000
    pause = random.Random(0)
    for _ in range(8):
        process = start("fill_for_ever", folder, max_bytes, nbytes)
        assert process.stdout.readline() == "begun\n"
        time.sleep(pause.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert sum(sizes(folder).values()) <= max_bytes
    cache = hr.Cache(folder, max_bytes)
    for i in range(10):
        got = cache.get(str(i))
        assert got is None or bytes(got) == data_of(str(i), nbytes)
    assert cache.stats().rejected == 0
    cache_scripts._make_old(str(folder))
    for i in range(10):
        cache.put(str(i), data_of(str(i), nbytes))
    assert os.listdir(folder / "partial") == []
    assert cache.stats().fills == 10


# Damaged


@pytest.mark.parametrize("at", [0, 7, 8, 23, 24, 31, 32, 59, 60, 63, 64, 500, -1])
def test_a_flipped_byte_is_found_at_the_next_use(folder, at):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", data_of("a", 1000))
    data = bytearray(entry(cache, "a").read_bytes())
    data[at] ^= 1
    entry(cache, "a").write_bytes(data)
    is_thrown_away(cache)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1063, 1065])
def test_a_cut_or_longer_entry_is_found(folder, length):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", data_of("a", 1000))
    os.truncate(entry(cache, "a"), length)
    is_thrown_away(cache)


@pytest.mark.parametrize("nbytes", [64, 1064, 2000])
@pytest.mark.parametrize("what", [bytes, os.urandom, lambda n: pickle.dumps(bytes(n))])
def test_a_file_with_anything_else_is_found(folder, what, nbytes):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", data_of("a", 1000))
    entry(cache, "a").write_bytes(what(nbytes))
    is_thrown_away(cache)


def test_an_entry_that_fills_the_disk_is_not_read(folder):
    cache = hr.Cache(folder, 2**20)
    cache.put("a", data_of("a", 1000))
    os.truncate(entry(cache, "a"), 2**40)  # a hole
    is_thrown_away(cache)


def test_entries_that_changed_places_are_found(folder):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", data_of("a", 1000))
    cache.put("b", data_of("b", 1000))
    entry(cache, "a").rename(folder / "aside")
    entry(cache, "b").rename(entry(cache, "a"))
    (folder / "aside").rename(entry(cache, "b"))
    is_thrown_away(cache)
    assert cache.get("b") is None
    assert cache.stats().rejected == 2


@given(
    data=st.binary(min_size=1, max_size=2000),
    flips=st.lists(st.integers(0, 2**20), min_size=1, max_size=3, unique=True),
)
def test_damage_never_gives_other_bytes(data, flips):
    with tempfile.TemporaryDirectory() as folder:
        cache = hr.Cache(folder, LARGE)
        cache.put("a", data)
        stored = bytearray(entry(cache, "a").read_bytes())
        for bit in flips:
            bit %= len(stored) * 8
            stored[bit // 8] ^= 1 << bit % 8
        entry(cache, "a").write_bytes(stored)
        got = cache.get("a")
        assert got is None or bytes(got) == data  # two flips of one bit undo each other


def is_thrown_away(cache: hr.Cache) -> None:
    """The entry of "a" is found to be damaged, and can be put again."""
    assert cache.get("a") is None
    assert cache.stats().rejected == 1
    assert cache.stats().misses == 1
    assert not entry(cache, "a").exists()
    cache.put("a", data_of("a", 1000))
    assert bytes(cache.get("a")) == data_of("a", 1000)


# Full, forbidden, gone


def test_where_files_may_grow_no_further_objects_are_not_cached(folder):
    of_full_disk(result(start("full", folder, 200_000)), folder)


def test_a_full_disk(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    script = (
        f"mount -t tmpfs -o size=1m small {mounted} && exec {sys.executable} "
        f"{cache_scripts.__file__} full {mounted} disk"
    )
    if not shutil.which("unshare"):
        pytest.skip("needs unshare, to mount a small disk")
    trial = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=1m small {mounted}"],
        capture_output=True, text=True,
    )  # fmt: skip
    if trial.returncode:
        pytest.skip(f"a small disk can't be mounted here: {trial.stderr.strip()}")
    process = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    of_full_disk(result(process), mounted)


def of_full_disk(seen: dict, folder: Path) -> None:
    [warning] = seen["warnings"]
    assert str(folder) in warning
    assert "has no room left on its disk" in warning
    assert (seen["fills"], seen["skipped"]) == (3, 3)
    assert seen["partial"] == []


def test_a_folder_that_may_only_be_read():
    with folder_for_all() as folder:
        hr.Cache(f"{folder}/readable", LARGE).put("here", data_of("here", 1000))
        for parent, _, _ in os.walk(folder):
            os.chmod(parent, 0o555)
        os.chmod(folder, 0o755)
        os.mkdir(f"{folder}/unreadable")
        os.chmod(f"{folder}/unreadable", 0)
        seen = result(start("forbidden", folder))
    assert len(seen["warnings"]) == 2
    assert "readable" in seen["warnings"][0]
    assert "unreadable" in seen["warnings"][1]
    assert all("permission" in warning for warning in seen["warnings"])
    assert (seen["hits"], seen["skipped"]) == (3, 3)


def test_after_a_failure_there_are_no_attempts_for_a_while(folder, monkeypatch):
    cache = hr.Cache(folder / "below", LARGE)
    folder.write_bytes(b"")  # a file where its folder should be
    with pytest.warns(RuntimeWarning, match="fails"):
        cache.put("a", b"1")
    folder.unlink()
    cache.put("a", b"1")
    assert (cache.get("a"), cache.stats().skipped) == (None, 2)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    cache.put("a", b"1")
    assert bytes(cache.get("a")) == b"1"


def test_a_folder_that_was_deleted_is_made_again(folder):
    cache = hr.Cache(folder, 10_000)
    cache.put("a", bytes(900))
    shutil.rmtree(folder)
    assert cache.get("a") is None
    for i in range(20):
        cache.put(str(i), bytes(900))
    assert cache.get("19") is not None
    assert sum(sizes(folder).values()) <= 10_000


# Pickles and forks


def test_pickles_as_a_description(folder):
    cache = hr.Cache(folder, 12345)
    cache.put("a", b"1")
    pickled = pickle.dumps(cache)
    assert len(pickled) < 500
    other = pickle.loads(pickled)
    assert (other.folder, other.max_bytes) == (str(folder), 12345)
    assert bytes(other.get("a")) == b"1"
    assert repr(other) == f"Cache({str(folder)!r}, max_bytes=12345)"
    assert (other.stats().hits, cache.stats().fills) == (1, 1)


def test_a_forked_child_goes_on_with_counts_of_its_own(folder):
    cache = hr.Cache(folder, LARGE)
    cache.put("a", b"1")
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            cache.get("a")
            cache.put("b", bytes(1000))

    thread = threading.Thread(target=use)
    thread.start()
    try:
        for _ in range(20):  # in some of them the thread has its locks just then
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
                child = os.fork()
            if child == 0:
                signal.alarm(120)
                right = bytes(cache.get("a")) == b"1"
                cache.put("c", b"3")
                stats = cache.stats()
                counted = (stats.hits, stats.misses, stats.fills + stats.skipped) == (1, 0, 1)
                os._exit(0 if right and counted else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    assert sum(sizes(folder).values()) <= cache.stats().bytes


# Arguments


@pytest.mark.parametrize("max_bytes", [0, -1, 2**63])
def test_a_limit_out_of_range(folder, max_bytes):
    with pytest.raises(hr.ArgumentError, match=f"max_bytes must be .* but {max_bytes}"):
        hr.Cache(folder, max_bytes)


@pytest.mark.parametrize("max_bytes", ["1GB", 1e9, None, True])
def test_a_limit_of_the_wrong_type(folder, max_bytes):
    with pytest.raises(hr.ArgumentTypeError, match="max_bytes must be an int"):
        hr.Cache(folder, max_bytes)


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(hr.ArgumentError, match="folder must be a folder"):
        hr.Cache(tmp_path / "file", 1)
    with pytest.raises(hr.ArgumentTypeError, match="folder must be the path of a folder"):
        hr.Cache(None, 1)
