"""Files in memory without a name, which processes share; nothing of one is left after them."""

import contextlib
import os
import tempfile
from pathlib import Path

_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
_CGROUP = Path("/sys/fs/cgroup")


def create_file() -> int:
    """The descriptor of a new file, which is empty."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # forbidden
            return os.memfd_create("headrace")
    with tempfile.TemporaryFile(prefix="headrace-", dir=_FOLDER) as file:
        return os.dup(file.fileno())


def free() -> tuple[int, str, str]:
    """The bytes that such files may take, who has them, and what makes them more, if anything."""
    file = create_file()
    try:
        named = os.readlink(f"/proc/self/fd/{file}") if os.path.isdir("/proc/self/fd") else _FOLDER
        if not named.startswith("/memfd:"):
            status = os.fstatvfs(file)
            remedy = "make it larger, as with docker's --shm-size"
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
    return max(0, min(free)), "the machine's memory", ""


def _entry(file: Path, name: str) -> int:
    """The number that follows the name in a file of such lines."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    raise ValueError(f"{file} has no {name}")
