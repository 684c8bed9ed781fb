"""NpyFiles: one .npy file for each sample, named by its id.

The unit of work is the batch. Each file is opened, read into the batch's row with its header beside
it, and closed; the header's bytes are compared with the expected ones, and only one that differs is
parsed, once. With io_uring a batch takes one system call for all of that; without it, three for
each file; and where the platform has no `preadv`, files are read with the portable calls. Files of
another storage than a folder are fetched whole, all of a batch at once.
"""

import contextlib
import io
import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype
from headrace.arrays import Array, Indices, address
from headrace.errors import bad_type
from headrace.readers.npy.decoder import NpyDecoder, check_size
from headrace.readers.npy.header import parse_header, read_header
from headrace.readers.reader import Spec, check_read
from headrace.readers.shared.sample_files import FormatError, SampleFiles, sample_error
from headrace.storage import Folder
from headrace.storage.local.io_uring import Ring, RingLostError, ring_of_thread
from headrace.storage.opening import Root

_SUFFIX = ".npy"
_HAS_PREADV = hasattr(os, "preadv")
# Below, preparing the one call takes longer than the calls that it saves.
_LEAST_TOGETHER = 16
# A call that reads more would take too long to be interrupted.
_MOST_BYTES_TOGETHER = 2**26


class NpyFiles:
    """Samples in files `root/<id>.npy`, each of which holds one array.

    Byte order, memory order and the version of the .npy format may differ from file to file. Arrays
    of Python objects are refused, never unpickled.

    Args:
        root: the folder, a URL such as "s3://bucket/folder", or a `headrace.Remote`.
        ids: the ids, in the order of the samples: strings, which may lead into subfolders
            ("cats/17"), or ints. Default: all .npy files below root, sorted by id; files and
            folders whose name begins with a dot are passed over.
        shape: of one sample. Default: that of the first file. Files may differ from it by axes of
            length one.
        dtype: of the samples that are read. Default: that of the first file, which all others must
            then have. When given, files are converted, if that is possible without changing their
            kind (float64 to float32, uint8 to float32, but not float32 to uint8).

    Raises:
        ArgumentError: (a ValueError) there is no such folder, no id, or one that would leave root.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) a file is damaged or holds another shape or dtype.
        StorageError: (an OSError) a file behind a URL can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for i in range(3):
        ...     np.save(root / f"id-{i}.npy", np.full((2, 2), i, "float32"))
        >>> files = hr.NpyFiles(root, ids=["id-2", "id-0"])
        >>> files.spec
        Spec(shape=(2, 2), dtype=dtype('float32'))
        >>> out = np.empty((1, 2, 2), "float32")
        >>> files.read(np.array([0]), out)
        >>> out.tolist()
        [[[2.0, 2.0], [2.0, 2.0]]]
    """

    def __init__(
        self,
        root: Root,
        ids: Iterable[str | int] | None = None,
        *,
        shape: tuple[int, ...] | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        if shape is not None:
            shape = _check_shape(shape)
        if dtype is not None:
            dtype = check_dtype(dtype)
        self._files = SampleFiles(root, ids, (_SUFFIX,))
        self._names = self._files.names
        self._is_local = isinstance(self._files.storage, Folder)
        if self._is_local:
            self._root = self._files.storage.root
            self._prefix = os.fsencode(os.path.join(self._root, ""))
            with self._sample(0) as file:
                self._decoder = _first(file, os.fstat(file.fileno()).st_size, shape, dtype)
        else:
            decoders: list[NpyDecoder] = []
            self._files.read(
                np.array([0]),
                lambda data, _: decoders.append(_first(io.BytesIO(data), len(data), shape, dtype)),
            )
            (self._decoder,) = decoders
        self._spec = self._decoder.spec

    @property
    def spec(self) -> Spec:
        return self._spec

    @property
    def ids(self) -> list[str]:
        """The ids, in order; made anew from their compact form at each call."""
        return self._names.without_suffix()

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return (
            f"NpyFiles({self._files.storage.root!r}, n={len(self)}, "
            f"shape={self.spec.shape}, dtype={self.spec.dtype})"
        )

    def path(self, index: int) -> str:
        """The file of sample `index`, or its URL."""
        return self._files.location(index)

    def fingerprint(self) -> str:
        """A hash of the ids."""
        return self._names.fingerprint()

    def read(self, indices: Indices, out: Array) -> None:
        check_read(len(self), self.spec, indices, out)
        header = self._decoder.plain_header
        if not self._is_local:
            decode = self._decoder.decode
            self._files.read(indices, lambda data, row: decode(data, out[row : row + 1]))
        elif header is not None and _HAS_PREADV and out.nbytes:
            ring = ring_of_thread() if len(indices) >= _LEAST_TOGETHER else None
            if ring is None or not self._read_together(ring, indices, out, header):
                self._read_plain(indices, out, header)
        else:
            for row, index in enumerate(indices.tolist()):
                self._read_any(index, out[row : row + 1])

    def _read_plain(self, indices: Indices, out: Array, expected: bytes) -> None:
        """`read`, for files that most likely all have the expected header."""
        names, prefix, flags = self._names.encoded, self._prefix, os.O_RDONLY | os.O_CLOEXEC
        os_open, preadv, close = os.open, os.preadv, os.close
        data = out.reshape(-1).view(np.uint8).data
        nbytes = self.spec.nbytes
        header = bytearray(len(expected))
        complete = len(expected) + nbytes
        starts = self._names.starts[indices].tolist()
        stops = self._names.stops[indices].tolist()
        at = 0
        for start, stop in zip(starts, stops, strict=True):
            after = at + nbytes
            try:
                file = os_open(prefix + names[start:stop], flags)
                try:
                    received = preadv(file, (header, data[at:after]), 0)
                finally:
                    close(file)
            except OSError:
                received = 0  # the slow path meets the same error, and explains it
            if received != complete or header != expected:
                row = at // nbytes
                self._read_any(int(indices[row]), out[row : row + 1])
            at = after

    def _read_together(self, ring: Ring, indices: Indices, out: Array, expected: bytes) -> bool:
        """`_read_plain`, with one system call for many files; False if that is not possible."""
        names = self._names.starts[indices].astype(np.uintp) + self._names_address()
        complete = len(expected) + self.spec.nbytes
        head = np.frombuffer(expected, np.uint8)
        most = max(1, min(ring.MOST_FILES, _MOST_BYTES_TOGETHER // complete))
        try:
            folder = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            for at in range(0, len(indices), most):
                rows = out[at : at + most]
                received, heads = ring.read(
                    folder, names[at : at + most], self._names.encoded, len(expected), rows
                )
                if (received != complete).any() or heads.tobytes() != expected * len(heads):
                    bad = (received != complete) | (heads != head).any(axis=1)
                    for row in (at + np.flatnonzero(bad)).tolist():
                        self._read_any(int(indices[row]), out[row : row + 1])
        except RingLostError:
            return False
        finally:
            os.close(folder)
        return True

    def _read_any(self, index: int, row: Array) -> None:
        """Reads sample `index`, whatever its layout, into `row`, which has shape (1, *shape)."""
        with self._sample(index) as file:
            self._decoder.read(file, row)

    @contextlib.contextmanager
    def _sample(self, index: int) -> Iterator[BinaryIO]:
        """The open file of sample `index`; whatever fails within names the file and the index."""
        path = self.path(index)
        try:
            with open(path, "rb", buffering=0) as file:
                yield file
        except (OSError, FormatError) as error:
            raise sample_error(error, index, path) from None

    def _names_address(self) -> np.uintp:
        return np.uintp(address(np.frombuffer(self._names.encoded, np.uint8)))


def _first(
    file: BinaryIO, size: int, shape: tuple[int, ...] | None, dtype: npt.DTypeLike | None
) -> NpyDecoder:
    """The decoder of arrays that are like the first, which lies in `file` of `size` bytes."""
    header = read_header(file)
    decoder = NpyDecoder(header, shape, dtype)
    # On its word all batches are allocated, so its size is checked before.
    check_size(size, parse_header(header))
    return decoder


def _check_shape(shape: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(length) for length in shape)
    except TypeError:
        raise bad_type("shape", shape, "a tuple of ints") from None
