"""What the tests of Processes send to workers, which import it by name."""

import collections
import multiprocessing
import os
import threading
import time
from pathlib import Path

import numpy as np

Pair = collections.namedtuple("Pair", "left right")


def random_bytes(nbytes, key):
    return np.random.default_rng(key).integers(256, size=nbytes, dtype=np.uint8)


def batch(key):
    """A batch that is large enough for shared memory."""
    return random_bytes(300_000, key)


def batch_of_16_mb(key):
    return np.full(16 * 2**20, key % 251, np.uint8)


def pid_and_batch(key):
    return os.getpid(), batch(key)


def growing_batch(key):
    return np.full(20_000 * key, key, np.uint32)


def mixed_batch(key):
    return np.full([10, 400_000, 0, 70_000, 2_000_000][key % 5], key, np.uint8)


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def slow_batch(key):
    time.sleep(0.1)
    return batch(key)


class Busy:
    """Makes the first batches at once, the others after the parent has ended."""

    def __call__(self, key):
        parent = multiprocessing.parent_process().pid  # which may have ended by now
        while key > 1 and os.getppid() == parent:
            time.sleep(0.001)
        return batch(key)


def big_str(key):
    return f"{key}" * 1_000_000


def every_kind(key):
    """A batch of about everything that a transform may return."""
    read_only = np.arange(6.0) + key
    read_only.flags.writeable = False
    records = np.zeros(5, [("a", "f4"), ("b", "i8", (2,))])
    records["b"] = key
    return {
        "empty": np.zeros((0, 3), "float32"),
        "scalar": np.array(3.5 + key),
        "str": np.array(["ab", "c", str(key)]),
        "bytes": np.array([b"ab", b"c"]),
        "datetime": np.array(["2020-01-01", "1970-01-02"], "datetime64[s]"),
        "records": records,
        "complex, other byte order": np.arange(4).astype(">c16"),
        "read-only": read_only,
        "fortran": np.asfortranarray(np.arange(12).reshape(3, 4) + key),
        "gaps": (np.arange(200_000) + key)[::2],
        "backwards": np.arange(5)[::-1],
        "broadcast": np.broadcast_to(np.float32(key), (4, 2)),
        "objects": np.array([key, "a", None], object),
        "nested": (Pair(np.full((3, 5), key), None), {"n": np.int32(key), "x": 2.5, "s": "text"}),
        "ordered": collections.OrderedDict(b=np.ones(3, "bool"), a=(np.ones(2, "float16"),)),
        "large": batch(key),
    }


class DiesAt:
    """Makes batches, but the first `times` workers that make the one at `key` die of it."""

    def __init__(self, folder, key, times, way):
        self.file = Path(folder) / "deaths"
        self.key, self.times, self.way = key, times, way

    def __call__(self, key):
        made = batch(key)
        if key == self.key:
            with self.file.open("a") as file:
                file.write(f"{os.getpid()}\n")
            if len(self.file.read_text().split()) <= self.times:
                if self.way == "exit":
                    os._exit(3)
                os.kill(os.getpid(), self.way)
        return made

    def transform(self, samples, rng):
        """As the transform of a loader: the key is the first sample."""
        self(int(samples[0]))
        return samples


class CountsPicklings:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        with open(self.file, "a") as file:
            file.write("pickled\n")
        return CountsPicklings, (self.file,)

    def __call__(self, key):
        return pid_and_batch(key)


class CountedTransform:
    def __init__(self, counts):
        self.counts = counts

    def __call__(self, samples, rng):
        return samples


class LoadsOnlyInItsProcess:
    """In another one, loading it raises an error of the class."""

    def __init__(self, error=OSError):
        self.error = error

    def __reduce__(self):
        return _load_in, (os.getpid(), self.error)


class ErrorThatLoadsOnlyInItsProcess(LoadsOnlyInItsProcess, Exception):
    pass


def _load_in(pid, error):
    if os.getpid() != pid:
        raise error("not here")
    return ErrorThatLoadsOnlyInItsProcess(error)


def foreign(error):
    return LoadsOnlyInItsProcess(error)


def raise_foreign(error):
    raise ErrorThatLoadsOnlyInItsProcess(error)


class ErrorWithoutPickle(ValueError):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lock = threading.Lock()  # which cloudpickle can't pickle either


class ErrorWithoutWords(ErrorWithoutPickle):
    def __str__(self):
        raise TypeError("no words")


def raise_without_pickle(key):
    error = ErrorWithoutPickle(f"bad {key}")
    error.add_note("a note")
    raise error


def raise_without_words(key):
    raise ErrorWithoutWords


def raise_below(key):
    raise KeyError(key) from ZeroDivisionError("the cause")


def map_in_worker(keys):
    import headrace as hr

    with_processes = hr.Processes(1)
    try:
        return list(with_processes.map(str, keys))
    finally:
        with_processes.close()
