"""What the headers of audio files say; of files far away, which are not fetched for it, too."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from headrace.readers.audio.decoder import Header, header_of, opened
from headrace.readers.shared.format_error import FormatError, sample_error
from headrace.readers.shared.sample_files import fetched
from headrace.readers.shared.sharded.shards import scan_all
from headrace.storage.local.regular import opener
from headrace.storage.storage import Request, Storage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Of a file that is far away, so much is fetched at first: more than headers take, but for pictures.
_START_BYTES = 2**16
# Its header has all, even if what follows it is looked at, too.
_TRUSTED = "FLAC"


def headers_of(storage: Storage, names: Sequence[str]) -> list[Header]:
    """The headers of files; errors name the file, and its number as the index of a sample.

    Raises:
        SampleFormatError: (a ValueError) a file is damaged, or not audio.
        SampleNotFoundError, StorageError: (an OSError) it does not exist, or can't be read.
    """
    if storage.local_path() is not None:
        numbers = {name: number for number, name in enumerate(names)}
        return scan_all(
            storage, list(names), lambda storage, name: _near(storage, name, numbers[name])
        )
    found: list[Header | None] = [None] * len(names)
    sizes = storage.sizes(names)
    starts = [
        Request(name, 0, min(size, _START_BYTES)) for name, size in zip(names, sizes, strict=True)
    ]
    for number, data in fetched(storage, starts, np.arange(len(names))):
        found[number] = _of_start(data, sizes[number])
    left = [number for number, header in enumerate(found) if header is None]
    whole = [Request(names[number]) for number in left]
    for position, data in fetched(storage, whole, np.array(left, np.int64)):
        number = left[position]
        try:
            found[number] = _header(io.BytesIO(data))
        except FormatError as error:
            raise sample_error(error, number, storage.location(names[number])) from error.__cause__
    return [header for header in found if header is not None]


def _near(storage: Storage, name: str, number: int) -> Header:
    path = storage.local_path(name)
    assert path is not None
    try:
        with open(path, "rb", buffering=0, opener=opener) as file:
            return _header(file)
    except (OSError, FormatError) as error:
        raise sample_error(error, number, path) from error.__cause__


def _header(file: BinaryIO) -> Header:
    with opened(file) as sound:
        return header_of(sound)


def _of_start(data: memoryview, size: int) -> Header | None:
    """The header, unless more of the file is needed."""
    start = _Start(data, size)
    try:
        with opened(start) as sound:  # type: ignore[arg-type]  # it is as good as a BinaryIO
            return None if start.missed and sound.format != _TRUSTED else header_of(sound)
    except FormatError:
        return None  # all of it says what is wrong, if anything is


class _Start(io.RawIOBase):
    """The first bytes of a file; `missed` says that more were asked for."""

    def __init__(self, data: memoryview, size: int) -> None:
        self._data, self._size, self._at = data, size, 0
        self.missed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        self.missed = self.missed or stop > max(len(self._data), self._at)
        data = self._data[self._at : stop]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
