"""CacheLike: the contract of a cache of what was fetched from far away."""

from typing import Protocol, runtime_checkable

Buffer = bytes | bytearray | memoryview


@runtime_checkable
class CacheLike(Protocol):
    """Keeps bytes by their key, between a `Remote` and the network.

    A `Remote` asks it before it fetches, and gives it what it has fetched and verified. Both
    methods may be called from any number of threads and processes at once, never raise because of
    what is on the disk, and never give other bytes than were put under that key. Like a `Remote`,
    it pickles as a description, and works in a forked process.
    """

    def get(self, key: str) -> memoryview | None:
        """The bytes that were put under the key, or None."""
        ...

    def put(self, key: str, data: Buffer) -> None:
        """Keeps the bytes, if there is room."""
        ...
