"""Stamps: numbers that stand for files as they are, and for others when these have changed."""

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array
from headrace.errors import StorageError
from headrace.storage.local.folder import Folder
from headrace.storage.storage import Storage

Stamps = npt.NDArray[np.uint64]

_MASK = 2**64 - 1
# Odd numbers with bits all over, so that sizes and times hardly ever cancel each other.
_OF_SIZE, _OF_TIME, _OF_POSITION = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9


def stamp_of_path(path: str) -> int:
    """That of a file of this machine: of its size, and the time when it was last changed.

    0 if there is none, or it can't be seen.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0
    return (status.st_size * _OF_SIZE ^ status.st_mtime_ns * _OF_TIME) & _MASK or 1


def stamp_of_folder(root: Storage | str) -> int:
    """That of all files in a folder of this machine; of all else as `stamps_of_files`."""
    if isinstance(root, str) and not os.path.isdir(root):
        return stamp_of_path(root)
    storage = Folder(root) if isinstance(root, str) else root
    if storage.local_path() is None and not hasattr(storage, "stamp"):
        return 1
    total = 1
    for stamp in stamps_of_files(storage, storage.names()).tolist():
        total = (total * _OF_POSITION ^ stamp) & _MASK
    return total or 1


def stamps_of_files(storage: Storage, names: Sequence[str]) -> Stamps:
    """Those of files of a storage: of what its manifest says, or of the files of this machine.

    1 for files elsewhere, without a manifest, which are taken not to change.
    """
    of_manifest = getattr(storage, "stamp", None)
    stamps = np.ones(len(names), np.uint64)
    for position, name in enumerate(names):
        path = storage.local_path(name)
        if of_manifest is not None:
            try:
                stamps[position] = of_manifest(name)
            except StorageError:  # which reading it says
                stamps[position] = 0
        elif path is not None:
            stamps[position] = stamp_of_path(path)
    return stamps


def stamps_of_samples(storage: Storage, name_of: Callable[[int], str], files: Array) -> Stamps:
    """For each sample that of its file, whose number is given; no other files are looked at."""
    needed, of_each = np.unique(files, return_inverse=True)
    return stamps_of_files(storage, list(map(name_of, needed.tolist())))[of_each]


def stamp_of_sums(sha256: str) -> int:
    """That of a file with this checksum."""
    return int(sha256[:16], 16) or 1


def joined(stamps: Iterable[Stamps]) -> Stamps:
    """For each sample, one number for all that its parts have; 0 where one of them is 0."""
    total: Stamps | None = None
    for each in stamps:
        if total is None:
            total = each
        else:
            gone = (total == 0) | (each == 0)
            total = np.maximum(total * np.uint64(_OF_POSITION) ^ each, 1)
            total[gone] = 0
    return np.ones(0, np.uint64) if total is None else total
