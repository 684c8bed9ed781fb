"""Slots: pieces of memory without a name that two processes share.

A slot is made by one process, which passes its descriptor to the other; when both have mapped it,
the descriptors are closed. Nothing of it is left in any folder, however the processes end.
"""

import contextlib
import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headrace.errors import SharedMemoryError

Memory = npt.NDArray[np.uint8]

_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
_CGROUP = Path("/sys/fs/cgroup")


def create(nbytes: int) -> int:
    """The descriptor of new shared memory, all of which is there: writing to it can't fail.

    Raises:
        SharedMemoryError: (a MemoryError) there is not as much memory left.
    """
    what = "A batch in shared memory"
    check_free(nbytes, what)
    file = _create_file()
    try:
        _reserve(file, nbytes)
    except OSError:  # another worker was faster
        os.close(file)
        _, where, remedy = _free()
        raise _shortage(what, nbytes, where, "too few", remedy) from None
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
    free, where, remedy = _free()
    if nbytes > free:
        raise _shortage(what, nbytes, where, str(free), remedy)


def _shortage(what: str, nbytes: int, where: str, left: str, remedy: str) -> SharedMemoryError:
    return SharedMemoryError(
        f"{what} takes {nbytes} bytes, but {where} has {left} left. "
        f"Pass a smaller lookahead_bytes to Processes, {remedy}."
    )


def _create_file() -> int:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # forbidden
            return os.memfd_create("headrace")
    with tempfile.TemporaryFile(prefix="headrace-", dir=_FOLDER) as file:
        return os.dup(file.fileno())


def _reserve(file: int, nbytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, nbytes)
    else:
        os.ftruncate(file, nbytes)


def _free() -> tuple[int, str, str]:
    """The bytes that shared memory may take, who has them, and what else helps."""
    file = _create_file()
    try:
        named = os.readlink(f"/proc/self/fd/{file}") if os.path.isdir("/proc/self/fd") else _FOLDER
        if not named.startswith("/memfd:"):
            status = os.fstatvfs(file)
            remedy = "use Threads, or make it larger, as with docker's --shm-size"
            return status.f_bavail * status.f_frsize, _FOLDER, remedy
    finally:
        os.close(file)
    free = [_entry(Path("/proc/meminfo"), "MemAvailable:") * 1024]
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or one without limit ("max")
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        # Files that were read count as used, but make room when it is needed.
        cached = (
            _entry(_CGROUP / "memory.stat", f"{kind}_file") for kind in ("active", "inactive")
        )
        free.append(limit - used + sum(cached))
    return max(0, min(free)), "the machine's memory", "or use Threads"


def _entry(file: Path, name: str) -> int:
    """The number that follows the name in a file of such lines."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    raise ValueError(f"{file} has no {name}")
