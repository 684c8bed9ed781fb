"""NpyFile: one .npy file whose first axis runs over the samples, memory-mapped."""

import os
from typing import Any, Literal

import numpy as np

from headrace.arrays import Array, Indices
from headrace.errors import SampleFormatError, SampleNotFoundError
from headrace.readers.array import take_rows
from headrace.readers.npy_format import FormatError, parse_header, read_header
from headrace.readers.reader import Spec, check_read


class NpyFile:
    """The rows of the array in one .npy file, which may be larger than memory.

    Args:
        path: the file.

    Raises:
        SampleNotFoundError: (a FileNotFoundError) there is no such file.
        SampleFormatError: (a ValueError) the file is damaged, or holds no array of samples.

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
        self._path = os.path.abspath(os.fspath(path))
        try:
            with open(self._path, "rb", buffering=0) as file:
                self._layout = parse_header(read_header(file))
            self._check_size()
        except FileNotFoundError:
            raise SampleNotFoundError(f"there is no file {self._path!r}") from None
        except FormatError as error:
            raise SampleFormatError(f"{self._path!r} can't be read: {error}") from None
        self._spec = Spec(self._layout.shape[1:], self._layout.dtype.newbyteorder("="))
        self._mapped: Array | None = None

    in_memory = True  # or mapped into it

    @property
    def spec(self) -> Spec:
        return self._spec

    def __len__(self) -> int:
        return self._layout.shape[0]

    def __repr__(self) -> str:
        return f"NpyFile({self._path!r}, n={len(self)}, {self.spec})"

    def read(self, indices: Indices, out: Array) -> None:
        check_read(len(self), self.spec, indices, out)
        array = self._mapped
        if array is None:
            # Threads may map it twice at first; one of the maps is then dropped again.
            array = self._mapped = self._map()
        take_rows(array, indices, out)

    def _check_size(self) -> None:
        if not self._layout.shape:
            raise FormatError("its array has no axis to run over the samples")
        promised = self._layout.data_offset_bytes + self._layout.data_nbytes
        size = os.path.getsize(self._path)
        if size < promised:
            raise FormatError(f"it ends after {size} bytes; its header promises {promised}")

    def _map(self) -> Array:
        dtype, shape, fortran_order, offset = self._layout
        order: Literal["C", "F"] = "F" if fortran_order else "C"
        if not self._layout.data_nbytes:
            return np.empty(shape, dtype, order)  # an empty range can't be mapped
        mapped = np.memmap(self._path, dtype, mode="r", offset=offset, shape=shape, order=order)
        return np.asarray(mapped)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}
