"""What runs on this machine, is open, and lies in shared memory, as /proc and /dev/shm tell."""

import contextlib
import os
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system has no /proc to look into"
)


def of_session(leader):
    """The command lines of the processes of a session, by their number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text()
    return found


def workers_of_session(leader):
    return [pid for pid, command in of_session(leader).items() if "spawn_main" in command]


def open_files(folder):
    """Those below the folder that this process has open, once for each time; others come and go."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed, as that of the listing itself
            found.append(os.readlink(descriptor))
    return [path for path in found if Path(path).is_relative_to(os.path.realpath(folder))]


def names_in_shared_memory():
    return {name for name in os.listdir("/dev/shm") if "headrace" in name}
