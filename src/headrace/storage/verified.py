"""Verified: the files of a folder or storage, compared with a manifest as they are read."""

from collections.abc import Generator, Mapping, Sequence

from headrace.errors import ArgumentError, ChecksumError, StorageError
from headrace.storage.manifest import file_sums
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import stamp_of_sums
from headrace.storage.storage import Request
from headrace.storage.stored_manifest import StoredManifest, check_range


class Verified:
    """The files that a manifest names, of a folder or of another storage, as a storage.

    It is to folders of this machine what `manifest=` of `headrace.Remote` is to URLs: what is read
    is compared with the manifest, a file that it names and that is gone is an error, and nothing
    else is read. Parts of files are read in whole blocks of the manifest, and files are not mapped
    into memory, so that reading takes longer than without. Readers that take a root take this.

    Args:
        root: a folder, or a storage.
        manifest: the name of a file below root that `Manifest.save` or `headrace pack` has made; or
            a `Manifest`, or its content as a dict.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such folder, or an
            argument is not allowed.
        FileMissingError, StorageError: (a FileNotFoundError, an OSError) there is no such manifest,
            or it is damaged.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> from headrace.storage import Manifest
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for i in range(3):
        ...     np.save(folder / f"{i}.npy", np.full(2, i))
        >>> Manifest.of(folder).save(folder / "manifest.json")
        >>> files = hr.NpyFiles(hr.Verified(folder, "manifest.json"))
        >>> len(files)
        3
        >>> np.save(folder / "1.npy", np.full(2, 7))
        >>> files.read(np.array([1]), np.empty((1, 2), int))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        headrace.errors.ChecksumError: '1.npy' of '...' can't be read: its SHA-256 is not that of...
    """

    def __init__(self, root: Root, manifest: str | Mapping[str, object]) -> None:
        self._storage = open_storage(root)
        self._manifest = StoredManifest(manifest, self._storage.root, self._whole)
        self._manifest.load()

    @property
    def root(self) -> str:
        return self._storage.root

    def location(self, name: str) -> str:
        return self._storage.location(name)

    def local_path(self, name: str = "") -> None:
        return None  # or readers would read there what nobody compares

    def __repr__(self) -> str:
        return f"Verified({self.root!r})"

    def fetch(self, requests: Sequence[Request]) -> Generator[tuple[int, memoryview], None, None]:
        # Parts of the same blocks are read once.
        positions: dict[Request, list[int]] = {}
        for position, request in enumerate(requests):
            positions.setdefault(self._blocks(request, position), []).append(position)
        wanted = list(positions)
        try:
            for number, data in self._storage.fetch(wanted):
                blocks = wanted[number]
                self._check(blocks, data, positions[blocks][0])
                for position in positions[blocks]:
                    _, start, stop = requests[position]
                    end = len(data) if stop is None else stop - blocks.start
                    yield position, data[start - blocks.start : end]
                del data  # before the next one is read
        except ChecksumError:
            raise
        except StorageError as error:
            if error.position is not None:
                error.position = positions[wanted[error.position]][0]
            raise

    def size(self, name: str) -> int:
        return self._manifest.sums(name, 0).bytes

    def sizes(self, names: Sequence[str]) -> list[int]:
        return self._manifest.sizes(names)

    def stamp(self, name: str) -> int:
        """What stands for the file that the manifest names."""
        return stamp_of_sums(self._manifest.sums(name, 0).sha256)

    def names(self, suffixes: tuple[str, ...] = ("",)) -> list[str]:
        return self._manifest.load().names(suffixes)

    def path(self, name: str) -> str:
        """The path of a file, all of which is compared with the manifest before this returns.

        For readers that read by path alone: `Hdf5`, `Arrow`, `NpyFile`.

        Raises:
            ArgumentError: (a ValueError) it is not on this machine.
            FileMissingError: (a FileNotFoundError) there is no such file, or not in the manifest.
            ChecksumError: (a ValueError, an OSError) it is another.
            StorageError: (an OSError) it can't be read.
        """
        path = self._storage.local_path(name)
        if path is None:
            raise ArgumentError(f"root must be of this machine, but {self.root!r} was given.")
        expected = self._manifest.sums(name, 0)
        if file_sums(self._storage, name, expected.block_bytes) != expected:
            raise ChecksumError(f"{path!r} is not the file that the manifest names")
        return path

    def _blocks(self, request: Request, position: int) -> Request:
        """What to read for a request: whole blocks, or the whole file."""
        check_range(request, position)
        sums, start, end = self._manifest.blocks(request, position)
        # Without an end, as a file that is longer is another.
        return Request(request.name, start, None if end - start == sums.bytes else end)

    def _check(self, blocks: Request, data: memoryview, position: int) -> None:
        sums = self._manifest.sums(blocks.name, position)
        try:
            if blocks.stop is None and len(data) != sums.bytes:
                raise ChecksumError(f"it has {len(data)} bytes, and {sums.bytes} in the manifest")
            sums.check(data, blocks.start)
        except ChecksumError as error:
            raise ChecksumError.at(
                position, f"{blocks} of {self.root!r} can't be read: {error}"
            ) from None

    def _whole(self, name: str) -> memoryview:
        ((_, content),) = self._storage.fetch([Request(name)])
        return content
