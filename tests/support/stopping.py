"""What raises StopIteration where a sample or a batch is made. Spawned processes import it."""

import threading

import numpy as np

import headrace as hr

N, BATCH, BAD = 24, 4, 9


class StoppingDataset:
    """One with samples by number."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        if index == BAD:
            next(iter(()))
        return index


class StoppingReader:
    spec = hr.Spec((), np.dtype(np.int64))

    def __len__(self):
        return N

    def read(self, indices, out):
        if BAD in indices:
            next(iter(()))
        out[:] = indices


def stop(batch, rng):
    """As a transform: of a batch, or of a sample."""
    if np.any(batch == BAD):
        next(iter(()))
    return batch


STOPPING = {
    "dataset": lambda: (hr.GetItem(StoppingDataset()), None),
    "reader": lambda: (StoppingReader(), None),
    "transform": lambda: (np.arange(N), stop),
    "transform of samples": lambda: (np.arange(N), hr.per_sample(stop)),
}


def stopping_loader(what, executor=None):
    """A loader of 6 steps, at the third of which something raises StopIteration."""
    source, transform = STOPPING[what]()
    return hr.Loader(source, BATCH, shuffle=False, transform=transform, executor=executor)


def _hidden():
    class HiddenError(Exception):
        """Pickle does not find it by its name."""

    return HiddenError


class LockedError(Exception):
    """It can't be pickled."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lock = threading.Lock()


ERRORS = {"a class without a name": _hidden(), "a lock in it": LockedError}


class Raises:
    """As a transform: raises an error that can't be sent to another process."""

    def __init__(self, what):
        self.what = what

    def __call__(self, batch, rng=None):
        if np.any(np.asarray(batch) == BAD):
            raise ERRORS[self.what](f"no sample {BAD}")
        return batch


def with_a_lock(batch, rng=None):
    """As a transform: gives a batch that can't be sent to another process."""
    return batch, threading.Lock()
