"""Sums: the checksums of files that are being written, kept over a kill."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypedDict

from headrace.storage.manifest import FileSums, Summing

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READ_BYTES = 2**22


class FileState(TypedDict):
    """The bytes that were written of a file, and their SHA-256."""

    bytes: int
    sha256: str


class DamagedError(Exception):
    """What was written before is not what it should be; the message says how."""


class Sums:
    """The manifest's entries of ended files, by name, in a log that outlasts the process.

    Args:
        path: of the log. What it holds is gone on with.
    """

    def __init__(self, path: Path) -> None:
        self.entries: dict[str, FileSums] = {}
        self._path = path
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break  # a kill cut it; its file is not yet known to be ended
                name, (nbytes, sha256, block_bytes, crc32) = json.loads(line)
                self.entries[name] = FileSums(nbytes, sha256, block_bytes, tuple(crc32))
        # Written again, so that nothing comes behind half a line.
        self._log: BinaryIO = open(path, "wb")  # noqa: SIM115
        self._log.writelines(map(_line, self.entries.items()))
        self.flush()

    def add(self, name: str, entry: FileSums) -> None:
        """Holds the entry of a file that is ended."""
        self.entries[name] = entry
        self._log.write(_line((name, entry)))

    def flush(self) -> None:
        """Makes the log safe."""
        self._log.flush()
        os.fsync(self._log.fileno())

    def close(self) -> None:
        """Closes the log; what was not flushed may be lost, as on a full disk."""
        with contextlib.suppress(OSError):
            self._log.close()


class SummedFile:
    """A file written from its beginning to its end, and summed on the way.

    Args:
        path: the file; what is there is overwritten.
        state: what `flush` gave; the file then goes on behind what it had then.

    Raises:
        DamagedError: the file does not begin with what it had then.
    """

    closed = False

    def __init__(self, path: Path, state: FileState | None = None) -> None:
        self._path = path
        self._sums = Summing()
        self._nbytes = 0
        if state is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = io.FileIO(path, "wb" if state is None else "r+b")
        except FileNotFoundError:
            raise DamagedError(f"{path.name} is gone") from None
        if state is not None:
            self._go_on(state["bytes"], state["sha256"])

    def _go_on(self, nbytes: int, sha256: str) -> None:
        while self._nbytes < nbytes:
            data = self._file.read(min(_READ_BYTES, nbytes - self._nbytes))
            if not data:
                break
            self._count(data)
        if self._state() != {"bytes": nbytes, "sha256": sha256}:
            self.close()
            raise DamagedError(f"the first {nbytes} bytes of {self._path.name} are not as written")
        self._file.truncate(nbytes)

    def write(self, data: "ReadableBuffer") -> int:
        """Writes all of `data`, which is bytes or an array's memory."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0
        self._count(view)
        return done

    def tell(self) -> int:
        return self._nbytes

    def flush(self) -> FileState:
        """Makes what is written safe; the state to go on from."""
        os.fsync(self._file.fileno())
        return self._state()

    def end(self) -> FileSums:
        """Makes the file safe and closes it; its entry in a manifest."""
        self.flush()
        self.close()
        return self._sums.sums()

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def _count(self, data: bytes | memoryview) -> None:
        self._sums.update(data)
        self._nbytes += len(data)

    def _state(self) -> FileState:
        return {"bytes": self._nbytes, "sha256": self._sums.sums().sha256}


def sum_file(path: Path) -> FileSums:
    """Makes a file that something else has written safe; its entry in a manifest."""
    sums = Summing()
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        while data := file.read(_READ_BYTES):
            sums.update(data)
    return sums.sums()


def _line(item: tuple[str, FileSums]) -> bytes:
    return json.dumps(item).encode() + b"\n"
