"""Columns of Arrow data as samples, when they are numpy arrays already. Requires no pyarrow.

What can't be a sample, such as a null, is found with the columns and raised with the sample.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, DType, Indices
from headrace.readers.array import take_rows
from headrace.readers.reader import Spec
from headrace.readers.shared.named_arrays import Chosen, DTypes

NULL, OTHER_LENGTH = 1, 2

_FAULTS = {
    NULL: "is null or holds a null, which numpy has no value for. Fill it before it is stored",
    OTHER_LENGTH: "is a list of another length than that of sample 0",
}


class Wanted(NamedTuple):
    """What is asked for of the columns of files.

    Attributes:
        chosen: which of them.
        dtype: what to convert them to.
        in_folders: columns that stand in the names of folders, for messages.
    """

    chosen: Chosen
    dtype: DTypes
    in_folders: tuple[str, ...] = ()


class Column(NamedTuple):
    """A column, and what becomes of it.

    Attributes:
        key: of its array in a sample.
        name: in the file.
        shape: of a sample as it is stored.
        axes: of that shape, in the order that the sample has.
        stored: the dtype in the file.
        spec: of the sample.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    stored: DType
    spec: Spec

    @property
    def nbytes(self) -> int:
        """Bytes of one sample as it is stored."""
        return math.prod(self.shape) * self.stored.itemsize


class Bits:
    """An array of bools as Arrow stores them, one bit each; indexed by an array of rows."""

    def __init__(self, data: npt.NDArray[np.uint8], offset: int, shape: tuple[int, ...]) -> None:
        self._data, self._offset, self._shape = data, offset, shape[1:]
        self.nbytes = data.nbytes

    def __getitem__(self, rows: Indices) -> npt.NDArray[np.bool_]:
        width = math.prod(self._shape)
        at = rows[:, None] * width + (np.arange(width) + self._offset)
        bits = (self._data[at >> 3] >> (at & 7).astype(np.uint8)) & 1
        unpacked: npt.NDArray[np.bool_] = bits.view(np.bool_)
        return unpacked.reshape(len(rows), *self._shape)


class Values(NamedTuple):
    """The samples of a block: what they are, and which of them have which fault, if any has."""

    data: Array | Bits
    faults: npt.NDArray[np.uint8] | None

    def copy_rows(self, at: Indices, out: Array, rows: Indices) -> int | None:
        """Writes sample `at[i]` into `out[rows[i]]`.

        `rows` are ascending. Returns the position in `at` of the first one that has a fault, or
        None.
        """
        if self.faults is not None and self.faults[at].any():
            return int(self.faults[at].argmax())
        if len(rows) == len(out) and isinstance(self.data, np.ndarray):
            take_rows(self.data, at, out)
        else:
            out[rows] = self.data[at]
        return None

    def fault(self, at: int) -> str:
        """What is wrong with the sample `at`."""
        assert self.faults is not None
        return _FAULTS[int(self.faults[at])]
