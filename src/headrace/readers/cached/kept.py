"""Kept: a reader whose samples are kept, once they were read, in memory or in a file."""

import contextlib
import errno
import functools
import threading
import time
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices
from headrace.per_process import PerProcess
from headrace.pytree import map_leaves
from headrace.readers.access import (
    Access,
    Part,
    access_of,
    fingerprint_of,
    ids_at,
    ids_fingerprint_of,
    ids_of,
    parts_of,
    stamps_of,
)
from headrace.readers.cached.file_rows import FileRows
from headrace.readers.cached.layout import Layout, aligned, bytes_of, take
from headrace.readers.cached.shared_memory import SharedMemory
from headrace.readers.reader import Arrays, Reader, Specs, check_read, empty_out
from headrace.storage.local import anonymous_file
from headrace.storage.local.locked import BusyError, locked

# Each process counts in one of these, so that none waits for another.
_COUNTERS, _COUNTED = 1024, 3
_HITS, _MISSES, _CHANGED = range(_COUNTED)
_COUNTERS_NBYTES = 8 * _COUNTERS * _COUNTED
# Others hold the lock for milliseconds. What is not written now is read, and written, later.
_PATIENCE_SECONDS = 0.25
_RETRY_SECONDS = 60.0
_CHECK_MEMORY_BYTES = 2**26

Counts = npt.NDArray[np.int64]


class Kept:
    """The samples of a reader, of which the first `most` are kept.

    A sample that this process, or one that shares memory with it, has read or found in the file,
    and compared with its checksum, is good for all of them; a mark in shared memory says so.

    Args:
        reader: what is read.
        most: how many samples there is room for.
        path: the file to keep them in; None for memory.
        key: 16 bytes that tell them from others, for the file.
    """

    def __init__(self, reader: Reader, most: int, path: str | None, key: bytes) -> None:
        self.original, self._most, self._path = reader, most, path
        self._spec, self._n = reader.spec, len(reader)
        marks_end = _COUNTERS_NBYTES + 8 + self._n
        self._layout = Layout(self._spec, self._n, marks_end) if path is None else None
        nbytes = marks_end if self._layout is None else self._layout.end
        self._shared = SharedMemory(aligned(nbytes))
        self._open(key)

    def _open(self, key: bytes) -> None:
        self._key = key
        self._here: PerProcess[_Here] = PerProcess(
            functools.partial(_Here, self._shared, self._path, key, self._spec, self._n)
        )

    @property
    def spec(self) -> Specs:
        return self._spec

    @property
    def ids(self) -> Sequence[str] | None:
        return ids_of(self.original)

    def ids_at(self, indices: Indices) -> list[str] | None:
        return ids_at(self.original, indices)

    @property
    def parts(self) -> Sequence[Part]:
        return parts_of(self.original)

    @property
    def access(self) -> Access:
        return access_of(self.original)

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"Cached({self.original!r})"

    def fingerprint(self) -> str:
        return fingerprint_of(self.original)

    def ids_fingerprint(self) -> str:
        return ids_fingerprint_of(self.original)

    def stamps(self, indices: Indices) -> npt.NDArray[np.uint64]:
        return stamps_of(self.original, indices)

    def counts(self) -> tuple[list[int], int]:
        """Hits, misses and changed samples of all processes; and how many samples are kept."""
        here = self._here.get()
        counted = here.counters.reshape(_COUNTERS, _COUNTED).sum(axis=0).tolist()
        if self._path is None:
            return counted, int(np.count_nonzero(here.marks))
        return counted, 0 if here.file is None else here.file.count()

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(self._n, self._spec, indices, out)
        here = self._here.get()
        missing, stamps = self._take(here, indices, out)
        here.count(_HITS, len(indices) - len(missing))
        if not len(missing):
            return
        here.count(_MISSES, len(missing))
        wanted = indices[missing]
        read = out
        if len(missing) < len(indices):
            read = empty_out(self._spec, len(wanted))
        self.original.read(wanted, read)
        self._keep(here, wanted, stamps, read)
        if read is not out:
            map_leaves(lambda part, rows: _put(part, missing, rows), out, read)

    def _take(
        self, here: "_Here", indices: Indices, out: Arrays
    ) -> tuple[Indices, npt.NDArray[np.uint64]]:
        """Copies the samples that are kept; the rows of the others, and the stamps of these."""
        arrays = self._arrays(here)
        if arrays is None:
            rows = np.arange(len(indices))
            return rows, np.zeros(len(rows), np.uint64)
        before = None if here.file is None else here.file.stamps(indices)
        good = here.marks[indices] != 0
        if before is not None:
            good &= before != 0
        missing = np.flatnonzero(~good)
        stamps = np.ones(len(missing), np.uint64)
        if len(missing) and here.file is not None:
            stamps = stamps_of(self.original, indices[missing])
            found = self._found(here, here.file, indices[missing], stamps)
            good[missing[found]] = True
            missing, stamps = missing[~found], stamps[~found]
        if len(missing) < len(indices):
            take(arrays, indices, out, np.flatnonzero(good) if len(missing) else None)
        if here.file is not None and before is not None:
            # What another run has replaced meanwhile, as its file was changed.
            torn = np.flatnonzero(good & (here.file.stamps(indices) != before))
            if len(torn):
                here.marks[indices[torn]] = 0
                missing = np.concatenate([missing, torn])
                stamps = np.concatenate([stamps, np.zeros(len(torn), np.uint64)])
        return missing, stamps

    def _found(
        self, here: "_Here", file: FileRows, indices: Indices, stamps: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.bool_]:
        """Which of the samples are in the file, as their own files are now; they are marked."""
        recorded = file.stamps(indices)
        found: npt.NDArray[np.bool_] = (recorded == stamps) & (recorded != 0)
        for row in np.flatnonzero(found).tolist():
            found[row] = file.is_whole(int(indices[row]))
        here.marks[indices[found]] = 1
        here.count(_CHANGED, int(np.count_nonzero((recorded != 0) & ~found)))
        return found

    def _arrays(self, here: "_Here") -> Arrays | None:
        if self._layout is not None:
            return here.rows(self._layout)
        return None if here.file is None else here.file.arrays

    def _keep(
        self, here: "_Here", indices: Indices, stamps: npt.NDArray[np.uint64], read: Arrays
    ) -> None:
        """Writes what was read, if there is room, and nobody else does."""
        if time.monotonic() < here.paused_until or (self._layout is None and here.file is None):
            return
        is_wanted = (indices < self._most) & (stamps != 0) & (here.marks[indices] == 0)
        try:
            with here.lock, locked(here.locked_file, _PATIENCE_SECONDS):
                for row in np.flatnonzero(is_wanted).tolist():
                    index = int(indices[row])
                    if here.marks[index]:  # another thread or process was faster
                        continue
                    self._write(here, index, bytes_of(read, row), int(stamps[row]))
                    here.marks[index] = 1
        except BusyError:
            pass
        except OSError as error:
            here.paused_until = time.monotonic() + _RETRY_SECONDS
            here.warn(error, self._path)

    def _write(self, here: "_Here", index: int, sample: list[Array], stamp: int) -> None:
        if self._layout is None:
            assert here.file is not None
            here.file.write(index, sample, stamp)
            return
        here.unchecked -= self._layout.sample_nbytes
        if here.unchecked < 0:
            if anonymous_file.free()[0] < _CHECK_MEMORY_BYTES:
                raise OSError(errno.ENOSPC, "the machine's memory is nearly used up")
            here.unchecked = _CHECK_MEMORY_BYTES // 2
        self._layout.write(self._shared.file.number, index, sample)

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_here"]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open(self._key)


class _Here:
    """What one process has open of a `Kept`."""

    def __init__(
        self, shared: SharedMemory, path: str | None, key: bytes, spec: Specs, n: int
    ) -> None:
        self.lock = threading.Lock()
        self.paused_until = 0.0
        self.unchecked = 0
        self._warned: set[int | None] = set()
        self._shared = shared
        self._rows: Arrays | None = None
        self.file: FileRows | None = None
        if path is not None:
            try:
                self.file = FileRows(path, key, spec, n)
            except (OSError, BusyError) as error:
                self.warn(error, path)
        self._own = shared.reopened() if self.file is None else self.file.file
        self.locked_file = self._own.number
        memory = shared.memory
        self.counters: Counts = memory[:_COUNTERS_NBYTES].view(np.int64)
        taken = memory[_COUNTERS_NBYTES : _COUNTERS_NBYTES + 8].view(np.int64)
        self.marks = memory[_COUNTERS_NBYTES + 8 : _COUNTERS_NBYTES + 8 + n]
        with contextlib.suppress(BusyError), locked(self.locked_file, _PATIENCE_SECONDS):
            taken[0] += 1
        number = int(taken[0])
        self._mine = _COUNTED * (number % _COUNTERS)

    def rows(self, layout: Layout) -> Arrays:
        if self._rows is None:
            self._rows = layout.arrays(self._shared.memory)
        return self._rows

    def count(self, what: int, by: int) -> None:
        if by:
            with self.lock:
                self.counters[self._mine + what] += by

    def warn(self, error: Exception, path: str | None) -> None:
        """Says once for each kind of error that what can't be kept is read each time."""
        kind = getattr(error, "errno", None)
        if kind not in self._warned:
            self._warned.add(kind)
            where = "memory" if path is None else repr(path)
            reason = getattr(error, "strerror", None) or "another process holds its lock"
            warnings.warn(
                f"headrace: samples can't be kept in {where} ({reason}). Those that are not there "
                "are read each time.",
                RuntimeWarning,
                stacklevel=6,
            )


def _put(part: Array, rows: Indices, read: Array) -> None:
    part[rows] = read
