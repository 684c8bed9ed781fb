"""Manifest: the sizes and checksums of files, kept in a JSON file next to them.

    {"format": 1,
     "files": {name: {"bytes": 5, "sha256": "...", "block_bytes": 1048576, "crc32": [907060870]}}}

SHA-256 is that of the whole file; CRC-32 (zlib's) that of each block of `block_bytes`, of which the
last may be shorter, so that a part of a large file can be verified without the rest.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from headrace.atomic_file import saved_file
from headrace.errors import ArgumentError, ChecksumError, bad_type, bad_value, unreadable
from headrace.storage.local.folder import Folder
from headrace.storage.local.regular import opener
from headrace.storage.storage import Request, Storage

BLOCK_BYTES = 2**20
_FORMAT = 1
_READ_BYTES = 2**23

Buffer = bytes | bytearray | memoryview


class FileSums(NamedTuple):
    """The size and the checksums of a file."""

    bytes: int
    sha256: str
    block_bytes: int
    crc32: tuple[int, ...]

    def rounded(self, start: int, stop: int) -> tuple[int, int]:
        """The smallest range of whole blocks around the bytes [start:stop]."""
        size = self.block_bytes
        return start // size * size, min(self.bytes, -(-stop // size) * size)

    def check(self, data: Buffer, start: int = 0) -> None:
        """Checks whole blocks that begin at byte `start`, or a whole file.

        Raises:
            ChecksumError: (a ValueError, an OSError) they are others.
        """
        view = memoryview(data).cast("B")
        if start == 0 and len(view) == self.bytes:
            if hashlib.sha256(view).hexdigest() != self.sha256:
                raise ChecksumError("its SHA-256 is not that of the manifest")
            return
        for begin in range(0, len(view), self.block_bytes):
            block, number = view[begin : begin + self.block_bytes], (start + begin)
            if zlib.crc32(block) != self.crc32[number // self.block_bytes]:
                raise ChecksumError(
                    f"the CRC-32 of its bytes [{number}:{number + len(block)}] is not that of the "
                    "manifest"
                )


class Summing:
    """Makes the `FileSums` of a file while it is written.

    Example:
        >>> from headrace.storage.manifest import Summing
        >>> summing = Summing()
        >>> summing.update(b"one part, ")
        >>> summing.update(b"and another")
        >>> summing.sums().bytes
        21
    """

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        if block_bytes < 1:
            raise bad_value("block_bytes", block_bytes, "1 or more")
        self._block_bytes = block_bytes
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._crc32: list[int] = []

    def update(self, data: Buffer) -> None:
        """Adds the next bytes of the file."""
        view = memoryview(data).cast("B")
        self._sha256.update(view)
        while view:
            within = self._bytes % self._block_bytes
            part = view[: self._block_bytes - within]
            if within == 0:
                self._crc32.append(0)
            self._crc32[-1] = zlib.crc32(part, self._crc32[-1])
            self._bytes += len(part)
            view = view[len(part) :]

    def sums(self) -> FileSums:
        """Those of all bytes so far."""
        digest = self._sha256.hexdigest()
        return FileSums(self._bytes, digest, self._block_bytes, tuple(self._crc32))


class Manifest(Mapping[str, FileSums]):
    """The sizes and checksums of files by their names, which have `/` between folders.

    Args:
        files: by name.

    Example:
        >>> import pathlib, tempfile
        >>> from headrace.storage.manifest import Manifest
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> (folder / "a.bin").write_bytes(b"hello")
        5
        >>> manifest = Manifest.of(folder)
        >>> manifest["a.bin"].crc32
        (907060870,)
        >>> manifest.save(folder / "manifest.json")
        >>> Manifest.load(folder / "manifest.json") == manifest
        True
    """

    def __init__(self, files: Mapping[str, FileSums]) -> None:
        self._files = dict(files)

    def __getitem__(self, name: str) -> FileSums:
        return self._files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"Manifest({len(self)} files)"

    @classmethod
    def of(
        cls,
        root: "str | os.PathLike[str] | Storage",
        names: Iterable[str] | None = None,
        *,
        block_bytes: int = BLOCK_BYTES,
    ) -> "Manifest":
        """That of files below a folder or storage, each of which is read once.

        Args:
            root: a folder, or a storage.
            names: the files. Default: all below root; those whose name begins with a dot are
                passed over.
            block_bytes: how much is verified at once, and so read at least, of a part of a file.

        Raises:
            StorageError: a file can't be read.
        """
        storage = root if isinstance(root, Storage) else Folder(root)
        names = storage.names() if names is None else names
        return cls({name: file_sums(storage, name, block_bytes) for name in names})

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Buffer | Mapping[str, object]) -> "Manifest":
        """The one in a file, or of its content as bytes or as the dict that JSON makes of it.

        Raises:
            ArgumentError: (a ValueError) it is not a manifest.
            StorageError: (an OSError) the file can't be read.
        """
        if isinstance(source, Manifest):
            return source
        where = "manifest"
        if isinstance(source, str | os.PathLike):
            where = os.fspath(source)
            try:
                with open(source, "rb", opener=opener) as file:
                    source = file.read()
            except OSError as error:
                raise unreadable(where, error) from None
        if isinstance(source, bytes | bytearray | memoryview):
            try:
                source = json.loads(bytes(source))
            except ValueError as error:
                raise _damaged(where, f"is not JSON: {error}") from None
        elif not isinstance(source, Mapping):
            raise bad_type("manifest", source, "a path, a manifest's bytes, or its dict")
        return cls(_files(source, where))

    def names(self, suffixes: tuple[str, ...] = ("",)) -> list[str]:
        """The sorted names of the files that end with one of the suffixes.

        Those with a part that begins with a dot are passed over, as storages do.
        """
        return sorted(
            name
            for name in self._files
            if name.endswith(suffixes) and not name.startswith(".") and "/." not in name
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file at once: it is never there in part.

        Raises:
            StorageError: (an OSError) it can't be written.
        """
        files = {name: self._files[name]._asdict() for name in sorted(self._files)}
        text = json.dumps({"format": _FORMAT, "files": files}, separators=(",", ":"))
        with saved_file(path) as file:
            file.write(text.encode())


def file_sums(
    storage: Storage,
    name: str,
    block_bytes: int = BLOCK_BYTES,
    progress: Callable[[int], None] = lambda nbytes: None,
) -> FileSums:
    """Those of one file, which is read in parts; `progress` is called with the bytes of each."""
    summing = Summing(block_bytes)
    size = storage.size(name)
    for start in range(0, size, _READ_BYTES):
        request = Request(name, start, min(start + _READ_BYTES, size))
        for _, data in storage.fetch([request]):
            summing.update(data)
            progress(len(data))
    return summing.sums()


def _files(content: object, where: str) -> dict[str, FileSums]:
    """Raises an error unless it is all that a manifest must be."""
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
        raise _damaged(where, f'has no "format": {_FORMAT}')
    found = content.get("files")
    if not isinstance(found, Mapping):
        raise _damaged(where, 'has no "files"')
    files = {}
    for name, entry in found.items():
        try:
            sums = FileSums(
                entry["bytes"], entry["sha256"], entry["block_bytes"], tuple(entry["crc32"])
            )
            right = (
                all(type(n) is int and n >= 0 for n in (sums.bytes, sums.block_bytes, *sums.crc32))
                and isinstance(sums.sha256, str)
                and len(sums.crc32) == -(-sums.bytes // sums.block_bytes)
            )
        except (KeyError, TypeError, ZeroDivisionError):
            right = False
        if not right or not isinstance(name, str):
            raise _damaged(where, f"has a wrong entry for {name!r}")
        files[name] = sums
    return files


def _damaged(where: str, why: str) -> ArgumentError:
    return ArgumentError(f"{where} must be a manifest as `Manifest.save` writes it, but it {why}.")
