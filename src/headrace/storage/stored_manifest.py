"""StoredManifest: the manifest of the files of a storage, as it was given or in one of them."""

from collections.abc import Callable, Mapping, Sequence

from headrace.errors import ArgumentError, FileMissingError, StorageError, bad_type
from headrace.storage.manifest import Buffer, FileSums, Manifest
from headrace.storage.storage import Request


def check_range(request: Request, position: int) -> None:
    """Raises a `StorageError` unless the request is for a range of bytes."""
    _, start, stop = request
    if start < 0 or (stop is not None and stop < start):
        raise StorageError.at(position, f"{request} is no range of bytes")


class StoredManifest:
    """A manifest, or the name of its file, which each process reads when it first needs it.

    Args:
        manifest: the name of a file of the storage; a `Manifest`, or its content as a dict.
        root: of the storage, for messages.
        read: gives the bytes of the file of that name. It is pickled.
        kind: what the storage has, for messages: "file" or "object".

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) it is not a manifest.
    """

    def __init__(
        self,
        manifest: str | Mapping[str, object],
        root: str,
        read: Callable[[str], Buffer],
        kind: str = "file",
    ) -> None:
        if not isinstance(manifest, str | Mapping):
            raise bad_type("manifest", manifest, "the name of a file, a Manifest, or its dict")
        self._name = manifest if isinstance(manifest, str) else None
        self._loaded = None if isinstance(manifest, str) else Manifest.load(manifest)
        self._root, self._read, self._kind = root, read, kind

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | ({} if self._name is None else {"_loaded": None})

    def load(self) -> Manifest:
        """The manifest.

        Raises:
            StorageError: (an OSError) its file can't be read, or is damaged.
        """
        if self._loaded is None:
            assert self._name is not None
            content = self._read(self._name)
            try:
                self._loaded = Manifest.load(content)
            except ArgumentError as error:
                raise StorageError(f"the manifest of {self._root!r} is damaged: {error}") from None
        return self._loaded

    def sums(self, name: str, position: int) -> FileSums:
        """Those of a file, which request number `position` is for."""
        try:
            return self.load()[name]
        except KeyError:
            raise FileMissingError.at(
                position, f"there is no {self._kind} {name!r} in the manifest of {self._root!r}"
            ) from None

    def sizes(self, names: Sequence[str]) -> list[int]:
        """The bytes of each of the files."""
        return [self.sums(name, position).bytes for position, name in enumerate(names)]

    def blocks(self, request: Request, position: int) -> tuple[FileSums, int, int]:
        """The sums of the file, and the whole blocks of it around what is asked for."""
        name, start, stop = request
        sums = self.sums(name, position)
        end = sums.bytes if stop is None else stop
        if end > sums.bytes:
            which = f"{request} of {self._root!r}"
            raise StorageError.at(position, f"{which} can't be read: it has {sums.bytes} bytes")
        return (sums, *sums.rounded(start, end)) if start < end else (sums, start, start)
