"""NpyFiles: one .npy file for each sample, named by its id.

The unit of work is the batch. Each file is opened, read into the batch's row with its header beside
it, and closed; the header's bytes are compared with the expected ones, and only one that differs is
parsed, once. With io_uring a batch takes one system call for all of that; without it, three for
each file; and where the platform has no `preadv`, files are read with the portable calls.
"""

import contextlib
import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype, keeps_kind
from headrace.arrays import Array, Indices, address
from headrace.errors import (
    ArgumentError,
    SampleFormatError,
    SampleNotFoundError,
    bad_type,
    bad_value,
)
from headrace.readers.io_uring import Ring, RingLostError, ring_of_thread
from headrace.readers.names import Names, check_names
from headrace.readers.npy_format import FormatError, NpyLayout, parse_header, read_header
from headrace.readers.reader import Spec, check_read
from headrace.storage.folder import Folder, read_into

_SUFFIX = ".npy"
_HAS_PREADV = hasattr(os, "preadv")
_MAX_LAYOUTS = 256
# Below, preparing the one call takes longer than the calls that it saves.
_LEAST_TOGETHER = 16
# A call that reads more would take too long to be interrupted.
_MOST_BYTES_TOGETHER = 2**26


class NpyFiles:
    """Samples in files `root/<id>.npy`, each of which holds one array.

    Byte order, memory order and the version of the .npy format may differ from file to file. Arrays
    of Python objects are refused, never unpickled.

    Args:
        root: the folder.
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
        root: str | os.PathLike[str],
        ids: Iterable[str | int] | None = None,
        *,
        shape: tuple[int, ...] | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        root = os.fspath(root)
        if not os.path.isdir(root):
            raise bad_value("root", root, "an existing folder")
        self._root = os.path.abspath(root)
        self._prefix = os.fsencode(os.path.join(self._root, ""))
        if shape is not None:
            shape = _check_shape(shape)
        if dtype is not None:
            dtype = check_dtype(dtype)
        if ids is None:
            names = sorted(
                name.removesuffix(_SUFFIX) for name in Folder(self._root).names((_SUFFIX,))
            )
            if not names:
                raise ArgumentError(f"root must contain .npy files, but {root!r} has none.")
        else:
            names = check_names(ids)
        self._names = Names(names, _SUFFIX)
        self._layouts: dict[bytes, NpyLayout] = {}
        self._converts = dtype is not None
        with self._sample(0) as file:
            header, layout = self._layout(file)
            self._spec = Spec(
                layout.shape if shape is None else shape,
                check_dtype(layout.dtype if dtype is None else dtype),
            )
            self._check(layout)
            # On its word all batches are allocated, so its size is checked before.
            size, promised = os.fstat(file.fileno()).st_size, len(header) + layout.data_nbytes
            if size < promised:
                raise FormatError(f"it ends after {size} bytes; its header promises {promised}")
        # What a file must begin with for its data to be the sample's bytes as they stand.
        self._plain_header = header if self._is_plain(layout) else None

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
            f"NpyFiles({self._root!r}, n={len(self)}, "
            f"shape={self.spec.shape}, dtype={self.spec.dtype})"
        )

    def path(self, index: int) -> str:
        """The file of sample `index`."""
        return os.path.join(self._root, self._names[index])

    def fingerprint(self) -> str:
        """A hash of the ids."""
        return self._names.fingerprint()

    def read(self, indices: Indices, out: Array) -> None:
        check_read(len(self), self.spec, indices, out)
        if self._plain_header is not None and _HAS_PREADV and out.nbytes:
            ring = ring_of_thread() if len(indices) >= _LEAST_TOGETHER else None
            if ring is None or not self._read_together(ring, indices, out, self._plain_header):
                self._read_plain(indices, out, self._plain_header)
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
            header, layout = self._layout(file)
            self._check(layout)
            plain = self._is_plain(layout)
            shape = layout.shape[::-1] if layout.fortran_order else layout.shape
            stored = row if plain else np.empty(shape, layout.dtype)
            if stored.nbytes:
                data = stored.reshape(-1).view(np.uint8).data
                received = read_into(file, data)
                if received < len(data):
                    raise FormatError(
                        f"it ends after {len(header) + received} bytes; its header promises "
                        f"{len(header) + len(data)}"
                    )
            if not plain:
                array = stored.T if layout.fortran_order else stored
                row[...] = array.reshape(row.shape)

    @contextlib.contextmanager
    def _sample(self, index: int) -> Iterator[BinaryIO]:
        """The open file of sample `index`; whatever fails within names the file and the index."""
        path = self.path(index)
        try:
            with open(path, "rb", buffering=0) as file:
                yield file
        except FileNotFoundError:
            raise SampleNotFoundError.at(
                index, f"sample {index} does not exist: there is no file {path!r}"
            ) from None
        except FormatError as error:
            raise SampleFormatError.at(
                index, f"sample {index} can't be read: {path!r}: {error}"
            ) from None
        except OSError as error:
            error.add_note(f"headrace: while reading sample {index}, {path!r}")
            raise

    def _layout(self, file: BinaryIO) -> tuple[bytes, NpyLayout]:
        header = read_header(file)
        layout = self._layouts.get(header)
        if layout is None:
            layout = parse_header(header)
            if len(self._layouts) < _MAX_LAYOUTS:
                self._layouts[header] = layout
        return header, layout

    def _check(self, layout: NpyLayout) -> None:
        """Raises an error unless an array of `layout` can become a sample."""
        if layout.shape != self.spec.shape and _squeezed(layout.shape) != _squeezed(
            self.spec.shape
        ):
            raise FormatError(f"its shape is {layout.shape}; expected is {self.spec.shape}")
        native = layout.dtype.newbyteorder("=")
        if native != self.spec.dtype:
            if not self._converts:
                raise FormatError(
                    f"its dtype is {layout.dtype}; expected is {self.spec.dtype}, that of the "
                    "first sample. To convert, pass dtype= to the reader"
                )
            if not keeps_kind(native, self.spec.dtype):
                raise FormatError(
                    f"its dtype {layout.dtype} can't become the requested {self.spec.dtype} "
                    "without changing its kind"
                )

    def _is_plain(self, layout: NpyLayout) -> bool:
        """Whether the data in the file are the bytes of the sample, as they stand."""
        in_order = not layout.fortran_order or len(_squeezed(layout.shape)) < 2
        return in_order and layout.dtype == self.spec.dtype

    def _names_address(self) -> np.uintp:
        return np.uintp(address(np.frombuffer(self._names.encoded, np.uint8)))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_layouts": {}}


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def _check_shape(shape: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(length) for length in shape)
    except TypeError:
        raise bad_type("shape", shape, "a tuple of ints") from None
