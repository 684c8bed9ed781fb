"""What lies at a path of this machine, told as far as this user may see it.

`os.path.exists` and its siblings answer "nothing" where they may not look, or a link leads back to
itself; what is said of that would then be wrong.
"""

import os
import stat
from typing import NoReturn

from headrace.errors import unreadable


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether anything is there. Raises a StorageError if that can't be told."""
    return _mode(path) is not None


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there. Raises a StorageError if that can't be told."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file is there. Raises a StorageError if that can't be told."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def begin_of_relative(path: str | os.PathLike[str]) -> str:
    """Where a relative path begins, for the error that nothing is there; "" of an absolute one."""
    return "" if os.path.isabs(path) else f"Relative paths begin in {os.getcwd()!r}."


def refuse(error: OSError) -> NoReturn:
    """Raises, as a StorageError, over a folder that `os.walk` can't read and would pass over."""
    raise unreadable(str(error.filename), error)


def _mode(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last, of a NUL in it
        return None
    except OSError as error:
        raise unreadable(os.fspath(path), error) from None
