"""The names of all files below a folder of this machine."""

import os
from collections.abc import Iterator

from headrace.errors import unreadable, warn_passed_over
from headrace.storage.local.regular import special


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
        folders = []
        for entry in _entries(path):
            if _is_folder(entry):
                if follow_links or not entry.is_symlink():
                    folders.append(entry.name)
            elif _is_file(entry):
                yield parent + entry.name
        # Sorted, so that of two links to a folder always the same one names its samples.
        waiting += [f"{parent}{name}/" for name in sorted(folders, reverse=True)]


def _entries(path: str) -> "list[os.DirEntry[str]]":
    """What is in a folder, but for hidden names."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable(path, error) from None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, as whoever reads it is told
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether it can be read as a file; warns of a pipe, a socket or a device."""
    try:
        if entry.is_file():
            return True
        kind = special(entry.stat().st_mode)
    except OSError:
        return True
    if kind is None:
        return True
    warn_passed_over(f"{entry.path!r} is passed over, as it is {kind}, not a file.")
    return False
