"""Cache: what came from afar, kept in files on this machine.

An entry is a file with a checksum over its key, its length and its bytes. It is written under a
temporary name and renamed when it is whole, and nothing is trusted when it is read again: an entry
that is damaged by a disk, a crash or a hand is deleted, and counts as a miss. Entries are bytes,
never objects.
"""

import contextlib
import errno
import hashlib
import os
import struct
import threading
import time
import warnings
import zlib
from dataclasses import dataclass

from headrace.arguments import check_int
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.per_process import PerProcess
from headrace.storage.cache.folder import CacheFolder, NoRoomError
from headrace.storage.local.folder import read_into
from headrace.storage.local.locked import HAS_FLOCK

# magic, digest of the key, number of bytes that follow the header, CRC-32 of these three and the
# bytes. CRC-32 took a quarter of the time of the fastest longer hash, and what it guards against is
# damage, not forgery.
_HEADER = struct.Struct("<8s16sQ28xI")
_MAGIC = b"hr-entry"
_MOST_BYTES = 2**62
# A time of use is written down no oftener.
_TOUCH_SECONDS = 1.0
# After the disk was full or could not be written to, and after others held the lock for long.
_RETRY_SECONDS = 60.0
_BUSY_SECONDS = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class CacheStats:
    """What a cache did in this process, and how full its folder is."""

    hits: int
    misses: int
    fills: int
    """Objects that were put into the cache."""
    skipped: int
    """Objects that were not: too large, or there was no room, or the disk refused."""
    evictions: int
    rejected: int
    """Entries that were damaged, and were dropped; each is a miss, too."""
    bytes: int
    """In the folder, of all processes: the sum of all files' lengths, or somewhat more."""
    max_bytes: int


class Cache:
    """Keeps what `headrace.Remote` fetches in a folder, for all processes of this machine.

    The lengths of all files in it, those being written included, never add up to more than
    `max_bytes`, however many processes and threads fill it, as long as all state that limit; the
    file system rounds each file up to blocks. What was used least recently is evicted, in one go,
    until nine tenths of the limit are left; times of use are exact to a second.

    Where the folder can't be written to, or its disk is full, one warning of each kind is given,
    objects come as if there was no cache, and writing is tried again after a minute.

    Pickles as a description, and works in forked processes.

    Args:
        folder: made when it is first needed. Best on a local disk, and below a folder that only
            those whom you trust can write to.
        max_bytes: the limit. Objects that are larger are not cached.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) for arguments of the wrong
            kind.

    Example:
        >>> import tempfile
        >>> import headrace as hr
        >>> cache = hr.Cache(tempfile.mkdtemp(), max_bytes=2**20)
        >>> cache.get("https://example.org/x.npy") is None
        True
        >>> cache.put("https://example.org/x.npy", b"12345678")
        >>> bytes(cache.get("https://example.org/x.npy"))
        b'12345678'
        >>> cache.stats().hits, cache.stats().misses
        (1, 1)
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        if not HAS_FLOCK:
            raise ArgumentError("hr.Cache needs flock, which this operating system does not have.")
        if not isinstance(folder, (str, os.PathLike)) or isinstance(os.fspath(folder), bytes):
            raise bad_type("folder", folder, "the path of a folder")
        folder = os.path.abspath(folder)
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise bad_value("folder", folder, "a folder, or the path of a new one")
        self._folder = folder
        self._max_bytes = check_int("max_bytes", max_bytes, 1, _MOST_BYTES)
        self._files = CacheFolder(folder, self._max_bytes)
        # A forked child needs its own, as a thread of the parent's may hold the lock.
        self._here: PerProcess[_Here] = PerProcess(_Here)

    @property
    def folder(self) -> str:
        return self._folder

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    def __repr__(self) -> str:
        return f"Cache({self._folder!r}, max_bytes={self._max_bytes})"

    def __reduce__(self) -> tuple[type["Cache"], tuple[str, int]]:
        return Cache, (self._folder, self._max_bytes)

    def get(self, key: str) -> memoryview | None:
        """The bytes that were put under `key`, or None. The memory is the caller's."""
        here = self._here.get()
        digest = _digest(key)
        path = self._files.path(digest)
        try:
            with open(path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                # Of a larger one, which can't be right, no more than its header is read.
                whole = status.st_size <= self._max_bytes
                data = memoryview(bytearray(status.st_size if whole else _HEADER.size))
                received = read_into(file, data)
        except OSError as error:
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                self._troubled(here, error)
            here.count("misses")
            return None
        if not whole or not _is_right(digest, data[:received]):
            with contextlib.suppress(OSError):
                os.unlink(path)
            here.count("rejected")
            here.count("misses")
            return None
        if not 0 <= time.time() - status.st_mtime < _TOUCH_SECONDS:
            with contextlib.suppress(OSError):  # evicted meanwhile, or not ours to write to
                os.utime(path)
        here.count("hits")
        return data[_HEADER.size :]

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Keeps `data` under `key`, if that is possible; what was there is replaced."""
        here = self._here.get()
        view = memoryview(data).cast("B")
        nbytes = _HEADER.size + len(view)
        if nbytes > self._max_bytes or time.monotonic() < here.paused_until:
            here.count("skipped")
            return
        try:
            self._fill(here, _digest(key), view, nbytes)
        except NoRoomError:
            here.paused_until = time.monotonic() + _BUSY_SECONDS
            here.count("skipped")
        except OSError as error:
            here.paused_until = time.monotonic() + _RETRY_SECONDS
            here.count("skipped")
            self._troubled(here, error)

    def stats(self) -> CacheStats:
        """What was done in this process, and the bytes that all have in the folder."""
        counts = self._here.get().counted()
        return CacheStats(**counts, bytes=self._files.running_total(), max_bytes=self._max_bytes)

    def _fill(self, here: "_Here", digest: bytes, view: memoryview, nbytes: int) -> None:
        path, file, evicted = self._files.reserve(nbytes)
        here.count("evictions", evicted)
        try:
            try:
                _write(file, _header(digest, view))
                _write(file, view)
            finally:
                os.close(file)
            self._files.keep(path, digest)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        here.count("fills")

    def _troubled(self, here: "_Here", error: OSError) -> None:
        """Warns of the error, if it is the first of its kind in this process."""
        if error.errno in _FULL:
            kind = "has no room left on its disk"
        elif error.errno in _FORBIDDEN:
            kind = "can't be used for lack of permission"
        else:
            kind = "fails"
        if here.is_new(kind):
            warnings.warn(
                f"headrace: the cache in {self._folder!r} {kind} ({error.strerror or error}). "
                "Objects are fetched without it, and it is tried again from time to time.",
                RuntimeWarning,
                stacklevel=4,
            )


class _Here:
    """What one process keeps of its use of a cache."""

    def __init__(self) -> None:
        self.paused_until = 0.0
        self._lock = threading.Lock()
        self._kinds: set[str] = set()
        self._counts = dict.fromkeys(
            ("hits", "misses", "fills", "skipped", "evictions", "rejected"), 0
        )

    def count(self, what: str, by: int = 1) -> None:
        with self._lock:
            self._counts[what] += by

    def counted(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def is_new(self, kind: str) -> bool:
        with self._lock:
            new = kind not in self._kinds
            self._kinds.add(kind)
        return new


def _digest(key: str) -> bytes:
    # The key itself is nowhere on the disk: a URL may hold what is secret.
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _header(digest: bytes, data: memoryview) -> bytes:
    start = _HEADER.pack(_MAGIC, digest, len(data), 0)[:-4]
    return start + zlib.crc32(data, zlib.crc32(start)).to_bytes(4, "little")


def _is_right(digest: bytes, entry: memoryview) -> bool:
    """Whether the bytes of a file are an entry of the key with that digest."""
    data = entry[_HEADER.size :]
    return len(entry) >= _HEADER.size and entry[: _HEADER.size] == _header(digest, data)


def _write(file: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(file, view) :]
