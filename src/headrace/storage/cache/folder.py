"""CacheFolder: files in a folder of which all processes together never keep more than a limit.

A running total of the bytes stands in the file `total`, which is also the lock (`flock`) that a
process holds while it reserves room. It reserves before it writes, and the total is lowered only by
counting all files, so that whatever process is killed, and whenever, the total is never below the
truth. The files are counted when the total says that the limit would be passed, and once an hour;
temporary files have their full length from the start, and are counted like others.
"""

import contextlib
import os
import secrets
import struct
import time
import zlib
from array import array
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from headrace.storage.local.locked import BusyError, locked

# magic, bytes, second of the count, CRC-32 of these
_TOTAL = struct.Struct("<8sQQI")
_MAGIC = b"hr-total"
_RECOUNT_SECONDS = 3600
_KEPT_SHARE = 0.9
# A temporary file that was not written to for so long has lost its process. Should it not have,
# its process finds it gone, and drops that entry.
_ABANDONED_SECONDS = 300
# Counting millions of files takes seconds, in which the others go on without the cache.
_PATIENCE_SECONDS = 0.25
_DIGEST_NBYTES = 16
Numbers = npt.NDArray[np.int64]


class NoRoomError(Exception):
    """There is no room now, or no answer whether there is."""


class CacheFolder:
    """Files named by digests of 16 bytes, in 256 folders, and temporary files in one.

    All methods raise OSError where the file system does.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._total = os.path.join(folder, "total")
        self._partial = os.path.join(folder, "partial")

    def path(self, digest: bytes) -> str:
        """Where the file of that name lies."""
        name = digest.hex()
        return os.path.join(self._folder, name[:2], name[2:])

    def running_total(self) -> int:
        """The running total: what all files have, or more."""
        try:
            with open(self._total, "rb") as file:
                total, _ = _parsed(file.read())
        except OSError:
            return 0
        return total or 0

    def reserve(self, nbytes: int) -> tuple[str, int, int]:
        """Makes room for a file, and creates it under a temporary name, with its full length.

        Returns:
            Its path, a descriptor to write to it, and the number of files that were evicted.

        Raises:
            NoRoomError: what is being written takes the room, or others hold the lock for long.
        """
        evicted = 0
        with self._locked() as lock:
            total, counted = _parsed(os.pread(lock, _TOTAL.size, 0))
            now = int(time.time())
            if (
                total is None
                or total + nbytes > self._max_bytes
                or not 0 <= now - counted < _RECOUNT_SECONDS
            ):
                total, evicted = self._make_room(nbytes)
                counted = now
            total += nbytes
            # Before there is a file: a process that ends in between leaves too large a total.
            os.pwrite(lock, _recorded(total, counted), 0)
            path = os.path.join(self._partial, secrets.token_hex(8))
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                os.ftruncate(file, nbytes)
            except OSError:
                os.close(file)
                os.unlink(path)
                raise
        return path, file, evicted

    def keep(self, path: str, digest: bytes) -> None:
        """Gives a temporary file its name, in place of one that has it.

        Not an `atomic_file`: nothing is made safe on the disk. What a crash damages is found by its
        checksum, and counts as a miss.
        """
        target = self.path(digest)
        try:
            os.replace(path, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(path, target)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        lock = self._opened()
        try:
            with locked(lock, _PATIENCE_SECONDS):
                yield lock
        except BusyError:
            raise NoRoomError from None
        finally:
            os.close(lock)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT
        try:
            lock = os.open(self._total, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(self._partial, exist_ok=True)
            lock = os.open(self._total, flags, 0o666)
        return lock

    def _make_room(self, nbytes: int) -> tuple[int, int]:
        """Counts the files, and deletes those used least recently if there is no room.

        Returns:
            The bytes that are left, and the number of deleted files.
        """
        # In this order: a file that is renamed in between is counted twice rather than not at all.
        partial = self._count_partial()
        digests, times, sizes = self._entries()
        total = partial + int(sizes.sum())
        if total + nbytes <= self._max_bytes:
            return total, 0
        if partial + nbytes > self._max_bytes:
            raise NoRoomError
        target = min(int(_KEPT_SHARE * self._max_bytes), self._max_bytes - nbytes)
        evicted = 0
        failure = None
        for i in np.argsort(times, kind="stable").tolist():
            if total <= target:
                break
            start = i * _DIGEST_NBYTES
            try:
                os.unlink(self.path(bytes(digests[start : start + _DIGEST_NBYTES])))
                evicted += 1
            except FileNotFoundError:
                pass  # it was found damaged, and dropped, meanwhile
            except OSError as error:
                failure = error
                continue
            total -= int(sizes[i])
        if total + nbytes > self._max_bytes:
            raise failure or NoRoomError
        return total, evicted

    def _count_partial(self) -> int:
        """The bytes of temporary files; deletes those of dead processes."""
        total = 0
        os.makedirs(self._partial, exist_ok=True)
        with os.scandir(self._partial) as files:
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    if abs(time.time() - status.st_mtime) > _ABANDONED_SECONDS:
                        os.unlink(file.path)
                    else:
                        total += status.st_size
        return total

    def _entries(self) -> tuple[bytearray, Numbers, Numbers]:
        """Digests, times of use in ns, and sizes of all files: 32 bytes for each."""
        digests, times, sizes = bytearray(), array("q"), array("q")
        with os.scandir(self._folder) as folders:
            prefixes = sorted(folder.name for folder in folders if len(folder.name) == 2)
        for prefix in prefixes:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(os.path.join(self._folder, prefix)) as files,
            ):
                for file in files:
                    try:
                        digest = bytes.fromhex(prefix + file.name)
                        status = file.stat(follow_symlinks=False)
                    except (ValueError, FileNotFoundError):
                        continue  # not ours, or gone
                    if len(digest) == _DIGEST_NBYTES:
                        digests += digest
                        times.append(status.st_mtime_ns)
                        sizes.append(status.st_size)
        return digests, np.array(times, np.int64), np.array(sizes, np.int64)


def _recorded(total: int, counted: int) -> bytes:
    record = _TOTAL.pack(_MAGIC, total, counted, 0)[:-4]
    return record + zlib.crc32(record).to_bytes(4, "little")


def _parsed(record: bytes) -> tuple[int | None, int]:
    """The total, None if it has to be counted, and when it was counted."""
    if len(record) != _TOTAL.size:
        return None, 0
    magic, total, counted, check = _TOTAL.unpack(record)
    if magic != _MAGIC or zlib.crc32(record[:-4]) != check:
        return None, 0
    return total, counted
