"""Folder: the files below a folder of this machine.

Small files, and small parts of few files, are read many at once where there is io_uring: a batch of
files then takes one system call, in place of three for each file.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices, MemoryPool, address
from headrace.errors import StorageError, bad_value, unreadable
from headrace.storage.local.io_uring import Ring, RingLostError, ring_of_thread
from headrace.storage.local.paths import begin_of_relative, is_folder
from headrace.storage.local.regular import READING, check_regular, no_file
from headrace.storage.local.walk import files_below
from headrace.storage.storage import Request

_HAS_PREADV = hasattr(os, "preadv")
_FOLDER_FLAGS = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | READING
# Below, preparing the one call takes longer than the calls that it saves.
_LEAST_TOGETHER = 16
# Larger requests take less time one by one, up to the time of their copy. Rows are not copied.
_MOST_BYTES_EACH = 2**16
# A call that reads more rows would take too long to be interrupted.
_MOST_BYTES_OF_ROWS = 2**26
# A request in a file of its own takes an open and a close.
_LEAST_PARTS_OF_A_FILE = 4
_MOST_KEPT_BYTES = 2**23
_BYTE = np.dtype(np.uint8)


class Folder:
    """The files below `root`. Nothing is kept open.

    Raises:
        ArgumentError: (a ValueError) there is no such folder.
        StorageError: (an OSError) whether there is can't be told.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        root = os.fspath(root)
        if not is_folder(root):
            raise bad_value("root", root, "an existing folder", begin_of_relative(root))
        self._root = os.path.abspath(root)
        self._prefix = os.fsencode(os.path.join(self._root, ""))
        self._longest = 0  # of the bytes that were read last
        self._memory = MemoryPool(_MOST_KEPT_BYTES)

    @property
    def root(self) -> str:
        return self._root

    def __getstate__(self) -> dict[str, object]:
        # A pickle is the same whatever was read before.
        return {**self.__dict__, "_longest": 0}

    def __repr__(self) -> str:
        return f"Folder({self._root!r})"

    def location(self, name: str) -> str:
        return os.path.join(self._root, name)

    def local_path(self, name: str = "") -> str:
        return os.path.join(self._root, name) if name else self._root

    def fetch(self, requests: Sequence[Request]) -> Generator[tuple[int, memoryview], None, None]:
        for begin in range(0, len(requests), Ring.MOST_FILES):
            group = requests[begin : begin + Ring.MOST_FILES]
            found = self._read_together(group)
            longest = 0
            left = []
            for position, data in enumerate(found):
                if data is None:
                    left.append(position)
                    continue
                longest = max(longest, len(data))
                yield begin + position, data
            del found
            for position, data in self._read_each(group, left, begin):
                longest = max(longest, len(data))
                yield begin + position, data
                del data  # before the next one is read
            self._longest = longest

    def _read_together(self, requests: Sequence[Request]) -> list[memoryview | None]:
        """What could be read in one system call, at most `MOST_FILES` requests; None for others."""
        nothing: list[memoryview | None] = [None] * len(requests)
        ring = ring_of_thread() if len(requests) >= _LEAST_TOGETHER else None
        if ring is None:
            return nothing
        parts = sum(request.stop is not None for request in requests)
        try:
            if parts == len(requests):
                return self._read_parts(ring, requests) or nothing
            if not parts and not any(request.start for request in requests):
                return self._read_whole(ring, requests) or nothing
        except (OSError, RingLostError):
            pass  # one by one, the same error is met again and explained
        return nothing

    def _read_whole(self, ring: Ring, requests: Sequence[Request]) -> list[memoryview | None]:
        # Most likely they are no longer than those before. What is longer is read again.
        width = -(-self._longest // 64) * 64
        if not 0 < width <= _MOST_BYTES_EACH:
            return []
        names = os.fsencode("".join(request.name + "\0" for request in requests))
        text = np.frombuffer(names, np.uint8)
        ends = np.flatnonzero(text == 0)
        if len(ends) != len(requests):
            return []  # a name with a NUL in it
        starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.uintp)
        rows = self._empty(len(requests) * width).reshape(len(requests), width)
        folder = os.open(self._root, _FOLDER_FLAGS)
        try:
            received = ring.read_whole(folder, starts + np.uintp(address(text)), names, rows)
        finally:
            os.close(folder)
        data = rows.reshape(-1).data
        return [
            data[start : start + n] if n >= 0 else None
            for start, n in zip(range(0, len(data), width), received.tolist(), strict=True)
        ]

    def _read_parts(self, ring: Ring, requests: Sequence[Request]) -> list[memoryview | None]:
        names = dict.fromkeys(request.name for request in requests)
        bounds = np.array([(request.start, request.stop) for request in requests])
        lengths = bounds[:, 1] - bounds[:, 0]
        total = int(lengths.sum())
        if (
            len(names) * _LEAST_PARTS_OF_A_FILE > len(requests)
            or min(lengths.min(), bounds.min()) < 0
            or total > len(requests) * _MOST_BYTES_EACH
        ):
            return []
        stops = np.cumsum(lengths)
        memory = self._empty(total)
        addresses = (stops - lengths).astype(np.uintp) + np.uintp(address(memory))
        files: dict[str, int] = {}
        try:
            for name in names:
                files[name] = os.open(self.location(name), READING)
            of_each = np.array([files[request.name] for request in requests], np.int32)
            received = ring.read_ranges(of_each, bounds[:, 0], lengths, addresses, memory)
        finally:
            for file in files.values():
                os.close(file)
        return [
            memory.data[stop - length : stop] if complete else None
            for stop, length, complete in zip(
                stops.tolist(), lengths.tolist(), (received == lengths).tolist(), strict=True
            )
        ]

    def _empty(self, nbytes: int) -> npt.NDArray[np.uint8]:
        # Of few sizes, so that memory is used again.
        return self._memory.empty((1 << max(0, nbytes - 1).bit_length(),), _BYTE)[:nbytes]

    def _read_each(
        self, requests: Sequence[Request], positions: list[int], begin: int
    ) -> Iterator[tuple[int, memoryview]]:
        """Reads the requests at these positions, of which each counts as `begin` more."""
        name, file, size = None, -1, 0
        try:
            for position in positions:
                request = requests[position]
                try:
                    if request.name != name:
                        if file >= 0:
                            # An exception in between must not have it closed twice.
                            before, file = file, -1
                            os.close(before)
                        file = os.open(self.location(request.name), READING)
                        # One call for each request: two threads that give up the interpreter's
                        # lock more often hold each other up.
                        status = os.fstat(file)
                        check_regular(self.location(request.name), status.st_mode)
                        name, size = request.name, _size_of(status)
                    data = _read(file, size, request)
                except OSError as error:
                    raise self._explained(error, request, begin + position) from None
                yield position, data
                del data  # before the next one is read
        finally:
            if file >= 0:
                os.close(file)

    def read_rows(
        self,
        names: bytes,
        starts: Array,
        stops: Array,
        files: Indices,
        head: bytes,
        rows: Array,
    ) -> Iterable[int]:
        """Fills each row with what follows the head of a file, where the file begins with `head`.

        Args:
            names: those of files, each followed by a NUL, but perhaps the last.
            starts, stops: where in `names` each of them lies.
            files: which of them each row is of; shape (rows,).
            head: what the files most likely begin with.
            rows: C-contiguous; of the bytes that follow the head.

        Returns:
            The rows that are not filled, in order: their file can't be read, ends early, or begins
            with something else. What is in them is not defined.
        """
        if not _HAS_PREADV or not rows.nbytes:
            return range(len(rows))
        ring = ring_of_thread() if len(rows) >= _LEAST_TOGETHER else None
        if ring is not None:
            try:
                return self._read_rows_together(ring, names, starts[files], head, rows)
            except (OSError, RingLostError):
                pass
        return self._read_rows_each(names, starts[files], stops[files], head, rows)

    def _read_rows_together(
        self,
        ring: Ring,
        names: bytes,
        starts: Array,
        head: bytes,
        rows: Array,
    ) -> list[int]:
        addresses = starts.astype(np.uintp) + np.uintp(address(np.frombuffer(names, np.uint8)))
        complete = len(head) + rows.nbytes // len(rows)
        expected = np.frombuffer(head, np.uint8)
        most = max(1, min(ring.MOST_FILES, _MOST_BYTES_OF_ROWS // complete))
        left: list[int] = []
        folder = os.open(self._root, _FOLDER_FLAGS)
        try:
            for at in range(0, len(rows), most):
                part = rows[at : at + most]
                received, heads = ring.read(
                    folder, addresses[at : at + most], names, len(head), part
                )
                if (received != complete).any() or heads.tobytes() != head * len(heads):
                    bad = (received != complete) | (heads != expected).any(axis=1)
                    left += (at + np.flatnonzero(bad)).tolist()
        finally:
            os.close(folder)
        return left

    def _read_rows_each(
        self,
        names: bytes,
        starts: Array,
        stops: Array,
        head: bytes,
        rows: Array,
    ) -> list[int]:
        prefix, os_open, preadv, close = self._prefix, os.open, os.preadv, os.close
        data = rows.reshape(-1).view(np.uint8).data
        nbytes = rows.nbytes // len(rows)
        found = bytearray(len(head))
        complete = len(head) + nbytes
        left: list[int] = []
        bounds = zip(starts.tolist(), stops.tolist(), strict=True)
        for row, (start, stop) in enumerate(bounds):
            at = row * nbytes
            try:
                file = os_open(prefix + names[start:stop], READING)
                try:
                    received = preadv(file, (found, data[at : at + nbytes]), 0)
                finally:
                    close(file)
            except OSError:
                received = 0
            if received != complete or found != head:
                left.append(row)
        return left

    def size(self, name: str) -> int:
        return self._size(name, 0)

    def sizes(self, names: Sequence[str]) -> list[int]:
        return [self._size(name, position) for position, name in enumerate(names)]

    def _size(self, name: str, position: int) -> int:
        path = self.location(name)
        try:
            status = os.stat(path)
            check_regular(path, status.st_mode)
            return _size_of(status)
        except OSError as error:
            raise self._explained(error, Request(name), position) from None

    def names(self, suffixes: tuple[str, ...] = ("",)) -> list[str]:
        return sorted(name for name in files_below(self._root) if name.endswith(suffixes))

    def _explained(self, error: OSError, request: Request, position: int) -> StorageError:
        path = self.location(request.name)
        explained = no_file(path) or unreadable(path, error)
        explained.position = position
        return explained


def _size_of(status: os.stat_result) -> int:
    if stat.S_ISDIR(status.st_mode):  # which can be opened, and has a size
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return status.st_size


def _read(file: int, size: int, request: Request) -> memoryview:
    """The bytes that are asked for; raises an OSError that says what of."""
    _, start, stop = request
    end = size if stop is None else stop
    if end > size or start < 0 or (stop is not None and stop < start):
        raise OSError(f"bytes [{start}:{end}] are wanted, and it has {size} bytes")
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
            raise OSError(f"it ended after {received} bytes of [{start}:{end}]")
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
