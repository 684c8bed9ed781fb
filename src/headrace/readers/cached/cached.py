"""Cached: the samples of a source, each of which is read once and then kept."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.arguments import check_int, check_no_class, check_version
from headrace.arrays import Indices
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.pytree import Tree, leaves, map_leaves, named_leaves
from headrace.readers.access import Access, Part, Stamps, access_of, fingerprint_of, parts_of
from headrace.readers.cached.file_rows import RECORD_NBYTES
from headrace.readers.cached.kept import Kept
from headrace.readers.cached.key import key_of
from headrace.readers.cached.mapped import Mapped
from headrace.readers.reader import Arrays, Reader, Specs, check_read, is_ragged, sample_nbytes
from headrace.readers.source import common_length, readers_of, samples_hash
from headrace.readers.views.parts import (
    access_of_parts,
    ids_of_parts,
    read_parts,
    spec_of_parts,
    stamps_of_parts,
)
from headrace.storage.local import anonymous_file
from headrace.storage.local.locked import HAS_FLOCK

_MOST_BYTES = 2**62


@dataclass(frozen=True)
class CachedStats:
    """What a `Cached` did, in this process and those that share its memory.

    Where several parts of a source are kept, such as images and their masks, each of them counts.
    """

    hits: int
    """Samples that were there."""
    misses: int
    """Samples that had to be read."""
    changed: int
    """Misses of what was there, but whose file has changed, or which was damaged."""
    kept: int
    """Samples that are there now, and..."""
    bytes: int
    """the bytes that they take."""
    max_bytes: int


class Cached:
    """The samples of a source, each of which is read and decoded once, and then kept.

    It is a reader with the samples of the source: a loader over it gives the same batches as one
    over the source, and takes its states. Parts of the source that are in memory, or mapped into
    it, are not kept once more.

    Without `folder`, samples are kept in memory. It is shared by this process, those that it forks,
    and those that it hands the reader to on this machine, such as the workers of `hr.Processes` and
    of PyTorch's `DataLoader`; on another system than Linux, only by those that it forks. With
    `folder`, they are kept in a file there, for later runs too, and for all processes that have the
    same source, such as the ranks of a training. Each of them may be killed at any time.

    Nothing is ever evicted. What does not fit is read each time.

    A sample in a file is believed if it has its checksum, and if its own file still has the size
    and the time of last change that it had. That is looked at when a process, or those that it
    shares memory with, first takes the sample. Of what lies behind a URL, only a manifest tells a
    change.

    Args:
        source: what a `Loader` takes: a reader, an array, or a tuple or dict of them.
        folder: of this machine, best on a local disk; made when it is first needed. Files in it are
            named after the source, all its options, and `version`; those of others stay until you
            delete them, as you may at any time. Default: memory.
        max_bytes: how much may be kept. Default: all samples, and it is an error if there is no
            room for them.
        version: names what `map`, or code of your own in the source, does, such as "2": what was
            kept under another one is not used. Needed with `folder` and `map`, unless that has a
            method `fingerprint` that says what it does, as the crops of headrace have.
        map: a function that is called with each sample of the source, has no random numbers, and
            returns the sample to keep, of any structure, of arrays or numbers of the same shape and
            dtype for all. It is called with the first sample when the reader is made.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed, or
            there is not enough room.
        SampleError: with `map`, the first sample can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for i in range(6):
        ...     np.save(root / f"{i}.npy", np.full(3, i))
        >>> cached = hr.Cached(hr.NpyFiles(root), map=lambda sample: sample / 2)
        >>> loader = hr.Loader((cached, np.arange(6)), batch_size=3, shuffle=False)
        >>> for epoch in range(3):
        ...     x, y = loader.batch(epoch, step=1)
        >>> x[:, 0].tolist()
        [1.5, 2.0, 2.5]
        >>> cached.stats().misses, cached.stats().hits, cached.stats().kept
        (3, 6, 3)
    """

    def __init__(
        self,
        source: object,
        folder: str | os.PathLike[str] | None = None,
        max_bytes: int | None = None,
        version: str = "",
        map: Callable[[Any], Any] | None = None,  # noqa: A002
    ) -> None:
        if not HAS_FLOCK:
            raise ArgumentError("hr.Cached needs flock, which this operating system does not have.")
        readers = readers_of(source)
        n = common_length(readers)
        path = None if folder is None else _check_folder(folder)
        check_version("version", version)
        if map is not None:
            if not callable(map):
                raise bad_type("map", map, "a function of a sample")
            check_no_class("map", map, "a function of a sample")
            if path is not None and not version and not fingerprint_of(map):
                raise bad_value(
                    "version",
                    version,
                    "a name of what map does, such as '1', with folder",
                    "Give it another one whenever map changes: what was kept is not used then.",
                )
            readers = Mapped(readers, map, version)
        _check_fixed(readers)
        each = sum(_kept_nbytes(reader) for reader in leaves(readers))
        if max_bytes is None:
            _check_room(path, n * each)
            max_bytes = n * each
        self.max_bytes = check_int("max_bytes", max_bytes, 0, _MOST_BYTES)
        self._most = min(n, max_bytes // each) if each else 0
        self._readers = map_leaves(lambda reader: self._kept(reader, path, version), readers)

    def _kept(self, reader: Reader, folder: str | None, version: str) -> Reader:
        if not _kept_nbytes(reader):
            return reader
        key = b"" if folder is None else key_of(reader, version)
        path = None if folder is None else os.path.join(folder, f"{key.hex()}.rows")
        return Kept(reader, self._most, path, key)

    @property
    def spec(self) -> Specs:
        return spec_of_parts(self._readers)

    @property
    def ids(self) -> Sequence[str] | None:
        """The names of the samples, in order; None if they have none."""
        return ids_of_parts(self._readers)

    @property
    def access(self) -> Access:
        """How the samples of the source are accessed."""
        return access_of_parts(self._readers)

    @property
    def parts(self) -> Sequence[Part]:
        """The sources of a `Concat`."""
        return next((parts for parts in map(parts_of, leaves(self._readers)) if parts), ())

    @property
    def part_readers(self) -> Tree[Reader]:
        """A reader of each part of the source."""
        return self._readers

    def __len__(self) -> int:
        return common_length(self._readers)

    def __repr__(self) -> str:
        return f"Cached({self._readers!r}, n={len(self)}, max_bytes={self.max_bytes})"

    def fingerprint(self) -> str:
        """A hash of what names the samples of the source."""
        return samples_hash(self._readers)

    def stamps(self, indices: Indices) -> Stamps:
        """What changes with the files of samples."""
        return stamps_of_parts(self._readers, indices)

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(len(self), self.spec, indices, out)
        read_parts(self._readers, indices, out)

    def stats(self) -> CachedStats:
        """What was done so far, and how much is kept."""
        hits = misses = changed = kept = nbytes = 0
        for reader in leaves(self._readers):
            if isinstance(reader, Kept):
                counted, there = reader.counts()
                hits, misses, changed = hits + counted[0], misses + counted[1], changed + counted[2]
                kept += there
                nbytes += there * _kept_nbytes(reader.original)
        return CachedStats(hits, misses, changed, kept, nbytes, self.max_bytes)


def _kept_nbytes(reader: Reader) -> int:
    """The bytes that a sample takes that is kept; 0 of those that are not."""
    return 0 if access_of(reader).in_memory else sample_nbytes(reader.spec) + RECORD_NBYTES


def _check_folder(folder: str | os.PathLike[str]) -> str:
    if not isinstance(folder, str | os.PathLike) or isinstance(os.fspath(folder), bytes):
        raise bad_type("folder", folder, "the path of a folder")
    path = os.path.abspath(folder)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise bad_value("folder", path, "a folder, or the path of a new one")
    return path


def _check_fixed(readers: Tree[Reader]) -> None:
    for name, reader in named_leaves(readers, "source"):
        if is_ragged(reader.spec) and not access_of(reader).in_memory:
            raise ArgumentError(
                f"{name} must have samples of one shape to be kept, but has {reader.spec}. Pass "
                "map=, a function that pads or cuts them."
            )


def _check_room(folder: str | None, nbytes: int) -> None:
    """Raises an error if not so many bytes can be kept."""
    if folder is None:
        room, where, _ = anonymous_file.free()
    else:
        there = folder
        while not os.path.isdir(there):
            there = os.path.dirname(there)
        room, where = shutil.disk_usage(there).free, f"the disk of {folder!r}"
        room += _used(folder)
    if nbytes > room:
        raise bad_value(
            "max_bytes",
            None,
            f"given, as all samples take {nbytes} bytes, and {where} has {room}",
            "What does not fit is read each time."
            + (" Or pass folder=, to keep them on a disk." if folder is None else ""),
        )


def _used(folder: str) -> int:
    """The bytes on the disk that files in it take, which may be those of these samples."""
    used = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as files:
        for file in files:
            if file.name.endswith(".rows"):
                with contextlib.suppress(FileNotFoundError):  # others may delete it meanwhile
                    used += 512 * file.stat().st_blocks
    return used
