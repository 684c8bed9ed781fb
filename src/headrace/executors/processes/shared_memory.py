"""Slots: pieces of memory without a name that two processes share.

A slot is made by one process, which passes its descriptor to the other; when both have mapped it,
the descriptors are closed. Nothing of it is left in any folder, however the processes end.
"""

import mmap
import os

import numpy as np
import numpy.typing as npt

from headrace.errors import SharedMemoryError
from headrace.storage.local.anonymous_file import create_file, free

Memory = npt.NDArray[np.uint8]


def create(nbytes: int) -> int:
    """The descriptor of new shared memory, all of which is there: writing to it can't fail.

    Raises:
        SharedMemoryError: (a MemoryError) there is not as much memory left.
    """
    what = "A batch in shared memory"
    check_free(nbytes, what)
    file = create_file()
    try:
        _reserve(file, nbytes)
    except OSError:  # another worker was faster
        os.close(file)
        raise _shortage(what, nbytes, "too few") from None
    return file


def attach(file: int, nbytes: int) -> Memory:
    """The shared memory of a descriptor, which is closed."""
    try:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return np.frombuffer(mmap.mmap(file, nbytes, flags=flags), np.uint8)
    finally:
        os.close(file)


def check_free(nbytes: int, what: str) -> None:
    """Raises an error if there is less memory to share than that.

    Raises:
        SharedMemoryError: (a MemoryError) `what` takes more memory than is left.
    """
    left, _, _ = free()
    if nbytes > left:
        raise _shortage(what, nbytes, str(left))


def _shortage(what: str, nbytes: int, left: str) -> SharedMemoryError:
    _, where, remedy = free()
    remedy = f"use Threads, or {remedy}" if remedy else "or use Threads"
    return SharedMemoryError(
        f"{what} takes {nbytes} bytes, but {where} has {left} left. "
        f"Pass a smaller lookahead_bytes to Processes, {remedy}."
    )


def _reserve(file: int, nbytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, nbytes)
    else:
        os.ftruncate(file, nbytes)
