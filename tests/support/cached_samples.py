"""Readers, and functions for other processes, over samples that `hr.Cached` keeps."""

import os
import signal

import numpy as np

import headrace as hr
from headrace.readers.cached import layout
from headrace.readers.reader import check_read

N = 24
SAMPLES = np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3)


class Logged:
    """Samples whose reading is written down in a file, whatever process reads them."""

    spec = hr.Spec((2, 3), np.dtype(np.float32))

    def __init__(self, log):
        self._log = str(log)

    def __len__(self):
        return N

    def read(self, indices, out):
        check_read(N, self.spec, indices, out)
        with open(self._log, "ab", buffering=0) as file:
            file.write(indices.astype(np.uint8).tobytes())
        out[...] = SAMPLES[indices]


def logged(log):
    """The samples that were read, in order, as often as they were."""
    return sorted(log.read_bytes()) if log.exists() else []


def doubled(sample):
    return sample * 2


def read_all(reader, repeats=1):
    """All samples, a few at a time, in another order each time."""
    out = np.empty((len(reader), *reader.spec.shape), reader.spec.dtype)
    for seed in range(repeats):
        for some in np.array_split(np.random.default_rng(seed).permutation(len(reader)), 7):
            part = np.empty((len(some), *reader.spec.shape), reader.spec.dtype)
            reader.read(some, part)
            out[some] = part
    return out


def read_in_a_fork(reader):
    """Has a forked child read all, and then says what this process reads."""
    child = os.fork()
    if child == 0:
        read_all(reader)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return read_all(reader)


def killed_at_each_write(root, folder):
    """Fills files from the beginning, each killed in the midst of a later write than the last.

    Returns:
        Of each, how it ended; what was read over the same file afterwards; and the hits in that.
    """
    ends = []
    for step in range(1000):
        of_step = os.path.join(folder, str(step))
        child = os.fork()
        if child == 0:
            _die_at(step)
            read_all(hr.Cached(hr.NpyFiles(root), of_step))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        after = hr.Cached(hr.NpyFiles(root), of_step)
        ends.append((os.WTERMSIG(status), read_all(after), after.stats().hits))
        if status == 0:
            return ends
    raise AssertionError("it writes for ever")


def _die_at(step):
    """Lets this process be killed when it has done half of its write of that number."""
    pwrite, left = os.pwrite, [step]

    def half(file, data, position):
        if left[0]:
            left[0] -= 1
            return pwrite(file, data, position)
        pwrite(file, bytes(data)[: len(data) // 2], position)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    layout.os.pwrite = half
