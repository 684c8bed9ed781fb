"""Files of this machine opened such that what is no file can't stop the program.

To open a named pipe waits until somebody writes to it, and a device may wait or act in other ways.
"""

import os
import stat

from headrace.errors import StorageError

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# A pipe is then opened at once, and of a terminal the process does not become the owner.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
READING = _FLAGS | _AT_ONCE

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special(mode: int) -> str | None:
    """What something is that is neither a file nor a folder, by its `st_mode`; else None."""
    return _KINDS.get(stat.S_IFMT(mode))


def check_regular(path: str, mode: int) -> None:
    """Raises a StorageError if `mode`, that of `path`, is of something else than a file."""
    kind = special(mode)
    if kind is not None:
        raise StorageError(f"{path!r} can't be read: it is {kind}, not a file")


def no_file(path: str) -> StorageError | None:
    """The error that `path` is something else than a file; None if it is one, or not there."""
    try:
        check_regular(path, os.stat(path).st_mode)
    except StorageError as error:
        return error
    except OSError:
        pass
    return None


def opener(path: str, flags: int) -> int:
    """Opens a file, as the `opener` of the builtin `open`.

    Raises:
        StorageError: it is a pipe, a socket or a device.
        OSError: it can't be opened.
    """
    try:
        file = os.open(path, flags | _AT_ONCE)
    except OSError as error:
        raise no_file(path) or error from None  # a socket can't be opened at all
    try:
        check_regular(path, os.fstat(file).st_mode)
    except BaseException:
        os.close(file)
        raise
    return file
