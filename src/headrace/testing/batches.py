"""What the contract of executors has workers do. They import it without pytest, which is slow."""

import threading
from dataclasses import dataclass

import numpy as np

from headrace.arrays import Array

BATCH_BYTES = 1024


@dataclass(frozen=True)
class FailsAt:
    """Makes batches, but raises `error` for `key`."""

    key: int
    error: BaseException

    def __call__(self, key: int) -> Array:
        if key == self.key:
            raise self.error
        return batch(key)


class _UnsentError(Exception):
    """It can't be pickled, whatever pickles it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.lock = threading.Lock()


def fails_without_pickle(key: int) -> Array:
    """Makes batches, but raises an error that can't be pickled for key 3."""
    if key == 3:
        raise _UnsentError(f"no batch for {key}")
    return batch(key)


def batch(key: int) -> Array:
    return np.full(BATCH_BYTES // 8, key, np.int64)


def uneven_batch(key: int) -> Array:
    """One that takes long for every third key, so that those after it are ready before it."""
    if key % 3 == 0:
        np.random.default_rng(key).random(100_000).sort()
    return batch(key)


def nested_batch(key: int) -> dict[str, Array | tuple[Array, Array]]:
    return {"x": batch(key)[::2], "y": (batch(key)[1::4], batch(key)[3::4])}


def nothing(key: int) -> None:
    del key
