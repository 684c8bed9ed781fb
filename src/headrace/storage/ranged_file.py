"""RangedFile: a file of a storage, as libraries read files: from any position, piece by piece."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace.storage.storage import Request, Storage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RangedFile(io.RawIOBase):
    """A file to be read from any position; what was not fetched before is fetched when it is read.

    It keeps nothing open.

    Args:
        storage, name: where the file lies.
        size: its bytes.
        pieces: bytes of it that are here already, by where they begin.
        least_fetched_bytes: so much is fetched at once, and kept until something else is.

    Attributes:
        size: as given.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        size: int,
        pieces: Mapping[int, memoryview] | None = None,
        *,
        least_fetched_bytes: int = 0,
    ) -> None:
        self._storage, self._name, self.size = storage, name, size
        self._pieces = dict(pieces or {})
        self._least_fetched_bytes = least_fetched_bytes
        self._fetched = memoryview(b"")
        self._fetched_at = 0
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self.view(len(view))
        view[: len(data)] = data
        return len(data)

    def view(self, nbytes: int) -> memoryview:
        """The next bytes, without a copy; fewer only at the end of the file."""
        start = self._at
        stop = min(start + nbytes, self.size)
        if start >= stop:
            return memoryview(b"")
        self._at = stop
        for begin, data in self._pieces.items():
            if begin <= start and stop <= begin + len(data):
                return data[start - begin : stop - begin]
        if start < self._fetched_at or stop > self._fetched_at + len(self._fetched):
            end = min(self.size, max(stop, start + self._least_fetched_bytes))
            ((_, self._fetched),) = self._storage.fetch([Request(self._name, start, end)])
            self._fetched_at = start
        return self._fetched[start - self._fetched_at : stop - self._fetched_at]
