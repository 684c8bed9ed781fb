"""io_uring: many files opened, read and closed in one system call of Linux.

Where files are small or in the page cache, much of the time of reading one goes into its three
system calls, and into the interpreter's lock, which is released and taken again around each. Here a
batch of files takes one call; and where files have to come from a disk, it is asked for all of them
at once.

Requires Linux 6.1. Where that is older, or io_uring is forbidden, as it is in many containers,
`ring_of_thread` returns None. Source: the manual pages io_uring(7), io_uring_setup(2),
io_uring_enter(2) and io_uring_register(2).
"""

import contextlib
import ctypes
import errno
import mmap
import os
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, address

# Of all architectures that Linux came to later than io_uring, and of most others.
_SETUP, _ENTER, _REGISTER = 425, 426, 427
_MACHINES = ("x86_64", "aarch64", "riscv64", "loongarch64", "ppc64le", "s390x")
_SUBMIT_ALL, _SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 7, 1 << 12, 1 << 13
_REGISTER_FILES = 2
_GETEVENTS, _WITH_TIMEOUT = 1, 1 << 3
_REGISTER_SYNC_CANCEL, _CANCEL_ALL, _CANCEL_ANY = 24, 1 << 0, 1 << 2
_OFFSET_OF_SUBMISSIONS = 0x10000000
_READV, _OPENAT, _CLOSE, _READ = 1, 18, 19, 22
_FIXED_FILE, _LINK, _HARD_LINK = 1 << 0, 1 << 2, 1 << 3
_WHERE_IT_IS = 2**64 - 1  # the offset that stands for where the last read has ended

# struct io_uring_sqe
_SUBMISSION = np.dtype(
    [("opcode", "u1"), ("flags", "u1"), ("ioprio", "u2"), ("fd", "i4"), ("offset", "u8"),
     ("address", "u8"), ("length", "u4"), ("op_flags", "u4"), ("user_data", "i8"),
     ("buffer", "u2"), ("personality", "u2"), ("slot", "u4"), ("rest", "V16")]
)  # fmt: skip
# struct io_uring_cqe
_COMPLETION = np.dtype([("user_data", "i8"), ("result", "i4"), ("flags", "u4")])
# struct io_uring_params with its struct io_sqring_offsets and struct io_cqring_offsets
_PARAMETERS = np.dtype(
    [("sq_entries", "u4"), ("cq_entries", "u4"), ("flags", "u4"), ("given", "u4", 7),
     ("sq_head", "u4"), ("sq_tail", "u4"), ("sq_checks", "u4", 4), ("sq_array", "u4"),
     ("sq_rest", "u4", 3),
     ("cq_head", "u4"), ("cq_tail", "u4"), ("cq_checks", "u4", 3), ("cqes", "u4"),
     ("cq_rest", "u4", 4)]
)  # fmt: skip

# struct io_uring_getevents_arg, and the struct __kernel_timespec that it points to
_WAIT = np.dtype([("sigmask", "u8"), ("sigmask_size", "u4"), ("rest", "u4"), ("timeout", "u8")])
_TIME = np.dtype([("seconds", "i8"), ("nanoseconds", "i8")])
# struct io_uring_sync_cancel_reg; the timeout of -1, -1 is none
_CANCEL = np.dtype(
    [("address", "u8"), ("fd", "i4"), ("flags", "u4"), ("seconds", "i8"), ("nanoseconds", "i8"),
     ("opcode", "u1"), ("rest", "V31")]
)  # fmt: skip

# What takes longer is read in another way: it may be a pipe, which nobody writes to.
_PATIENCE_S = 10
_STEPS = 4  # at most, of a file: open, read, look whether that was all, close


class RingLostError(Exception):
    """The queues can't be used any more, such as when something closed their descriptor."""


class _Chains(NamedTuple):
    """Requests to open, read and close each of `MOST_FILES` files, of which names are missing.

    Attributes:
        requests: one file after the other.
        folders, names: of them, to be filled in; shape (files,).
        steps: so many requests a file.
    """

    requests: Array
    folders: Array
    names: Array
    steps: int


class Ring:
    """The queues that one thread, the only one that may use them, shares with the kernel.

    Raises:
        OSError: the kernel is too old, or does not allow it.
    """

    MOST_FILES = 128

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._file = -1
        self._held: object = None
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.argtypes = [ctypes.c_long] * 7
        self._syscall.restype = ctypes.c_long
        parameters = np.zeros(1, _PARAMETERS)
        # All that is used here is as old as the last of these, or older.
        parameters["flags"] = _SUBMIT_ALL | _SINGLE_ISSUER | _DEFER_TASKRUN
        self._file = self._call(_SETUP, self.MOST_FILES * _STEPS, address(parameters))
        no_files = np.full(self.MOST_FILES, -1, np.int32)
        self._call(_REGISTER, self._file, _REGISTER_FILES, address(no_files), len(no_files))
        self._map(*(int(parameters[name][0]) for name in (
            "sq_entries", "cq_entries", "sq_head", "sq_tail", "sq_array", "cq_head", "cq_tail",
            "cqes",
        )))  # fmt: skip
        self._prepare()

    def _map(
        self, entries: int, completions: int, sq_head: int, sq_tail: int, sq_array: int,
        cq_head: int, cq_tail: int, cqes: int,
    ) -> None:  # fmt: skip
        """Maps the queues; the arguments are their lengths, and where in them what is."""
        nbytes = max(sq_array + 4 * entries, cqes + _COMPLETION.itemsize * completions)
        queues = mmap.mmap(self._file, nbytes)
        memory = mmap.mmap(
            self._file, entries * _SUBMISSION.itemsize, offset=_OFFSET_OF_SUBMISSIONS
        )
        self._submissions = np.frombuffer(memory, f"V{_SUBMISSION.itemsize}", entries)
        np.frombuffer(queues, np.uint32, entries, sq_array)[:] = np.arange(entries)
        self._completions = np.frombuffer(queues, _COMPLETION, completions, cqes)
        self._started = np.frombuffer(queues, np.uint32, 1, sq_head)
        self._submitted = np.frombuffer(queues, np.uint32, 1, sq_tail)
        self._taken = np.frombuffer(queues, np.uint32, 1, cq_head)
        self._completed = np.frombuffer(queues, np.uint32, 1, cq_tail)

    def _prepare(self) -> None:
        """Fills in what is the same in each call. File i goes into slot i of the ring's table."""
        n = self.MOST_FILES
        self._slots = np.arange(n).astype(np.uintp)
        self._results = np.empty(len(self._submissions), np.int32)
        self._heads = np.empty((n, 0), np.uint8)
        # struct iovec of each file's head and body
        self._parts = np.zeros((n, 2, 2), np.uintp)
        self._one_byte = np.empty(1, np.uint8)
        self._with_head, self._whole = self._chains(False), self._chains(True)
        self._ranges = np.zeros(n, _SUBMISSION)
        self._ranges["opcode"], self._ranges["user_data"] = _READ, np.arange(n)
        self._timeout = np.array([(_PATIENCE_S, 0)], _TIME)
        self._wait = np.array([(0, 0, 0, address(self._timeout))], _WAIT)
        flags = _GETEVENTS | _WITH_TIMEOUT
        self._patiently = (flags, address(self._wait), _WAIT.itemsize)
        self._cancel = np.array([(0, -1, _CANCEL_ALL | _CANCEL_ANY, -1, -1, 0, b"")], _CANCEL)

    def _chains(self, whole: bool) -> _Chains:
        """Of files of a known length, with a head; or of whole files."""
        n, steps = self.MOST_FILES, 4 if whole else 3
        files = np.zeros((n, steps), _SUBMISSION)
        opening, reading, closing = files[:, 0], files[:, 1:-1], files[:, -1]
        opening["opcode"], opening["flags"], opening["slot"] = _OPENAT, _LINK, self._slots + 1
        closing["opcode"], closing["slot"] = _CLOSE, self._slots + 1
        # Hard links, so that the file is closed whatever became of reading it.
        reading["flags"], reading["fd"] = _FIXED_FILE | _HARD_LINK, self._slots[:, None]
        reading["opcode"][:, 0], reading["length"][:, 0] = _READV, 1 if whole else 2
        parts = self._parts[:, 1] if whole else self._parts
        reading["address"][:, 0] = address(parts) + self._slots * parts.strides[0]
        if whole:
            reading["offset"] = _WHERE_IT_IS
            reading["opcode"][:, 1], reading["length"][:, 1] = _READ, 1
            reading["address"][:, 1] = address(self._one_byte)
        files["user_data"] = np.arange(files.size).reshape(files.shape)
        return _Chains(files.reshape(-1), opening["fd"], opening["address"], steps)

    def read(
        self,
        folder: int,
        names: npt.NDArray[np.uintp],
        owner: object,
        head_nbytes: int,
        bodies: Array,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """Reads the first bytes of at most `MOST_FILES` files.

        Args:
            folder: descriptor of the folder that the names are in.
            names: addresses of the names, each of which ends with a NUL; shape (files,).
            owner: what owns the memory of the names.
            head_nbytes: so many bytes of each file come first.
            bodies: one row for each file, C-contiguous; filled with what follows the head.

        Returns:
            The number of bytes read of each file, negative if it can't be, shape (files,); and the
            heads, shape (files, head_nbytes), good until the next call. Both are the ring's.

        Raises:
            RingLostError: nothing can be read with this ring any more.
        """
        self._settle()
        if self._heads.shape[1] != head_nbytes:
            self._heads = np.empty((self.MOST_FILES, head_nbytes), np.uint8)
            self._parts[:, 0, 0] = address(self._heads) + self._slots * np.uintp(head_nbytes)
            self._parts[:, 0, 1] = head_nbytes
        (received,) = self._read_files(self._with_head, folder, names, owner, bodies)
        return received, self._heads[: len(names)]

    def read_whole(
        self, folder: int, names: npt.NDArray[np.uintp], owner: object, rows: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.int32]:
        """Reads at most `MOST_FILES` files to their ends.

        Args:
            folder, names, owner: as in `read`.
            rows: one for each file, C-contiguous.

        Returns:
            The length of each file, shape (files,); negative if it can't be read, or if the file is
            longer than its row.

        Raises:
            RingLostError: nothing can be read with this ring any more.
        """
        self._settle()
        received, more = self._read_files(self._whole, folder, names, owner, rows)
        return np.where(more == 0, received, -1)

    def read_ranges(
        self,
        files: npt.NDArray[np.int32],
        starts: Array,
        lengths: Array,
        addresses: npt.NDArray[np.uintp],
        owner: object,
    ) -> npt.NDArray[np.int32]:
        """Reads at most `MOST_FILES` ranges of bytes of open files.

        Args:
            files: descriptors; shape (ranges,), as all others.
            starts, lengths: of the ranges, in bytes.
            addresses: where they go.
            owner: what owns that memory.

        Returns:
            The number of bytes read of each range, negative if it can't be; shape (ranges,).

        Raises:
            RingLostError: nothing can be read with this ring any more.
        """
        self._settle()
        n = len(files)
        ranges = self._ranges
        ranges["fd"][:n], ranges["offset"][:n] = files, starts
        ranges["length"][:n], ranges["address"][:n] = lengths, addresses
        self._do(ranges[:n], owner)
        return self._results[:n].copy()

    def _read_files(
        self, chains: _Chains, folder: int, names: npt.NDArray[np.uintp], owner: object, rows: Array
    ) -> Array:
        """The results of reading; shape (reads of a file, files)."""
        n = len(names)
        chains.folders[:n] = folder
        chains.names[:n] = names
        np.multiply(self._slots[:n], rows.strides[0], out=self._parts[:n, 1, 0])
        self._parts[:n, 1, 0] += address(rows)
        self._parts[:n, 1, 1] = rows.strides[0]
        self._do(chains.requests[: n * chains.steps], (owner, rows))
        return self._results[: n * chains.steps].reshape(n, chains.steps)[:, 1:-1].T

    def _do(self, requests: Array, owners: object) -> None:
        """Has the kernel do the requests, numbered from 0, with memory that `owners` own."""
        # It is kept until the kernel is done, should an exception, such as a KeyboardInterrupt,
        # end this call before.
        self._held = owners
        n, submitted = len(requests), int(self._submitted[0])
        requests = requests.view(self._submissions.dtype)
        at = submitted % len(self._submissions)
        before_end = min(n, len(self._submissions) - at)
        self._submissions[at : at + before_end] = requests[:before_end]
        self._submissions[: n - before_end] = requests[before_end:]
        self._submitted[0] = (submitted + n) % 2**32
        self._finish()

    def _settle(self) -> None:
        """Ends what an interrupted call has left.

        Descriptors that it names may be others' by now, so what the kernel has not started is
        replaced by requests for nothing.
        """
        started, submitted = int(self._started[0]), int(self._submitted[0])
        if started != submitted:
            left = np.arange((submitted - started) % 2**32) + started
            self._submissions[left % len(self._submissions)] = np.zeros((), self._submissions.dtype)
        self._finish()

    def _finish(self) -> None:
        """Waits until all that was submitted is done, and stores the results in its order.

        What is not done in time is cancelled, so that its result is an error.
        """
        begin = int(self._taken[0])
        n = (int(self._submitted[0]) - begin) % 2**32  # each gives one completion
        if not n:
            return
        deadline = time.monotonic() + _PATIENCE_S
        while (int(self._completed[0]) - begin) % 2**32 < n:
            if time.monotonic() > deadline:
                self._give_up()
            # An interrupted call has perhaps not submitted all of them.
            left = (int(self._submitted[0]) - int(self._started[0])) % 2**32
            try:
                self._call(_ENTER, self._file, left, n, *self._patiently)
            except OSError as error:
                if error.errno not in (errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.ETIME):
                    _of_thread.ring = None
                    self._file = -1  # what has that number now may be another's
                    raise RingLostError(str(error)) from None
        completed = self._completions.take(np.arange(begin, begin + n), mode="wrap")
        self._results[completed["user_data"]] = completed["result"]
        self._taken[0] = (begin + n) % 2**32
        self._held = None

    def _give_up(self) -> None:
        """Cancels what is on its way; what can't be cancelled is waited for on."""
        with contextlib.suppress(OSError):  # there was nothing, or not all of it ended at once
            self._call(_REGISTER, self._file, _REGISTER_SYNC_CANCEL, address(self._cancel), 1)

    def _call(self, *arguments: int) -> int:
        result: int = self._syscall(*arguments, *(0,) * (7 - len(arguments)))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def __del__(self) -> None:
        if self._held is not None and self.pid == os.getpid():
            _abandoned.append(self._held)
        if self._file >= 0:
            os.close(self._file)


class _OfThread(threading.local):
    """The ring of each thread that has one. Not a `PerProcess`, as no two threads may share it."""

    ring: Ring | None = None


_of_thread = _OfThread()
_available = sys.platform == "linux" and os.uname().machine in _MACHINES and sys.maxsize > 2**32
_abandoned: list[object] = []  # memory that the kernel may write to until the process ends


def ring_of_thread() -> Ring | None:
    """The ring of this thread, made at its first use; None where there can't be one."""
    global _available
    ring = _of_thread.ring
    if ring is None or ring.pid != os.getpid():  # a forked child has queues of its own
        ring = None
        if _available:
            try:
                ring = Ring()
            except OSError:
                _available = False
        _of_thread.ring = ring
    return ring
