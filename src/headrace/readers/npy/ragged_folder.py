"""RaggedFolder: samples of any length in two .npy files, their values and their offsets."""

import functools
import io
import os
from typing import Literal

import numpy as np

from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.per_process import PerProcess
from headrace.ragged import check_offsets
from headrace.readers.npy.decoder import array_in, check_size, has_rows_together
from headrace.readers.npy.header import NpyLayout, parse_header, read_header
from headrace.readers.npy.ranges import read_layouts
from headrace.readers.ragged_array import RaggedArray
from headrace.readers.reader import Out, Spec, check_read
from headrace.readers.shared.format_error import FormatError, bad_file, opening
from headrace.readers.shared.sharded.pieces import read_pieces
from headrace.storage.local.regular import opener
from headrace.storage.opening import Root, open_storage
from headrace.storage.stamps import Stamps, joined, stamps_of_files
from headrace.storage.storage import Request, Storage

VALUES, OFFSETS = "values.npy", "offsets.npy"


class RaggedFolder:
    """The samples in a folder with `values.npy` and `offsets.npy`, as `headrace pack` makes it.

    They are those of `headrace.RaggedArray(values, offsets)`, wherever they lie. On this machine
    both files are mapped into memory. From elsewhere, the offsets are fetched as a whole, once in
    each process; of the values no more than the samples of a batch, and neighbours together.

    Args:
        root: the folder, a URL such as "s3://bucket/x.ragged", or a `headrace.Remote`.

    Raises:
        ArgumentError: (a ValueError) there is no such folder.
        SampleNotFoundError: (a FileNotFoundError) one of the files is not there.
        SampleFormatError: (a ValueError) one is damaged, or they do not fit together.
        StorageError: (an OSError) one can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> np.save(root / "values.npy", np.array([5, 6, 7, 8], "uint16"))
        >>> np.save(root / "offsets.npy", np.array([0, 3, 3, 4]))
        >>> tokens = hr.RaggedFolder(root)
        >>> tokens.spec, tokens.sample_lengths()
        (Spec(shape=(None,), dtype=dtype('uint16')), array([3, 0, 1]))
    """

    def __init__(self, root: Root) -> None:
        self._storage = open_storage(root)
        path = self._storage.local_path()
        self._mapped: RaggedArray | None = None if path is None else open_ragged_folder(path)
        if self._mapped is not None:
            self._spec, self._n = self._mapped.spec, len(self._mapped)
            return
        self._values, of_offsets = read_layouts(self._storage, [VALUES, OFFSETS])
        offsets = _fetched_offsets(self._storage, of_offsets)
        try:
            # Of the values, none are needed to tell whether they are as many as the offsets say.
            stand_in = np.broadcast_to(np.empty((), self._values.dtype), self._values.shape)
            check_offsets(stand_in, offsets)
            if not has_rows_together(self._values):
                raise FormatError("its values are not in C order: save numpy.ascontiguousarray")
        except (ArgumentError, ArgumentTypeError, FormatError) as error:
            raise bad_file(self._storage.root, error) from None
        fetch = functools.partial(_fetched_offsets, self._storage, of_offsets)
        self._offsets: PerProcess[Indices] = PerProcess(fetch, offsets)
        self._spec = Spec((None, *self._values.shape[1:]), self._values.dtype.newbyteorder("="))
        self._n = len(offsets) - 1

    @property
    def spec(self) -> Spec:
        return self._spec

    @property
    def in_memory(self) -> bool:
        """Whether reading is no more than copying, as from mapped files."""
        return self._mapped is not None

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"RaggedFolder({self._storage.root!r}, n={len(self)}, {self.spec})"

    def sample_lengths(self) -> Indices:
        """The number of elements of each sample: int64, shape (n,)."""
        if self._mapped is not None:
            return self._mapped.sample_lengths()
        return np.diff(self._offsets.get())

    def fingerprint(self) -> str:
        """That of a `RaggedArray` of the same values and offsets."""
        return fingerprint(self.sample_lengths().data)

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with the files."""
        of_files = stamps_of_files(self._storage, [VALUES, OFFSETS])
        return np.repeat(joined([of_files[:1], of_files[1:]]), len(indices))

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        if self._mapped is not None:
            self._mapped.read(indices, out)
            return
        offsets = self._offsets.get()
        starts = offsets[indices]
        self._fetch(indices, starts, offsets[indices + 1] - starts, out)

    def read_pieces(self, indices: Indices, begins: Indices, lengths: Indices, out: Out) -> None:
        """Reads a piece of each of the samples; as `read_pieces_of` says."""
        if self._mapped is not None:
            self._mapped.read_pieces(indices, begins, lengths, out)
            return
        self._fetch(indices, self._offsets.get()[indices] + begins, lengths, out)

    def _fetch(self, indices: Indices, starts: Indices, lengths: Indices, out: Out) -> None:
        target = out.allocate(lengths)
        rows = np.flatnonzero(lengths) if self.spec.nbytes else np.empty(0, np.int64)
        begins = self._values.data_offset_bytes + starts[rows] * self.spec.nbytes
        for position, data in read_pieces(
            self._storage,
            [VALUES],
            np.zeros(len(rows), np.int64),
            begins,
            begins + lengths[rows] * self.spec.nbytes,
            indices[rows],
        ):
            values = np.frombuffer(data, self._values.dtype)
            target[int(rows[position])][...] = values.reshape(-1, *self.spec.element)


def open_ragged_folder(path: str) -> RaggedArray:
    """The samples in a folder of this machine, memory-mapped; raises as `RaggedFolder`."""
    path = os.path.abspath(path)
    values, offsets = (_mapped(os.path.join(path, name)) for name in (VALUES, OFFSETS))
    try:
        return RaggedArray(values, offsets)
    except (ArgumentError, ArgumentTypeError) as error:
        raise bad_file(path, error) from None


def _fetched_offsets(storage: Storage, layout: NpyLayout) -> Indices:
    location = storage.location(OFFSETS)
    with opening(location):
        ((_, data),) = storage.fetch([Request(OFFSETS)])
        if parse_header(read_header(io.BytesIO(data))) != layout:
            raise FormatError("its header is another than when the reader was made")
        offsets = array_in(data, layout)
        if offsets.dtype.kind not in "iu":
            raise FormatError(f"its dtype is {offsets.dtype}; expected are integers")
        return offsets.astype(np.int64)


def _mapped(path: str) -> Array:
    with opening(path), open(path, "rb", buffering=0, opener=opener) as file:
        layout = parse_header(read_header(file))
        check_size(os.fstat(file.fileno()).st_size, layout)
        if not layout.data_nbytes:  # of which there can be no map
            return np.empty(layout.shape, layout.dtype)
        order: Literal["C", "F"] = "F" if layout.fortran_order else "C"
        mapped: Array = np.memmap(
            path, layout.dtype, "r", layout.data_offset_bytes, layout.shape, order
        )
        return mapped
