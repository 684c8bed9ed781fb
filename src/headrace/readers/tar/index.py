"""TarIndex: where the members of tar shards lie, and which of them make a sample.

A shard is in WebDataset form: members whose names agree up to the first dot after the last `/` make
a sample; what follows the dot, in lower case, is the member's extension. Members are numbered
sample after sample, which is the order in which they lie where those of a sample lie together.

    names      a.jpg  a.cls | b.jpg  b.cls | ...         |: where a sample begins, `first`
    members    0      1     | 2      3     | 4
"""

import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array
from headrace.errors import ArgumentError
from headrace.readers.shared.names import Names
from headrace.readers.shared.sharded.index_file import (
    load_index_file,
    packed,
    save_index_file,
    unpacked,
)
from headrace.readers.shared.sharded.shards import scan_all
from headrace.readers.tar.scan import BLOCK_BYTES, scan
from headrace.storage.storage import Storage

_FORMAT = 1


class TarIndex(NamedTuple):
    """The members of all shards, in the order of their samples.

    Attributes:
        shards: the names of the shards.
        sizes: of each shard, its bytes.
        keys: of each sample, what the names of its members have in common.
        shard: of each sample, the number of its shard.
        first: of each sample, its first member; and the number of all members at the end.
        extensions: all that there are.
        extension: of each member, which of them it has.
        start: of each member, where its data begin in the shard.
        nbytes: of each member, the bytes of its data.
        checksum: of each member, the CRC-32 of the block of its header that precedes the data.
    """

    shards: list[str]
    sizes: npt.NDArray[np.int64]
    keys: Names
    shard: Array
    first: Array
    extensions: list[str]
    extension: Array
    start: npt.NDArray[np.int64]
    nbytes: npt.NDArray[np.int64]
    checksum: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, storage: Storage, shards: list[str]) -> "TarIndex":
        """The index of these shards, each of which is read or stepped through once.

        Raises:
            ArgumentError: (a ValueError) the shards hold no samples.
            SampleFormatError: (a ValueError) a shard is damaged or compressed.
            StorageError: (an OSError) a shard can't be read.
        """
        found = scan_all(storage, shards, scan)
        extensions = sorted({name for one in found for name in one.extensions})
        numbers = {name: number for number, name in enumerate(extensions)}
        of_member = [
            np.array([numbers[name] for name in one.extensions])[one.extension]
            for one in found
            if len(one.extension)
        ]
        counts = np.concatenate([one.counts for one in found])
        keys = [key for one in found for key in one.keys]
        if not keys:
            raise ArgumentError(
                f"shards must hold samples, files with names such as 'a.npy', but {shards} in "
                f"{storage.root!r} have none."
            )
        of_sample = np.repeat(np.arange(len(shards)), [len(one.keys) for one in found])
        return cls(
            list(shards),
            np.array([one.size for one in found]),
            Names(keys),
            _compact(of_sample),
            _compact(np.concatenate([[0], np.cumsum(counts)])),
            extensions,
            _compact(np.concatenate(of_member)),
            np.concatenate([one.start for one in found]),
            np.concatenate([one.nbytes for one in found]),
            np.concatenate([one.checksum for one in found]),
        )

    def members(self, extensions: list[str]) -> npt.NDArray[np.int64]:
        """Of each sample, its member with the first of these extensions that it has, or -1."""
        members = np.full(len(self.keys), -1)
        for name in reversed(extensions):
            if name in self.extensions:
                found = np.flatnonzero(self.extension == self.extensions.index(name))
                members[np.searchsorted(self.first, found, "right") - 1] = found
        return members

    def counted(self, most: int = 20) -> str:
        """The extensions that there are, and how many samples have each, for messages."""
        counts = np.bincount(self.extension, minlength=len(self.extensions))
        order = np.argsort(-counts, kind="stable")
        listed = [f"{self.extensions[number]} ({counts[number]})" for number in order[:most]]
        left = len(self.extensions) - len(listed)
        return ", ".join(listed) + (f" and {left} others" if left > 0 else "")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file, which appears when it is whole."""
        save_index_file(
            path,
            _FORMAT,
            self.shards,
            self.sizes,
            {
                "extensions": packed(self.extensions),
                "keys": np.frombuffer(self.keys.encoded, np.uint8),
                **{name: getattr(self, name) for name in _ARRAYS},
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], storage: Storage) -> "TarIndex":
        """The index in a file of `save`, if it is of the shards that lie in the storage.

        Raises:
            ArgumentError: (a ValueError) there is no such file, it is damaged, or of other shards.
            StorageError: (an OSError) it can't be read, or a shard can't.
        """
        return load_index_file(path, _FORMAT, storage, _from_arrays, "hr.TarFiles")


_ARRAYS = ("shard", "first", "extension", "start", "nbytes", "checksum")


def _from_arrays(shards: list[str], stored: dict[str, Array]) -> TarIndex:
    keys = unpacked(stored["keys"])
    index = TarIndex(
        shards=shards,
        sizes=stored["sizes"],
        keys=Names(keys),
        extensions=unpacked(stored["extensions"]),
        **{name: stored[name] for name in _ARRAYS},
    )
    members, first = len(index.start), index.first.astype(np.int64)
    whole = (
        len(index.sizes) == len(index.shards)
        and len(index.shard) == len(keys) == len(first) - 1
        and len(index.extension) == len(index.nbytes) == len(index.checksum) == members
        and (np.diff(first) > 0).all()
        and (first[0], first[-1]) == (0, members)
        and index.shard.max() < len(index.shards)
        and index.extension.max() < len(index.extensions)
        and index.nbytes.min() >= 0
        and index.start.min() >= BLOCK_BYTES
        and (
            index.start + index.nbytes <= index.sizes[np.repeat(index.shard, np.diff(first))]
        ).all()
    )
    if not whole:
        raise ValueError("its parts do not fit together")
    return index


def _compact(numbers: Array) -> Array:
    """The numbers, none of them negative, in the smallest dtype."""
    return numbers.astype(np.min_scalar_type(int(numbers.max())))
