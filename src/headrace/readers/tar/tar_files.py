"""TarFiles: samples in tar shards, read at random through an index, without extraction."""

import io
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from headrace.arguments import check_version
from headrace.arrays import Array, DType, Indices, fingerprint
from headrace.errors import ArgumentError, SampleFormatError
from headrace.pytree import Tree
from headrace.readers.access import fingerprint_of
from headrace.readers.npy.decoder import check_size
from headrace.readers.npy.header import (
    MAX_START_BYTES,
    USUAL_START_BYTES,
    parse_header,
    read_header,
)
from headrace.readers.reader import Out, Spec, Specs, check_read
from headrace.readers.shared.format_error import FormatError, bad_sample
from headrace.readers.shared.listing import samples_below
from headrace.readers.shared.named_arrays import part_of
from headrace.readers.shared.sample_files import ENCODED, LOOKED_AT_TOGETHER, as_bytes
from headrace.readers.shared.samples.calling import Decode
from headrace.readers.shared.samples.ragged_parts import (
    REMEDY,
    check_ragged,
    differ_in_length,
    with_any_length,
)
from headrace.readers.shared.sharded.index_file import same_shards
from headrace.readers.shared.sharded.pieces import read_pieces
from headrace.readers.shared.sharded.shards import check_shards, folder_of
from headrace.readers.tar.fields import check_fields, decode_npy
from headrace.readers.tar.index import TarIndex
from headrace.readers.tar.scan import BLOCK_BYTES
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import Stamps, stamps_of_samples
from headrace.storage.storage import Storage

_SUFFIX = ".tar"


class TarFiles:
    """Samples in tar shards in WebDataset form: files "17.jpg" and "17.cls" make the sample "17".

    The headers of all files in the shards are read once, when the reader is made, or come from an
    index file. A batch reads its files in the order in which they lie, neighbours together.

    Args:
        root: the folder or URL where the shards are, or a single shard.
        fields: the extensions of the files that make a sample, and what turns the bytes of one into
            an array or a number, such as {"jpg": hr.ImageDecoder((224, 224)), "cls": int}. None
            will do for "npy" and for whole numbers as text in "cls", "index" and "id", and for
            what ends in these, such as "mask.npy"; False for the bytes of the file as they are, of
            any length; and a list of extensions, or a single one, if
            all are of these. "jpg;jpeg;png" takes whichever there is. With several fields a sample
            is a dict with the extension, the first of such several, as key; with one it is the
            array.
        shards: their names below root, in order; one of them may name many, such as
            "train-{000000..000146}.tar". Default: all that end with .tar, sorted.
        index: a file of `save_index`, so that no headers have to be read.
        ragged: True if the first axis of all fields that have one may have any length, or the names
            of those, such as ["boxes.npy"]: a batch of them is a `Ragged`.
        version: names what the functions of `fields` do, for states, as of `headrace.Files`.

    Raises:
        ArgumentError: (a ValueError) there is no such folder or shard, no sample has a field, or
            the index is of other shards.
        SampleFormatError: (a ValueError) a shard is damaged or compressed; a sample lacks a field,
            can't be decoded, or has another shape or dtype than the first that has all fields.
        StorageError: (an OSError) a shard does not exist, or can't be read.

    Example:
        >>> import headrace as hr
        >>> import io, os, tarfile, tempfile
        >>> root = tempfile.mkdtemp()
        >>> with tarfile.open(os.path.join(root, "train-0.tar"), "w") as tar:
        ...     for name, data in {"a.cls": b"7", "a.txt": b"x", "b.cls": b"8"}.items():
        ...         member = tarfile.TarInfo(name)
        ...         member.size = len(data)
        ...         tar.addfile(member, io.BytesIO(data))
        >>> files = hr.TarFiles(root, "cls")
        >>> files.ids, files.spec
        (['a', 'b'], Spec(shape=(), dtype=dtype('int64')))
        >>> hr.Loader(files, batch_size=2, shuffle=False).batch(0, 0).tolist()
        [7, 8]
    """

    def __init__(
        self,
        root: Root,
        fields: str | Iterable[str] | Mapping[str, Decode | Literal[False] | None],
        *,
        shards: str | Iterable[str] | None = None,
        index: str | os.PathLike[str] | None = None,
        ragged: bool | Iterable[str] = False,
        version: str = "",
    ) -> None:
        any_length = check_ragged(ragged)
        self._version = check_version("version", version)
        self._fields = check_fields(fields)
        named = None if shards is None else check_shards(shards)
        if named is None:
            root, named = folder_of(root, _are_tars)
        self._storage = open_storage(root)
        self._index = _index_of(self._storage, named, index)
        members = [self._index.members(field.extensions) for field in self._fields]
        for field, found in zip(self._fields, members, strict=True):
            if (found < 0).all():
                raise ArgumentError(
                    f"fields must be among the extensions in {self._storage.root!r}, which are "
                    f"{self._index.counted()} in {len(self._index.keys)} samples, but "
                    f"{';'.join(field.extensions)!r} was given."
                )
        self._members = np.stack(members, axis=1)
        if len(self._index.start) < 2**31:
            self._members = self._members.astype(np.int32)
        first: list[Array] = [np.empty(0)] * len(self._fields)

        def keep(row: int, field: int, data: bytes) -> None:
            del row
            first[field] = self._fields[field].decode(data)

        # The first that has all; if none has, the error is that of the first sample.
        complete = int((self._members >= 0).all(axis=1).argmax())
        self._read(np.array([complete]), keep)
        specs = {
            field.name: Spec(array.shape, array.dtype.newbyteorder("="))
            for field, array in zip(self._fields, first, strict=True)
        }
        told = with_any_length(any_length, specs)
        self._specs = [
            ENCODED if field.function is as_bytes else told[field.name] for field in self._fields
        ]

    @property
    def spec(self) -> Specs:
        if len(self._fields) == 1:
            return self._specs[0]
        return {field.name: spec for field, spec in zip(self._fields, self._specs, strict=True)}

    @property
    def ids(self) -> list[str]:
        """The keys of the samples, in order, in a new list at each call."""
        return self._index.keys.without_suffix()

    def __len__(self) -> int:
        return len(self._index.keys)

    def __repr__(self) -> str:
        return (
            f"TarFiles({self._storage.root!r}, n={len(self)}, "
            f"shards={len(self._index.shards)}, {self.spec})"
        )

    def fingerprint(self) -> str:
        """A hash of the names of the shards, the keys of the samples, the fields, and the version.

        With what the functions that decode these say of themselves.
        """
        fields = [field.extensions for field in self._fields]
        said = [fingerprint_of(field.function) for field in self._fields]
        named = (self._index.shards, fields, said) if any(said) else (self._index.shards, fields)
        version = f"\0{self._version}\0" if self._version else ""
        return fingerprint(repr(named), version, self._index.keys.encoded)

    def save_index(self, path: str | os.PathLike[str]) -> None:
        """Writes where all files in the shards lie to `path`, an .npz file, for `index=`.

        The index is good until the shards change, and for any fields.

        Raises:
            StorageError: (an OSError) it can't be written.
        """
        self._index.save(path)

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with its file."""
        index = self._index
        return stamps_of_samples(self._storage, index.shards.__getitem__, index.shard[indices])

    def sample_lengths(self) -> Tree[Indices | None]:
        """How long each array of each sample is, as `lengths_of` says.

        Of .npy files it is known of their headers, which are read, and of bytes; of others only
        what decodes them knows.

        Raises:
            SampleFormatError, StorageError: as for reading them.
        """
        known: dict[str, Tree[Indices | None]] = {
            field.name: self._nbytes(number)
            if field.function is as_bytes
            else self._lengths(number)
            if spec.ragged and field.function is decode_npy
            else None
            for number, (field, spec) in enumerate(zip(self._fields, self._specs, strict=True))
        }
        return known if len(known) > 1 else known[self._fields[0].name]

    def _nbytes(self, field: int) -> Indices:
        members = self._members[:, field]
        if members.min(initial=0) < 0:
            index = int(np.argmax(members < 0))
            raise self._error(index, self._lacks(index, field))
        nbytes: Indices = self._index.nbytes[members].astype(np.int64)
        return nbytes

    def _lengths(self, field: int) -> Indices:
        lengths = np.empty(len(self), np.int64)
        left = np.arange(len(self))
        for most_bytes in (USUAL_START_BYTES, MAX_START_BYTES):
            longer: list[int] = []
            for begin in range(0, len(left), LOOKED_AT_TOGETHER):
                indices = left[begin : begin + LOOKED_AT_TOGETHER]
                self._look_at(field, indices, most_bytes, lengths, longer)
            left = np.array(sorted(longer), np.int64)
        return lengths

    def _look_at(
        self, field: int, indices: Indices, most_bytes: int, lengths: Indices, longer: list[int]
    ) -> None:
        """Finds the lengths of samples in so many bytes; or that their headers are `longer`."""
        nbytes = self._index.nbytes[self._members[indices, field]]

        def put(row: int, _: int, data: bytes) -> None:
            try:
                header = read_header(io.BytesIO(data))
            except FormatError:
                if not len(data) == most_bytes < MAX_START_BYTES:
                    raise
                longer.append(int(indices[row]))
                return
            layout = parse_header(header)
            check_size(int(nbytes[row]), layout)
            self._check(field, layout.shape, layout.dtype)
            lengths[indices[row]] = layout.shape[0]

        self._read(indices, put, [field], most_bytes)

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        arrays = [part_of(out, field.name) for field in self._fields]

        def put(row: int, field: int, data: bytes) -> None:
            array = self._fields[field].decode(data)
            self._check(field, array.shape, array.dtype)
            arrays[field][row] = array

        self._read(indices, put)

    def _check(self, field: int, shape: tuple[int, ...], dtype: DType) -> None:
        """Raises a `FormatError` unless an array of that shape and dtype fits the spec."""
        spec = self._specs[field]
        as_spec = (None, *shape[1:]) if spec.ragged and shape else shape
        if as_spec != spec.shape or dtype.newbyteorder("=") != spec.dtype:
            remedy = f". {REMEDY}" if differ_in_length(shape, spec.shape) else ""
            raise FormatError(
                f"it has shape {shape} and dtype {dtype}; expected are "
                f"{spec.shape} and {spec.dtype}, those of the first whole sample{remedy}"
            )

    def _read(
        self,
        indices: Indices,
        put: Callable[[int, int, bytes], None],
        fields: Sequence[int] | None = None,
        most_bytes: int | None = None,
    ) -> None:
        """Calls `put(row, field, data of the member)` for each field of each row, in any order.

        Args:
            fields: which of them. Default: all.
            most_bytes: of the data. Default: all.
        """
        wanted = range(len(self._fields)) if fields is None else fields
        members = self._members[indices]
        if fields is not None:
            members = members[:, fields]
        if members.size and members.min() < 0:
            row, column = np.argwhere(members < 0)[0]
            lacks = self._lacks(int(indices[row]), wanted[column])
            raise self._error(int(indices[row]), lacks)
        flat, n_fields = members.reshape(-1), len(wanted)
        starts, nbytes = self._index.start[flat], self._index.nbytes[flat]
        for position, data in read_pieces(
            self._storage,
            self._index.shards,
            np.repeat(self._index.shard[indices], n_fields),
            starts - BLOCK_BYTES,  # with the header
            starts + (nbytes if most_bytes is None else np.minimum(nbytes, most_bytes)),
            np.repeat(indices, n_fields),
        ):
            row, column = divmod(position, n_fields)
            field = wanted[column]
            try:
                if zlib.crc32(data[:BLOCK_BYTES]) != self._index.checksum[flat[position]]:
                    raise FormatError(
                        "its header is not the one that was indexed, so the shard was changed or "
                        "damaged"
                    )
                put(row, field, bytes(data[BLOCK_BYTES:]))
            except FormatError as error:
                name = self._fields[field].name
                raise self._error(int(indices[row]), f"{name!r}: {error}") from error.__cause__

    def _lacks(self, index: int, field: int) -> str:
        """Why a sample is bad that lacks a field: what it has, and how many samples are alike."""
        first, last = self._index.first[index : index + 2]
        numbers = self._index.extension[int(first) : int(last)]
        has = ", ".join(repr(self._index.extensions[number]) for number in numbers)
        lacking = int((self._members[:, field] < 0).sum())
        return (
            f"it has no file with the extension {self._fields[field].name!r}, but {has}; "
            f"{lacking} of {len(self)} samples have none"
        )

    def _error(self, index: int, reason: str) -> SampleFormatError:
        shard = self._index.shards[self._index.shard[index]]
        where = f"{self._index.keys[index]!r} in {self._storage.location(shard)!r}"
        return bad_sample(index, where, reason)


def _are_tars(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(_SUFFIX)]


def _index_of(
    storage: Storage, shards: list[str] | None, path: str | os.PathLike[str] | None
) -> TarIndex:
    if shards is None and (path is None or storage.local_path() is not None):
        shards = samples_below(storage, (_SUFFIX,), "shards")
    if path is None:
        return TarIndex.of(storage, shards or [])
    index = TarIndex.load(path, storage)
    if shards is not None:
        same_shards(path, index.shards, shards)
    return index
