"""Folder: the files below a folder of this machine."""

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from headrace.errors import FileMissingError, StorageError, bad_value
from headrace.storage.storage import Request

_HAS_PREADV = hasattr(os, "preadv")
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Folder:
    """The files below `root`. Nothing is kept open.

    Raises:
        ArgumentError: (a ValueError) there is no such folder.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        root = os.fspath(root)
        if not os.path.isdir(root):
            raise bad_value("root", root, "an existing folder")
        self._root = os.path.abspath(root)

    @property
    def root(self) -> str:
        return self._root

    def __repr__(self) -> str:
        return f"Folder({self._root!r})"

    def path(self, name: str) -> str:
        """Where the file of that name lies."""
        return os.path.join(self._root, name)

    def fetch(self, requests: Sequence[Request]) -> Iterator[tuple[int, memoryview]]:
        name, file, size = None, -1, 0
        try:
            for position, request in enumerate(requests):
                try:
                    if request.name != name:
                        if file >= 0:
                            os.close(file)
                            file = -1
                        file = os.open(self.path(request.name), _FLAGS)
                        # One call for each request: two threads that give up the interpreter's
                        # lock more often hold each other up.
                        name, size = request.name, os.fstat(file).st_size
                    data = _read(file, size, request, position)
                except OSError as error:
                    raise self._explained(error, request, position) from None
                yield position, data
                del data  # before the next one is read
        finally:
            if file >= 0:
                os.close(file)

    def size(self, name: str) -> int:
        try:
            return os.path.getsize(self.path(name))
        except OSError as error:
            raise self._explained(error, Request(name), 0) from None

    def names(self, suffixes: tuple[str, ...] = ("",)) -> list[str]:
        return sorted(name for name in _walk(self._root) if name.endswith(suffixes))

    def _explained(self, error: OSError, request: Request, position: int) -> StorageError:
        if isinstance(error, StorageError):
            return error
        if isinstance(error, FileNotFoundError):
            return FileMissingError.at(position, f"there is no file {self.path(request.name)!r}")
        return StorageError.at(
            position, f"{self.path(request.name)!r} can't be read: {error.strerror or error}"
        )


def _read(file: int, size: int, request: Request, position: int) -> memoryview:
    _, start, stop = request
    end = size if stop is None else stop
    if end > size:
        raise StorageError.at(position, f"{request} can't be read: the file has {size} bytes")
    data = memoryview(bytearray(max(0, end - start)))
    received = 0
    while received < len(data):
        if _HAS_PREADV:
            count = os.preadv(file, (data[received:],), start + received)
        else:
            os.lseek(file, start + received, os.SEEK_SET)
            part = os.read(file, len(data) - received)
            count = len(part)
            data[received : received + count] = part
        if not count:
            raise StorageError.at(position, f"{request} ended after {received} bytes")
        received += count
    return data


def read_into(file: BinaryIO, data: memoryview) -> int:
    """Fills `data` from the file as far as it goes; the number of bytes read."""
    received = 0
    while received < len(data):
        count = file.readinto(data[received:])  # type: ignore[attr-defined]
        if not count:
            break
        received += count
    return received


def _walk(root: str) -> Iterator[str]:
    """The names of all files below `root`, with `/` between folders."""
    seen = set()
    for folder, subfolders, files in os.walk(root, onerror=_raise, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back to where the walk came from
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # Sorted, so that of two links to a folder always the same one names its samples.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        parent = "" if relative == "." else relative + "/"
        for name in files:
            if not name.startswith("."):
                yield parent + name


def _raise(error: OSError) -> None:
    raise error
