"""FileRows: samples that are kept in a file, for this run and others.

    header    magic, key, number of samples, length of the file, CRC-32 of these
    records   for each sample its stamp, 0 if it is not there, and its checksum
    rows      of each array of a sample, as in memory

A sample is written before its record, and the record is taken away before a sample is replaced. So
a process may be killed at any time: what it was writing is not there, or has another checksum. No
order is asked of the disk, as nothing is believed that has not been compared with its checksum.
"""

import mmap
import os
import struct
import zlib

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices
from headrace.readers.cached.layout import Layout, aligned, bytes_of, checksum, write
from headrace.readers.cached.shared_memory import Descriptor
from headrace.readers.reader import Specs
from headrace.storage.local.locked import locked

_HEADER = struct.Struct("<8s16sQQI")
_MAGIC = b"hr-rows2"
_RECORD = np.dtype([("stamp", "<u8"), ("checksum", "<u4"), ("unused", "<u4")])
_RECORDS_START = 4096
# Making an empty file takes milliseconds, and writing a batch tens of them.
_PATIENCE_SECONDS = 10.0
RECORD_NBYTES = _RECORD.itemsize

Stamps = npt.NDArray[np.uint64]


class FileRows:
    """The file of that path, made if there is none, or another one.

    Args:
        path: where it lies.
        key: 16 bytes that tell these samples from others.
        spec: of a sample.
        n: number of samples.

    Raises:
        OSError: it can't be opened, made, or locked.
    """

    def __init__(self, path: str, key: bytes, spec: Specs, n: int) -> None:
        self._layout = Layout(spec, n, _RECORDS_START + aligned(n * _RECORD.itemsize))
        header = _MAGIC, key, n, self._layout.end
        head = _HEADER.pack(*header, zlib.crc32(_HEADER.pack(*header, 0)))
        self.file = _opened(path, head, self._layout.end)
        mapped = mmap.mmap(self.file.number, self._layout.end, access=mmap.ACCESS_READ)
        memory = np.frombuffer(mapped, np.uint8)
        self._records = np.ndarray((n,), _RECORD, memory, _RECORDS_START)
        self.arrays = self._layout.arrays(memory)

    def stamps(self, indices: Indices) -> Stamps:
        """What stands for the files of samples as they were when these were kept; 0 for none."""
        return self._records["stamp"][indices]

    def is_whole(self, index: int) -> bool:
        """Whether a sample has its checksum."""
        return bool(
            self._records["checksum"][index] == checksum(index, bytes_of(self.arrays, index))
        )

    def write(self, index: int, sample: list[Array], stamp: int) -> None:
        """Keeps a sample in place of what may be there."""
        file, position = self.file.number, _RECORDS_START + index * _RECORD.itemsize
        record = np.array((stamp, checksum(index, sample), 0), _RECORD).tobytes()
        if self._records["stamp"][index]:
            write(file, bytes(_RECORD.itemsize), position)
        self._layout.write(file, index, sample)
        write(file, record, position)

    def count(self) -> int:
        """How many samples are there."""
        return int(np.count_nonzero(self._records["stamp"]))


def _opened(path: str, head: bytes, size: int) -> Descriptor:
    """The file with that header, new if there is none, or another one, or a part of one."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    while True:
        file = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        with locked(file.number, _PATIENCE_SECONDS):
            status = os.fstat(file.number)
            if status.st_size == 0:
                os.ftruncate(file.number, size)
                write(file.number, head, 0)  # at last, as it says that all else is there
            elif status.st_size != size or os.pread(file.number, len(head), 0) != head:
                _unlink(path, status.st_ino)
                continue
            if _inode(path) == status.st_ino:
                return file


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:  # another process has found it to be another one
        return -1


def _unlink(path: str, inode: int) -> None:
    """Removes the name, if it is still that of this file; who has it open goes on with it."""
    if _inode(path) == inode:
        os.unlink(path)
