"""RecordIndex: where the records begin that follow one another in shards, such as lines of text.

records    0     1        2  |  3     4  |  5 ...     |: where a shard begins, `first`
bytes      0     17       90 |  0     33 |  0 ...     `start`; a record ends where the next begins
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices
from headrace.errors import ArgumentError, SampleFormatError, unreadable
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.sharded.index_file import load_index_file, save_index_file
from headrace.readers.shared.sharded.shards import scan_all
from headrace.storage.storage import Storage


class Scanned(NamedTuple):
    """The records of one shard.

    Attributes:
        start: of each, where it begins.
        skipped: of each thing that is no record, such as a blank line, how many records are before
            it. What follows the last record is left out.
    """

    start: npt.NDArray[np.int64]
    skipped: npt.NDArray[np.int64]


# Goes through a shard of some bytes. Raises a `FormatError` if it is damaged.
Scan = Callable[[Storage, str, int], Scanned]


@dataclass(frozen=True)
class RecordIndex:
    """The records of all shards, one shard after another.

    Attributes:
        shards: the names of the shards.
        sizes: of each shard, its bytes.
        first: of each shard, its first record; and the number of all records at the end.
        start: of each record, where it begins in its shard.
        skipped: as that of `Scanned`, of all shards.
    """

    shards: list[str]
    sizes: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    skipped: npt.NDArray[np.int64]

    @classmethod
    def of(cls, storage: Storage, shards: list[str], scan: Scan, records: str) -> "RecordIndex":
        """The index of these shards, each of which is gone through once.

        Args:
            records: what they are called, for messages.

        Raises:
            ArgumentError: (a ValueError) there are no records.
            SampleFormatError: (a ValueError) a shard is damaged or compressed.
            StorageError: (an OSError) a shard can't be read.
        """
        sizes = storage.sizes(shards)
        size_of = dict(zip(shards, sizes, strict=True))

        def scanned(storage: Storage, name: str) -> Scanned:
            location = storage.location(name)
            try:
                return scan(storage, name, size_of[name])
            except FormatError as error:
                raise SampleFormatError(f"{location!r} can't be indexed: {error}") from None
            except OSError as error:
                raise unreadable(location, error) from None

        found = scan_all(storage, shards, scanned)
        first = np.concatenate([[0], np.cumsum([len(one.start) for one in found])])
        if not first[-1]:
            listed = ", ".join(map(repr, shards[:8])) + (", ..." if shards[8:] else "")
            raise ArgumentError(
                f"shards must hold {records}, but {listed} in {storage.root!r} have none."
            )
        before = zip(found, first.tolist(), strict=False)
        return cls(
            list(shards),
            np.array(sizes, np.int64),
            first.astype(np.int64),
            np.concatenate([one.start for one in found]),
            np.concatenate([one.skipped + n for one, n in before]),
        )

    def __len__(self) -> int:
        return len(self.start)

    def shard_of(self, records: npt.ArrayLike) -> Indices:
        """The number of the shard of each record."""
        return np.searchsorted(self.first, records, "right") - 1

    def stops(self, records: Indices, shard: Indices) -> Indices:
        """Where each record ends, which is in that shard."""
        following = np.minimum(records + 1, len(self) - 1)
        is_last = records + 1 == self.first[shard + 1]
        return np.where(is_last, self.sizes[shard], self.start[following])

    def number(self, record: int) -> int:
        """The number of a record in its shard, counted from 0, with all that was skipped."""
        first = self.first[self.shard_of(record)]
        skipped = np.searchsorted(self.skipped, record, "right") - np.searchsorted(
            self.skipped, first, "left"
        )
        return int(record - first + skipped)

    def save(self, path: str | os.PathLike[str], kind: str) -> None:
        """Writes the index to a file, which appears when it is whole."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        save_index_file(path, kind, self.shards, self.sizes, arrays)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], kind: str, storage: Storage, reader: str
    ) -> "RecordIndex":
        """The index in a file of `save`, if it is of the shards that lie in the storage.

        Raises:
            ArgumentError: (a ValueError) there is no such file, it is damaged, or of other shards.
            StorageError: (an OSError) it can't be read, or a shard can't.
        """
        return load_index_file(path, kind, storage, _from_arrays, reader)


_ARRAYS = ("first", "start", "skipped")


def _from_arrays(shards: list[str], stored: dict[str, Array]) -> RecordIndex:
    index = RecordIndex(shards, stored["sizes"], *(stored[name] for name in _ARRAYS))
    first, start = index.first, index.start
    arrays = (index.sizes, first, start, index.skipped)
    whole = (
        all(array.dtype == np.int64 and array.ndim == 1 for array in arrays)
        and len(first) == len(index.sizes) + 1 == len(shards) + 1
        and (first[0], first[-1]) == (0, len(start))
        and (np.diff(first) >= 0).all()
        and len(start) > 0
        and start.min() >= 0
    )
    if whole:
        records = np.arange(len(start))
        shard = index.shard_of(records)
        whole = (
            bool((index.stops(records, shard) > start).all())
            and bool((start < index.sizes[shard]).all())
            and (np.diff(index.skipped) >= 0).all()
        )
    if not whole:
        raise ValueError("its parts do not fit together")
    return index
