"""NpyMap: the array in a .npy file, memory-mapped.

To touch a mapped page that the file no longer has kills the process (SIGBUS), so that the file's
size is checked when it is mapped and each time the array is asked for. Between that and the use of
the array a file may still be cut; whoever replaces files should rename new ones over the old.
"""

import mmap
import os
from typing import Literal

import numpy as np

from headrace.arrays import Array
from headrace.readers.npy.decoder import check_size
from headrace.readers.npy.header import NpyLayout, parse_header, read_header
from headrace.readers.shared.format_error import FormatError
from headrace.storage.local.regular import opener


class NpyMap:
    """The array in the file at `path`, which must have the layout that it had when looked at.

    The map goes, with a file descriptor of its own, when it and its arrays are no longer in use.

    Raises:
        FormatError: the file has another layout, or ends early.
        OSError: it can't be opened or mapped.
    """

    def __init__(self, path: str, layout: NpyLayout) -> None:
        self._layout = layout
        self._nbytes = layout.nbytes
        order: Literal["C", "F"] = "F" if layout.fortran_order else "C"
        self._map: mmap.mmap | None = None
        with open(path, "rb", buffering=0, opener=opener) as file:
            if parse_header(read_header(file)) != layout:
                raise FormatError("its header is another than when the reader was made")
            check_size(os.fstat(file.fileno()).st_size, layout)
            if layout.data_nbytes:  # an empty range can't be mapped
                self._map = mmap.mmap(file.fileno(), layout.nbytes, access=mmap.ACCESS_READ)
        if self._map is None:
            self._array: Array = np.empty(layout.shape, layout.dtype, order)
        else:
            start = layout.data_offset_bytes
            self._array = np.ndarray(layout.shape, layout.dtype, self._map, start, order=order)

    def array(self) -> Array:
        """The array, all of which is in the file.

        Raises:
            FormatError: the file has been cut since.
        """
        if self._map is not None and self._map.size() < self._nbytes:
            check_size(self._map.size(), self._layout)
        return self._array
