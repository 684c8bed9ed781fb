"""NpyFiles: one .npy file for each sample, named by its id.

The unit of work is the batch. Files of this machine are read straight into its rows, their headers
are compared with the expected one, and only one that differs is parsed, once. Files of another
storage are fetched whole, all of a batch at once.
"""

import contextlib
import io
import operator
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, SupportsIndex

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_bool, check_dtype
from headrace.arrays import Array, Indices
from headrace.errors import bad_type
from headrace.readers.npy.decoder import NpyDecoder, check_size
from headrace.readers.npy.header import USUAL_START_BYTES, parse_header, read_header
from headrace.readers.reader import Out, Spec, check_read
from headrace.readers.shared.format_error import FormatError, sample_error
from headrace.readers.shared.sample_files import InFiles, SampleFiles
from headrace.storage.local.folder import Folder
from headrace.storage.local.regular import opener
from headrace.storage.opening import Root
from headrace.storage.ranged_file import RangedFile

_SUFFIX = ".npy"


class NpyFiles(InFiles):
    """Samples in files `root/<id>.npy`, each of which holds one array.

    Byte order, memory order and the version of the .npy format may differ from file to file. Arrays
    of Python objects are refused, never unpickled.

    Args:
        root: the folder, a URL such as "s3://bucket/folder", or a `headrace.Remote`.
        ids: the ids, in the order of the samples: strings, which may lead into subfolders
            ("cats/17"), or ints. Default: all .npy files below root, sorted by id; files and
            folders whose name begins with a dot are passed over.
        shape: of one sample. Default: that of the first file. Files may differ from it by axes of
            length one; or in the length of their first axis if it is None, such as (None, 80).
        dtype: of the samples that are read. Default: that of the first file, which all others must
            then have. When given, files are converted, if that is possible without changing their
            kind (float64 to float32, uint8 to float32, but not float32 to uint8). A file with a
            number that does not fit, such as 300 into int8, is an error.
        ragged: whether the first axis may have any length: a batch is then a `Ragged`. The same as
            None in shape.

    Raises:
        ArgumentError: (a ValueError) there is no such folder, no id, or one that would leave root.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) a file is damaged or holds another shape or dtype.
        StorageError: (an OSError) a file can't be read.

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
        shape: tuple[int | None, ...] | None = None,
        dtype: npt.DTypeLike | None = None,
        ragged: bool = False,
    ) -> None:
        check_bool("ragged", ragged)
        if shape is not None:
            shape = _check_shape(shape)
        if dtype is not None:
            dtype = check_dtype(dtype)

        def first(file: BinaryIO, size: int) -> NpyDecoder:
            header = read_header(file)
            decoder = NpyDecoder(header, shape, dtype, ragged)
            # On its word all batches are allocated, so its size is checked before.
            check_size(size, parse_header(header))
            return decoder

        self._files = SampleFiles(root, ids, (_SUFFIX,))
        self._names = self._files.names
        root_path = self._files.storage.local_path()
        self._folder = None if root_path is None else Folder(root_path)
        if self._folder is not None:
            with self._sample(self._folder, 0) as file:
                self._decoder = first(file, os.fstat(file.fileno()).st_size)
        else:
            decoders: list[NpyDecoder] = []
            self._files.read(
                np.array([0]),
                lambda data, _: decoders.append(first(io.BytesIO(data), len(data))),
            )
            (self._decoder,) = decoders
        self._spec = self._decoder.spec

    @property
    def spec(self) -> Spec:
        return self._spec

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

    def sample_lengths(self) -> Indices | None:
        """The lengths of all samples, int64, of their headers alone; None if all have one shape.

        Raises:
            SampleNotFoundError, SampleFormatError, StorageError: as for reading them.
        """
        if not self.spec.ragged:
            return None

        def length(file: RangedFile) -> int:
            layout = self._decoder.layout(read_header(file))
            check_size(file.size, layout)
            return layout.shape[0]

        found = self._files.looked_at(lambda size: (0, min(size, USUAL_START_BYTES)), length)
        return np.fromiter(found, np.int64, len(self))

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        if self.spec.ragged:
            arrays: dict[int, Array] = {}

            def keep(data: memoryview, row: int) -> None:
                arrays[row] = self._decoder.array(data)

            self._files.read(indices, keep)
            out.take([arrays[row] for row in range(len(indices))])
            return
        header, names = self._decoder.plain_header, self._names
        if self._folder is None:
            decode = self._decoder.decode
            self._files.read(indices, lambda data, row: decode(data, out[row : row + 1]))
            return
        left: Iterable[int] = range(len(indices))
        if header is not None:
            left = self._folder.read_rows(
                names.encoded, names.starts, names.stops, indices, header, out
            )
        for row in left:
            with self._sample(self._folder, int(indices[row])) as file:
                self._decoder.read(file, out[row : row + 1])

    @contextlib.contextmanager
    def _sample(self, folder: Folder, index: int) -> Iterator[BinaryIO]:
        """The open file of sample `index`; whatever fails within names the file and the index."""
        try:
            path = folder.location(self._names[index])
            with open(path, "rb", buffering=0, opener=opener) as file:
                yield file
        except (OSError, FormatError) as error:
            raise sample_error(error, index, self.path(index)) from None


def _check_shape(shape: Iterable[SupportsIndex | None]) -> tuple[int | None, ...]:
    try:
        return tuple(length if length is None else operator.index(length) for length in shape)
    except TypeError:
        raise bad_type("shape", shape, "a tuple of ints, or None for the first") from None
