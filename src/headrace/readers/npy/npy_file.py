"""NpyFile: one .npy file whose first axis runs over the samples, memory-mapped.

One behind a URL is read by ranges of bytes, as a single shard of `NpyShards`.
"""

import os

import numpy as np

from headrace.arguments import check_path
from headrace.arrays import Array, Indices
from headrace.errors import ArgumentError
from headrace.readers.access import ReadWindows
from headrace.readers.array import take_rows, take_windows
from headrace.readers.npy.decoder import check_size
from headrace.readers.npy.header import parse_header, read_header
from headrace.readers.npy.mapped import NpyMap
from headrace.readers.npy.npy_shards import NpyShards
from headrace.readers.reader import Spec, check_read
from headrace.readers.shared.format_error import FormatError, opening, sample_error
from headrace.storage.local.regular import opener
from headrace.storage.opening import is_url
from headrace.storage.stamps import Stamps, stamp_of_path


class NpyFile:
    """The rows of the array in one .npy file, which may be larger than memory.

    Args:
        path: the file, or its URL. To give a `headrace.Remote` of one's own, use
            `headrace.NpyShards(remote, ["big.npy"])`.

    Raises:
        ArgumentError: (a ValueError) a URL without a file's name.
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) the file is damaged, or holds no array of samples.
        StorageError: (an OSError) the file can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "big.npy")
        >>> np.save(path, np.arange(6).reshape(3, 2))
        >>> file = hr.NpyFile(path)
        >>> len(file), file.spec.shape
        (3, (2,))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._remote: NpyShards | None = None
        self._map: NpyMap | None = None
        if isinstance(path, str) and is_url(path):
            root, _, name = path.rpartition("/")
            if not name or not is_url(root):
                raise ArgumentError(
                    "path must be a file or the URL of one, such as 's3://bucket/folder/big.npy', "
                    "but the given URL names none."
                )
            self._remote = NpyShards(root, [name])
            self._path = self._remote.path(0)
            self._n, self._spec = len(self._remote), self._remote.spec
            return
        self._path = check_path("path", path)
        with opening(self._path), open(self._path, "rb", buffering=0, opener=opener) as file:
            self._layout = parse_header(read_header(file))
            if not self._layout.shape:
                raise FormatError("its array has no axis to run over the samples")
            check_size(os.fstat(file.fileno()).st_size, self._layout)
        self._n = self._layout.shape[0]
        self._spec = Spec(self._layout.shape[1:], self._layout.dtype.newbyteorder("="))

    @property
    def spec(self) -> Spec:
        return self._spec

    @property
    def in_memory(self) -> bool:
        """Whether reading is no more than copying, as from a mapped file."""
        return self._remote is None

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"NpyFile({self._path!r}, n={len(self)}, {self.spec})"

    def stamps(self, indices: Indices) -> Stamps:
        """For each sample a number that changes with the file."""
        if self._remote is not None:
            return self._remote.stamps(indices)
        return np.full(len(indices), stamp_of_path(self._path), np.uint64)

    def read(self, indices: Indices, out: Array) -> None:
        if self._remote is not None:
            self._remote.read(indices, out)
            return
        check_read(len(self), self.spec, indices, out)
        if len(indices):
            take_rows(self._array(int(indices[0])), indices, out)

    @property
    def read_windows(self) -> ReadWindows | None:
        """Writes windows of its rows, if that is no more than copying."""
        return self._read_windows if self._remote is None else None

    def _read_windows(self, starts: Indices, rate: int, out: Array) -> None:
        if len(starts):
            take_windows(self._array(int(starts[0])), starts, rate, out)

    def _array(self, index: int) -> Array:
        """The mapped array, of which sample `index` is wanted."""
        try:
            mapped = self._map
            if mapped is None:
                # Threads may map it twice at first; one of the maps is then dropped again.
                mapped = self._map = NpyMap(self._path, self._layout)
            return mapped.array()
        except (OSError, FormatError) as error:
            raise sample_error(error, index, self._path) from None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_map": None}
