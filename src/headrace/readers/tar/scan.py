"""What lies where in one tar shard. Members of the same name, up to its first dot, are a sample.

They need not lie together, as where files were added as the file system lists them:

    a.jpg  b.jpg  b.cls  a.cls      are the samples a and b
"""

import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.errors import SampleFormatError, unreadable
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.sharded.shards import open_shard, refuse_compressed
from headrace.storage.storage import Storage

BLOCK_BYTES = tarfile.BLOCKSIZE
_MOST_BYTES = 2**62

_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__(?:/|\Z)")


class Scan(NamedTuple):
    """The members of one shard, sample after sample; `counts` says how many each sample has."""

    size: int
    keys: list[str]
    counts: npt.NDArray[np.int64]
    extensions: list[str]
    extension: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    nbytes: npt.NDArray[np.int64]
    checksum: npt.NDArray[np.uint32]


def scan(storage: Storage, name: str) -> Scan:
    """The members of a shard, found from header to header.

    Raises:
        SampleFormatError: (a ValueError) it is damaged or compressed.
        StorageError: (an OSError) it can't be read.
    """
    location = storage.location(name)
    try:
        with open_shard(storage, name) as file:
            return _scanned(file, storage.size(name))
    except (FormatError, tarfile.TarError) as error:
        raise SampleFormatError(f"{location!r} can't be indexed: {error}") from None
    except OSError as error:
        raise unreadable(location, error) from None


def _scanned(file: BinaryIO, size: int) -> Scan:
    keys: list[str] = []
    samples: dict[str, int] = {}  # the last of each key
    held: list[int] = []  # of each sample, a bit for each extension that it has
    numbers: dict[str, int] = {}
    rows: list[tuple[int, int, int, int, int]] = []
    for member in _members(file):
        match = _NAME.fullmatch(member.name)
        if match is None or _META.match(member.name) or not member.isreg():
            continue
        key, extension = match[1], match[2].lower()
        if "\0" in key:
            raise FormatError(f"the name {member.name!r} has a NUL character")
        if member.issparse():
            raise FormatError(f"{member.name!r} is a sparse file, which can't be read at random")
        number = numbers.setdefault(extension, len(numbers))
        sample = samples.get(key)
        if sample is not None and held[sample] >> number & 1:
            if sample == rows[-1][0]:
                raise FormatError(f"sample {key!r} has two files with the extension {extension!r}")
            sample = None  # another sample of the same key
        if sample is None:
            sample = samples[key] = len(keys)
            keys.append(key)
            held.append(0)
        held[sample] |= 1 << number
        file.seek(member.offset_data - BLOCK_BYTES)
        checksum = zlib.crc32(file.read(BLOCK_BYTES))
        rows.append((sample, number, member.offset_data, member.size, checksum))
    table = np.array(rows, np.int64).reshape(-1, 5)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Scan(
        size,
        keys,
        np.bincount(table[:, 0], minlength=len(keys)),
        list(numbers),
        table[:, 1],
        table[:, 2].copy(),
        table[:, 3].copy(),
        table[:, 4].astype(np.uint32),
    )


def _members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    refuse_compressed(file.read(8), "files")
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # or all would be kept
            # What it claims is any number, by which tarfile would go back, or nowhere.
            if member.size < 0 or not member.offset_data <= tar.offset <= _MOST_BYTES:
                raise FormatError(f"{member.name!r} can't be of so many bytes: {member.size}")
            yield member
        # tarfile takes a damaged header for the end.
        file.seek(tar.offset)
        if file.read(BLOCK_BYTES) != bytes(BLOCK_BYTES):
            raise FormatError(
                f"it has no header and no mark of its end at byte {tar.offset}: it is damaged, was "
                "cut short, or is still being written"
            )
