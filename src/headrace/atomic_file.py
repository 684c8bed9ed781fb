"""Files that are there in full or not at all, whenever the process or the machine ends."""

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from headrace.errors import unwritable


@contextlib.contextmanager
def atomic_file(
    path: str | os.PathLike[str], unfinished: str | os.PathLike[str] | None = None
) -> Iterator[str]:
    """Has a file written under another name, and renames it to `path` when the block ends.

    Its bytes are safe on the disk before it takes the place of the file that has that name. If the
    block raises an error, that one stays as it is.

    Args:
        path: where the file is to be.
        unfinished: the name that it has until then, in the same file system. Default: a hidden one
            in the same folder, of this process, `.<name>-<pid>.tmp`.

    Yields:
        The path to write to.
    """
    if unfinished is None:
        folder, name = os.path.split(os.fspath(path))
        unfinished = os.path.join(folder, f".{name}-{os.getpid()}.tmp")
    try:
        yield os.fspath(unfinished)
        with open(unfinished, "r+b") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


@contextlib.contextmanager
def saved_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """An `atomic_file` that a user asks for by its path, open for writing.

    Raises:
        StorageError: (an OSError) it can't be written.
    """
    try:
        with atomic_file(path) as unfinished, open(unfinished, "wb") as file:
            yield file
    except OSError as error:
        raise unwritable(os.fspath(path), error) from None
