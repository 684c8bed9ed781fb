"""Records: samples that follow one another in shards, read a batch at a time from any storage.

What readers of JSON lines and of TFRecords have in common: each adds how a shard is gone through,
and how the bytes of a record become a sample.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headrace.arrays import Indices, fingerprint
from headrace.readers.shared.format_error import FormatError, bad_sample, while_reading
from headrace.readers.shared.listing import none_of, warn_of_others
from headrace.readers.shared.sharded.index_file import same_shards
from headrace.readers.shared.sharded.pieces import read_pieces
from headrace.readers.shared.sharded.record_index import RecordIndex, Scan
from headrace.readers.shared.sharded.shards import check_shards, folder_of
from headrace.readers.shared.splits import check_numbered
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import Stamps, stamps_of_samples
from headrace.storage.storage import Storage


@dataclass(frozen=True)
class RecordKind:
    """What is known of records of one format.

    Attributes:
        name: of the format, in index files, with the version of what is in them.
        reader: that reads them, for messages.
        record: what one of them is called.
        numbered_from: the number of the first in a shard.
        suffixes: what the names of shards end with.
        chosen: those of the names that are of shards.
        scan: goes through a shard.
    """

    name: str
    reader: str
    record: str
    numbered_from: int
    suffixes: tuple[str, ...]
    chosen: Callable[[list[str]], list[str]]
    scan: Scan


class Records:
    """The records in the shards below a root.

    Args:
        kind: of records.
        root: a folder, a URL, a storage, or the path or URL of one shard.
        shards: their names. Default: all.
        index: a file of `save_index`. Default: the shards are gone through.
    """

    def __init__(
        self,
        kind: RecordKind,
        root: Root,
        shards: str | Iterable[str] | None,
        index: str | os.PathLike[str] | None,
    ) -> None:
        self._kind = kind
        named = None if shards is None else check_shards(shards)
        if named is None:
            root, named = folder_of(root, kind.chosen)
        self.storage: Storage = open_storage(root)
        if named is None and (index is None or self.storage.local_path() is not None):
            named = _listed(self.storage, kind)
        if index is None:
            self.index = RecordIndex.of(self.storage, named or [], kind.scan, f"{kind.record}s")
            return
        self.index = RecordIndex.load(index, kind.name, self.storage, kind.reader)
        if named is not None:
            same_shards(index, self.index.shards, named)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"{self.storage.root!r}, n={len(self)}, shards={len(self.index.shards)}"

    def fingerprint(self, *more: object) -> str:
        """A hash of the names of the shards, of how many records each has, and of more."""
        return fingerprint(repr((self.index.shards, self.index.first.tolist(), *more)))

    def save_index(self, path: str | os.PathLike[str]) -> None:
        """Writes where the records begin to `path`, an .npz file."""
        self.index.save(path, self._kind.name)

    def location(self, index: int) -> str:
        """Where record `index` lies, for messages."""
        shard = int(self.index.shard_of(index))
        number = self.index.number(index) + self._kind.numbered_from
        location = self.storage.location(self.index.shards[shard])
        return f"{location!r}, {self._kind.record} {number}"

    def stamps(self, indices: Indices) -> Stamps:
        """For each record a number that changes with its shard."""
        shard = self.index.shard_of(indices)
        return stamps_of_samples(self.storage, self.index.shards.__getitem__, shard)

    def read(
        self,
        indices: Indices,
        decode: Callable[[memoryview, int], None],
        before: int = 0,
    ) -> None:
        """Calls `decode(bytes of the record, row)` for each row of `indices`, in any order.

        Args:
            before: so many bytes before each record come with it, if there are so many.

        Raises:
            SampleFormatError: `decode` raised a `FormatError`.
            SampleNotFoundError, StorageError: a shard does not exist, or can't be read.
        """
        shard = self.index.shard_of(indices)
        starts = self.index.start[indices]
        stops = self.index.stops(indices, shard)
        if before:
            starts = (starts - before).clip(0)
        names = self.index.shards
        for row, data in read_pieces(self.storage, names, shard, starts, stops, indices):
            try:
                decode(data, row)
            except FormatError as error:
                index = int(indices[row])
                raise bad_sample(index, self.location(index), error) from error.__cause__
            except Exception as error:
                index = int(indices[row])
                while_reading(error, index, f", {self.location(index)}")
                raise


def _listed(storage: Storage, kind: RecordKind) -> list[str]:
    names = storage.names()
    chosen = kind.chosen(names)
    if not chosen:
        raise none_of(storage.root, names, kind.suffixes, "shards")
    check_numbered(storage.root, chosen, "shards")
    warn_of_others(storage.root, names, chosen, kind.suffixes, "shards")
    return chosen
