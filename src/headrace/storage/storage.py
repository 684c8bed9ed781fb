"""The contract of a storage: named files, of which parts are read many at once."""

from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class Request(NamedTuple):
    """A file, or the bytes `start` to `stop` of it; without `stop`, to its end.

    Names are relative to the storage's root, with `/` between folders.
    """

    name: str
    start: int = 0
    stop: int | None = None

    def __str__(self) -> str:
        if self.stop is None and not self.start:
            return repr(self.name)
        stop = "" if self.stop is None else self.stop
        return f"{self.name!r}, bytes [{self.start}:{stop}]"


@runtime_checkable
class Storage(Protocol):
    """Files below a root, to be read only.

    A storage

    - may be called from any number of threads at once;
    - pickles as a description, and opens its handles and clients on first use in each process,
      also in a forked one;
    - gives all bytes that were asked for, or raises an error: never fewer, never others.

    `headrace.testing.StorageContract` has the tests for it.
    """

    @property
    def root(self) -> str:
        """The folder or URL, for messages."""
        ...

    def location(self, name: str) -> str:
        """The path or URL of a file, for messages; it need not exist."""
        ...

    def local_path(self, name: str = "") -> str | None:
        """The path of this machine where a file lies, and may be opened or mapped; else None.

        It need not exist. Without a name, the folder below which all of them lie.
        """
        ...

    def fetch(self, requests: Sequence[Request]) -> Generator[tuple[int, memoryview], None, None]:
        """Yields (position in `requests`, bytes) for each request, in any order.

        Closing the iterator early drops what is still on its way.

        Raises:
            FileMissingError: (a FileNotFoundError) there is no such file.
            StorageError: (an OSError) it can't be read, or ends before `stop`. Both have an
                attribute `position`, that of the request in `requests`.
        """
        ...

    def size(self, name: str) -> int:
        """The bytes of a file; raises as `fetch` does."""
        ...

    def sizes(self, names: Sequence[str]) -> list[int]:
        """The bytes of each of many files, asked for at once where that is faster.

        Raises as `fetch` does; `position` is that of the name in `names`.
        """
        ...

    def names(self, suffixes: tuple[str, ...] = ("",)) -> list[str]:
        """The sorted names of all files below the root that end with one of the suffixes.

        Files and folders whose name begins with a dot are passed over, and so are pipes, sockets
        and devices.
        """
        ...
