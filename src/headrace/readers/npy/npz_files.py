"""NpzFiles: one .npz file for each sample, as `numpy.savez` and `numpy.savez_compressed` write it.

An .npz is a zip archive of .npy files. Its table of contents is read by `zipfile`; an array is then
unpacked with one call, its CRC-32 compared, and its bytes copied into the batch's row. An array
that claims to be larger than a sample is refused before it is unpacked.
"""

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, cast

import numpy as np

from headrace.arguments import check_dtype, check_ids
from headrace.arrays import Array, DType, Indices, fingerprint
from headrace.errors import StorageError, bad_type, bad_value
from headrace.pytree import Tree
from headrace.readers.npy.decoder import NpyDecoder
from headrace.readers.npy.header import (
    MAX_START_BYTES,
    USUAL_START_BYTES,
    parse_header,
    read_header,
)
from headrace.readers.reader import Arrays, Specs, check_read
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.named_arrays import DTypes, dtypes_by_key, part_of
from headrace.readers.shared.sample_files import InFiles, SampleFiles
from headrace.readers.shared.samples.ragged_parts import check_ragged, with_any_length
from headrace.storage.opening import Root
from headrace.storage.ranged_file import RangedFile

_SUFFIX = ".npz"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 1
# Deflate packs at most 258 bytes into 2 bits.
_MOST_DEFLATED = 1032
# Where most tables of contents lie whole, at the end of an archive.
_USUAL_END_BYTES = 2**16


class NpzFiles(InFiles):
    """Samples in files `root/<id>.npz`, each of which holds one array or several by name.

    A sample of several arrays is a dict. Byte order, memory order and compression may differ from
    file to file. Each array's checksum is compared when it is read. Arrays of Python objects are
    refused, never unpickled.

    Args:
        root: the folder, a URL such as "s3://bucket/folder", or a `headrace.Remote`.
        ids: the ids, in the order of the samples, as for `headrace.NpyFiles`. Default: all .npz
            files below root, sorted by id.
        keys: the names of the arrays to read, in the order of the dict; or one name, of the array
            that the sample then is. Default: all arrays of the first file in its order, or the
            array itself if there is only one. What else a file holds is passed over.
        dtype: of the samples, or a dict of those of some arrays. Default: that of the first file,
            which all others must then have. When given, arrays are converted, if that is possible
            without changing their kind; one with a number that does not fit is an error.
        ragged: True if the first axis of all arrays that have one may have any length, or the keys
            of those: a batch of them is a `Ragged`.

    Raises:
        ArgumentError: (a ValueError) there is no such folder, no id, or one that would leave root;
            the first file has no array of that key.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) a file is damaged, lacks an array, or holds one of another
            shape or dtype.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for i in range(3):
        ...     np.savez(root / f"{i}.npz", x=np.full(2, i, "float32"), y=i)
        >>> hr.NpzFiles(root, keys="x").spec
        Spec(shape=(2,), dtype=dtype('float32'))
        >>> loader = hr.Loader(hr.NpzFiles(root), batch_size=3, shuffle=False)
        >>> batch = loader.batch(epoch=0, step=0)
        >>> batch["x"].shape, batch["y"].tolist()
        ((3, 2), [0, 1, 2])
    """

    def __init__(
        self,
        root: Root,
        ids: Iterable[str | int] | None = None,
        *,
        keys: str | Iterable[str] | None = None,
        dtype: DTypes = None,
        ragged: bool | Iterable[str] = False,
    ) -> None:
        any_length = check_ragged(ragged)
        wanted = None if keys is None else _check_keys(keys)
        self._files = SampleFiles(root, ids, (_SUFFIX,))
        self._decoders: dict[str, NpyDecoder] = {}

        def look(data: memoryview, _: int) -> None:
            archive = _Archive(data)
            found = list(archive.members)
            if not found:
                raise FormatError("it holds no arrays")
            if wanted is not None and not set(wanted) <= set(found):
                raise bad_value("keys", keys, f"among those of the first file: {_listed(found)}")
            selected = found if wanted is None else wanted
            dtypes = _dtypes(dtype, selected)
            decoders = {key: archive.decoder(key, dtypes[key]) for key in selected}
            specs = with_any_length(any_length, {key: one.spec for key, one in decoders.items()})
            self._decoders = {
                key: archive.decoder(key, dtypes[key], True) if specs[key].ragged else decoders[key]
                for key in selected
            }

        self._files.read(np.array([0]), look)
        specs: dict[str, Specs] = {key: one.spec for key, one in self._decoders.items()}
        self._is_one = isinstance(keys, str) or (keys is None and len(specs) == 1)
        self._spec: Specs = next(iter(specs.values())) if self._is_one else specs

    @property
    def spec(self) -> Specs:
        return self._spec

    def __repr__(self) -> str:
        return f"NpzFiles({self._files.storage.root!r}, n={len(self)}, {self.spec})"

    def path(self, index: int) -> str:
        """The file of sample `index`, or its URL."""
        return self._files.location(index)

    def fingerprint(self) -> str:
        """A hash of the ids and the keys."""
        return fingerprint(repr((self._files.names.fingerprint(), list(self._decoders))))

    def sample_lengths(self) -> Tree[Indices | None]:
        """How long each array of each sample is, as `lengths_of` says.

        Of each file, the table of contents and the headers of arrays of any length are read.

        Raises:
            SampleNotFoundError, SampleFormatError, StorageError: as for reading them.
        """
        ragged = {key: one for key, one in self._decoders.items() if one.spec.ragged}
        lengths = np.empty((len(self), len(ragged)), np.int64)

        def look(file: RangedFile) -> list[int]:
            archive = _Archive(file)
            return [archive.length(key, decoder) for key, decoder in ragged.items()]

        found = self._files.looked_at(lambda size: (max(0, size - _USUAL_END_BYTES), size), look)
        for index, of_sample in enumerate(found if ragged else ()):
            lengths[index] = of_sample
        by_key = dict(zip(ragged, np.ascontiguousarray(lengths.T), strict=True))
        known: dict[str, Tree[Indices | None]] = {key: by_key.get(key) for key in self._decoders}
        return next(iter(known.values())) if self._is_one else known

    def read(self, indices: Indices, out: Arrays) -> None:
        check_read(len(self), self.spec, indices, out)
        arrays = {key: part_of(out, key) for key in self._decoders}

        samples: dict[str, dict[int, Array]] = {
            key: {} for key, decoder in self._decoders.items() if decoder.spec.ragged
        }

        def decode(data: memoryview, row: int) -> None:
            archive = _Archive(data)
            for key, decoder in self._decoders.items():
                if key in samples:
                    samples[key][row] = archive.array(key, decoder)
                else:
                    archive.read(key, decoder, arrays[key][row : row + 1])

        self._files.read(indices, decode)
        for key, by_row in samples.items():
            arrays[key].take([by_row[row] for row in range(len(indices))])


class _Archive:
    """The arrays in an .npz file, as `members`, by name.

    Args:
        data: the file, or its bytes.

    Raises:
        FormatError: it is damaged.
    """

    def __init__(self, data: memoryview | RangedFile) -> None:
        self._data = data
        self._size = data.nbytes if isinstance(data, memoryview) else data.size
        try:
            # It has all that zipfile needs of one.
            file = cast("BinaryIO", data) if isinstance(data, RangedFile) else io.BytesIO(data)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except StorageError:
            raise
        except Exception as error:  # zipfile raises whatever its many steps meet
            raise FormatError(f"it is not a zip archive that can be read: {error}") from None
        self.members = {
            member.filename.removesuffix(".npy"): member
            for member in members
            if member.filename.endswith(".npy")
        }

    def decoder(self, key: str, dtype: DType | None, ragged: bool = False) -> NpyDecoder:
        """The decoder of arrays that are like the one of that name."""
        with _naming(key):
            member = self.members[key]
            header = self._header(member)
            decoder = NpyDecoder(header, dtype=dtype, ragged=ragged)
            # On its word all batches are allocated, so its size is checked before.
            _check_claim(member, header)
            return decoder

    def read(self, key: str, decoder: NpyDecoder, row: Array) -> None:
        """Writes the array of that name into `row`, which has shape (1, *shape)."""
        member = self._member(key)
        with _naming(key):
            decoder.decode(self._data_of(member, decoder, row.nbytes), row)

    def array(self, key: str, decoder: NpyDecoder) -> Array:
        """The array of that name."""
        member = self._member(key)
        with _naming(key):
            return decoder.array(self._data_of(member, decoder))

    def length(self, key: str, decoder: NpyDecoder) -> int:
        """That of the array of that name, as its header says."""
        member = self._member(key)
        with _naming(key):
            header = self._header(member)
            layout = decoder.layout(header)
            _check_claim(member, header)
            return layout.shape[0]

    def _member(self, key: str) -> zipfile.ZipInfo:
        member = self.members.get(key)
        if member is None:
            raise FormatError(f"it has no array {key!r}, but {_listed(self.members)}")
        return member

    def _data_of(self, member: zipfile.ZipInfo, decoder: NpyDecoder, nbytes: int = 0) -> memoryview:
        """A .npy file, whose data should have so many bytes."""
        plain = decoder.plain_header
        if plain is None or member.file_size != len(plain) + nbytes:
            header = self._header(member)
            decoder.layout(header)  # before anything as large as it says is unpacked
            _check_claim(member, header)
        data = self._unpacked(member, member.file_size)
        if len(data) != member.file_size:
            raise FormatError(f"it has {len(data)} bytes; its archive says {member.file_size}")
        if zlib.crc32(data) != member.CRC:
            raise FormatError("its bytes do not have the checksum (CRC-32) that they should")
        return data

    def _header(self, member: zipfile.ZipInfo) -> bytes:
        start = self._unpacked(member, USUAL_START_BYTES)
        try:
            return read_header(io.BytesIO(start))
        except FormatError:
            if len(start) <= USUAL_START_BYTES:
                raise
        return read_header(io.BytesIO(self._unpacked(member, MAX_START_BYTES)))

    def _piece(self, begin: int, size: int, needed: int = 0) -> memoryview:
        """Bytes of the archive; of one that is not in memory, no more than are needed."""
        if isinstance(self._data, memoryview):
            return self._data[max(0, begin) : max(0, begin + size)]
        self._data.seek(begin)
        return self._data.view(min(size, needed or size)) if begin >= 0 else memoryview(b"")

    def _unpacked(self, member: zipfile.ZipInfo, most: int) -> memoryview:
        """The first bytes of a member, at most one more than `most`."""
        begin, size = member.header_offset, member.compress_size
        if member.flag_bits & _ENCRYPTED:
            raise FormatError("it is encrypted")
        local = self._piece(begin, _LOCAL_HEADER.size)
        if begin < 0 or len(local) < _LOCAL_HEADER.size:
            raise FormatError("it lies outside of the file")
        magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(local)
        if magic != b"PK\3\4":
            raise FormatError(f"its entry begins with {magic!r}")
        begin += len(local) + name_bytes + extra_bytes
        there = max(0, min(size, self._size - begin))
        if there < size:
            raise FormatError(f"the file has {there} of its {size} bytes")
        # Packed, bytes are hardly ever more than they were.
        packed = self._piece(begin, size, 2 * most + USUAL_START_BYTES)
        if member.compress_type == zipfile.ZIP_STORED:
            return packed[: most + 1]
        if member.compress_type != zipfile.ZIP_DEFLATED:
            raise FormatError(
                f"it is compressed with method {member.compress_type}; known are 0 (stored) and "
                "8 (deflated), those of numpy.savez and numpy.savez_compressed"
            )
        try:
            return memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most + 1))
        except zlib.error as error:
            raise FormatError(f"it can't be decompressed: {error}") from None


@contextlib.contextmanager
def _naming(key: str) -> Iterator[None]:
    try:
        yield
    except FormatError as error:
        raise FormatError(f"array {key!r}: {error}") from None


def _check_claim(member: zipfile.ZipInfo, header: bytes) -> None:
    """Raises an error unless the size that an archive claims is what the array has."""
    size, promised = member.file_size, parse_header(header).nbytes
    if size != promised:
        raise FormatError(f"it has {size} bytes; its header promises {promised}")
    if size > _MOST_DEFLATED * member.compress_size:
        raise FormatError(f"its {size} bytes can't be in {member.compress_size} compressed ones")


def _check_keys(keys: str | Iterable[str]) -> list[str]:
    names = [keys] if isinstance(keys, str) else check_ids(keys, "keys")
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise bad_type(f"keys[{position}]", name, "a str")
    if not names or len(set(names)) < len(names):
        raise bad_value("keys", keys, "at least one name, and none of them twice")
    return names


def _dtypes(dtype: DTypes, keys: list[str]) -> dict[str, DType | None]:
    """The dtype of each array, None for its own."""
    if isinstance(dtype, Mapping) and dtype.keys() - set(keys):
        raise bad_value("dtype", dtype, f"a dict with keys among {_listed(keys)}")
    given = dtypes_by_key(dtype, keys)
    return {key: None if one is None else check_dtype(one) for key, one in given.items()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
