"""SharedMemory: memory of this process, its children, and whoever loads a pickle of it."""

import functools
import mmap
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.storage.local.anonymous_file import create_file

Memory = npt.NDArray[np.uint8]


class Descriptor:
    """An open file, which is closed with the last reference. `os` takes it as `.number`."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Any = os.close) -> None:
        close(self.number)


class SharedMemory:
    """Zeros to begin with, of which only what is written to takes any memory.

    Forked children share it. A pickle of it is what other processes of this machine find it by
    while the one that has made the pickle lives, and share it; anywhere else, a pickle loads as new
    memory. Nothing of it is left when the processes have ended, however they end.
    """

    def __init__(self, nbytes: int, file: int | None = None) -> None:
        self.file = Descriptor(create_file() if file is None else file)
        if file is None:
            os.ftruncate(self.file.number, nbytes)
        self.nbytes = nbytes

    @functools.cached_property
    def memory(self) -> Memory:
        return np.frombuffer(mmap.mmap(self.file.number, self.nbytes), np.uint8)

    def reopened(self) -> Descriptor:
        """A descriptor whose locks are not those of other processes."""
        try:
            return Descriptor(os.open(f"/proc/self/fd/{self.file.number}", os.O_RDWR))
        except OSError:  # a system without
            return Descriptor(os.dup(self.file.number))

    def __reduce__(self) -> tuple[object, ...]:
        file = self.file.number
        status = os.fstat(file)
        return _found, (self.nbytes, os.getpid(), file, status.st_dev, status.st_ino)


def _found(nbytes: int, process: int, number: int, device: int, inode: int) -> SharedMemory:
    """The memory that a process has under that number, if it still has."""
    path = f"/proc/{process}/fd/{number}"
    try:
        status = os.stat(path)  # before it is opened, as it may be anything by now
        if (status.st_dev, status.st_ino, status.st_size) == (device, inode, nbytes):
            return SharedMemory(nbytes, os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        pass
    return SharedMemory(nbytes)
