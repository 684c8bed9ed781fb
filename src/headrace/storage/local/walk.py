"""The names of all files below a folder of this machine."""

import os
from collections.abc import Iterator

from headrace.errors import unreadable
from headrace.storage.local.regular import special
from headrace.storage.passed_over import warn_passed_over


def files_below(root: str, follow_links: bool = True) -> Iterator[str]:
    """The names of all files below `root`, with `/` between folders.

    Files and folders whose name begins with a dot are passed over; so are pipes, sockets and
    devices, of which it warns.

    Raises:
        StorageError: a folder can't be read.
    """
    seen = set()
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        path = os.path.join(root, parent).rstrip("/") or "/"
        try:
            status = os.stat(path)
        except OSError as error:
            raise unreadable(path, error) from None
        if (status.st_dev, status.st_ino) in seen:  # a link back to where the walk came from
            continue
        seen.add((status.st_dev, status.st_ino))
        files, folders = _inside(path, follow_links)
        for name in files:
            yield parent + name
        # Sorted, so that of two links to a folder always the same one names its samples.
        waiting += [f"{parent}{name}/" for name in sorted(folders, reverse=True)]


def _inside(path: str, follow_links: bool) -> tuple[list[str], list[str]]:
    """The names of the files, and of the folders, in a folder."""
    files, folders = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_file(entry):
                    files.append(entry.name)
                elif entry.is_dir() and (follow_links or not entry.is_symlink()):
                    folders.append(entry.name)
    except OSError as error:
        raise unreadable(path, error) from None
    return files, folders


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether it is to be read as a file; warns of a pipe, a socket or a device."""
    try:
        if entry.is_file():
            return True
        if entry.is_dir():
            return False
        kind = special(entry.stat().st_mode)
    except OSError:  # a link that leads nowhere, as whoever reads it is told
        return True
    if kind is not None:
        warn_passed_over(f"{entry.path!r} is passed over, as it is {kind}, not a file.")
    return kind is None
