"""What processes of their own do with a cache: `python cache_scripts.py NAME FOLDER ...`.

`data_of` says what belongs under a key, so that any process can tell right bytes from wrong ones.
"""

import json
import os
import resource
import signal
import sys
import time
import warnings
import zlib
from pathlib import Path

import headrace as hr
from headrace.storage.cache import cache as cache_module


def data_of(key: str, nbytes: int) -> bytes:
    """Bytes that belong to the key alone."""
    piece = zlib.crc32(key.encode()).to_bytes(4, "little")
    return (piece * (nbytes // 4 + 1))[:nbytes]


def sizes(folder: str | Path) -> dict[int, int]:
    """The length of each file of the cache, by its inode."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            if name == "total":
                continue
            try:
                status = os.stat(os.path.join(parent, name))
            except FileNotFoundError:
                continue
            found[status.st_ino] = status.st_size
    return found


def fill(folder: str, max_bytes: str, fills: str, seed: str) -> None:
    """Asks for keys in turn and puts those that are missing, until so many were put."""
    cache_module._BUSY_SECONDS = 0.0
    cache = hr.Cache(folder, int(max_bytes))
    wrong = asked = i = 0
    while cache.stats().fills < int(fills):
        i += 1
        key = str(i * (7, 11, 13, 17)[int(seed)] % 60)  # all of the 60, which do not fit
        expected = data_of(key, 500 + 40 * int(key))
        got = cache.get(key)
        asked += 1
        if got is None:
            cache.put(key, expected)
        else:
            wrong += bytes(got) != expected
    stats = cache.stats()
    print(json.dumps({"wrong": wrong, "asked": asked, "known": stats.hits + stats.misses,
                      "evictions": stats.evictions, "rejected": stats.rejected}))  # fmt: skip


def fill_for_ever(folder: str, max_bytes: str, nbytes: str) -> None:
    cache = hr.Cache(folder, int(max_bytes))
    print("begun", flush=True)
    i = 0
    while True:
        i += 1
        cache.put(str(i % 10), data_of(str(i % 10), int(nbytes)))


def killed_everywhere(folder: str) -> None:
    """Kills a child at each call into C that `put` makes, and looks at what it leaves."""
    cache_module._BUSY_SECONDS = 0.0
    max_bytes = 4000
    keys = [str(i) for i in range(8)]
    at = 0
    while True:
        cache = hr.Cache(folder, max_bytes)
        for key in keys[:5]:
            if cache.get(key) is None:
                cache.put(key, data_of(key, 900))
        child = os.fork()
        if child == 0:
            _kill_at(at)
            cache.put(keys[5 + at % 3], data_of(keys[5 + at % 3], 900))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        left = sum(sizes(folder).values())
        assert left <= max_bytes, f"{left} bytes after a kill at call {at}"
        fresh = hr.Cache(folder, max_bytes)
        assert fresh.stats().bytes >= left, "the total is below the truth"
        for key in keys:
            got = fresh.get(key)
            assert got is None or bytes(got) == data_of(key, 900), f"wrong bytes: call {at}"
        assert fresh.stats().rejected == 0
        fresh.put("6", data_of("6", 900))
        assert fresh.stats().fills == 1, f"no put after a kill at call {at}"
        _make_old(folder)
        if os.WIFEXITED(status):
            break
        at += 1
    print(json.dumps({"kills": at}))


def _kill_at(which: int) -> None:
    """Kills this process at its call with that number, once its name is on stderr."""
    calls = 0

    def count(frame, event, argument) -> None:
        nonlocal calls
        if event == "c_call":
            if calls == which:
                os.write(2, argument.__name__.encode() + b"\n")
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1

    sys.setprofile(count)


def _make_old(folder: str) -> None:
    """As if the files that are being written had been left long ago."""
    for file in Path(folder, "partial").iterdir():
        os.utime(file, (0, 0))


def full(folder: str, limit: str) -> None:
    """Puts where the disk has no room for more than `limit` bytes, or files of that length."""
    cache_module._RETRY_SECONDS = 0.0
    if limit != "disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    cache = hr.Cache(folder, 2**30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for attempt in range(3):
            cache.put("small", data_of("small", 1000))
            cache.put("large", data_of("large", 4_000_000))
            assert cache.get("large") is None
            assert bytes(cache.get("small")) == data_of("small", 1000), attempt
    stats = cache.stats()
    print(
        json.dumps(
            {
                "warnings": [str(w.message) for w in caught],
                "fills": stats.fills,
                "skipped": stats.skipped,
                "partial": os.listdir(f"{folder}/partial"),
            }
        )
    )


def forbidden(folder: str) -> None:
    """Uses a cache in a folder that this user may only read, and one that it may not."""
    cache_module._RETRY_SECONDS = 0.0
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    cache = hr.Cache(f"{folder}/readable", 2**20)
    unreadable = hr.Cache(f"{folder}/unreadable", 2**20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert bytes(cache.get("here")) == data_of("here", 1000)
            cache.put("new", b"new")
            assert cache.get("new") is None
            assert unreadable.get("here") is None
            unreadable.put("new", b"new")
    stats = cache.stats()
    print(json.dumps({"warnings": [str(w.message) for w in caught], "hits": stats.hits,
                      "skipped": stats.skipped}))  # fmt: skip


def hold_lock(folder: str) -> None:
    """Stops, as it were, while it has the lock."""
    import fcntl

    with open(f"{folder}/total", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
