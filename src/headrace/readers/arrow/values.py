"""Columns of Arrow data as samples, when they are numpy arrays already. Requires no pyarrow.

What can't be a sample, such as a null, is found with the columns and raised with the sample.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, DType, Indices
from headrace.arrays.conversion import UnheldError, held
from headrace.ragged import RaggedOut, elements_of, gather
from headrace.readers.array import take_rows
from headrace.readers.reader import Spec
from headrace.readers.shared.named_arrays import Chosen, DTypes
from headrace.readers.shared.samples.ragged_parts import REMEDY, AnyLength

NULL, OTHER_LENGTH = 1, 2

_FAULTS = {
    NULL: "is null or holds a null, which numpy has no value for. Fill it before it is stored",
    OTHER_LENGTH: f"is a list of another length than that of sample 0. {REMEDY}",
}
_RAGGED_FAULTS = _FAULTS | {
    OTHER_LENGTH: "holds lists of another length than sample 0: the first axis of a sample may "
    "have any length, and no other",
}
OUTSIDE = "begins or ends where its values do not: the file is damaged"

# A sample that can't be read: its position among those that were asked for, and why.
Fault: TypeAlias = tuple[int, str]


class Wanted(NamedTuple):
    """What is asked for of the columns of files.

    Attributes:
        chosen: which of them.
        dtype: what to convert them to.
        in_folders: columns that stand in the names of folders, for messages.
        ragged: which of them may have any length, by their keys.
    """

    chosen: Chosen
    dtype: DTypes
    in_folders: tuple[str, ...] = ()
    ragged: AnyLength = False


class Column(NamedTuple):
    """A column, and what becomes of it.

    Attributes:
        key: of its array in a sample.
        name: as it was asked for.
        path: in the file: the name of a column, and those of fields of structs in it.
        shape: of a sample as it is stored; its first axis is None if it may have any length.
        axes: of that shape, in the order that the sample has.
        stored: the dtype in the file.
        spec: of the sample.
        if_null: what to say of a null, if it is not what is always said.
    """

    key: str
    name: str
    path: tuple[str, ...]
    shape: tuple[Any, ...]
    axes: tuple[int, ...]
    stored: DType
    spec: Spec
    if_null: str = ""

    def explain(self, fault: str) -> str:
        """What to say of a sample that has this fault."""
        return self.if_null if self.if_null and fault == _FAULTS[NULL] else fault

    @property
    def nbytes(self) -> int:
        """Bytes of one sample as it is stored; of one element of it, if it may have any length."""
        shape: tuple[int, ...] = self.shape[self.spec.ragged :]
        return math.prod(shape) * self.stored.itemsize


class Bits:
    """An array of bools as Arrow stores them, one bit each; indexed by an array of rows."""

    def __init__(self, data: npt.NDArray[np.uint8], offset: int, shape: tuple[int, ...]) -> None:
        self._data, self._offset, self._shape = data, offset, shape[1:]
        self._length = shape[0]
        self.nbytes = data.nbytes

    def __len__(self) -> int:
        return self._length

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

    def copy_rows(self, at: Indices, out: Array, rows: Indices) -> Fault | None:
        """Writes sample `at[i]` into `out[rows[i]]`.

        `rows` are ascending. Returns the first one in `at` that has a fault, or None.
        """
        fault = first_fault(self.faults, at)
        if fault is not None:
            return fault
        try:
            if len(rows) == len(out) and isinstance(self.data, np.ndarray):
                take_rows(self.data, at, out)
            else:
                out[rows] = held(self.data[at], out.dtype)
        except UnheldError as error:
            return error.row, str(error)
        return None


class RaggedValues(NamedTuple):
    """The samples of a block that may have any length.

    Sample i is `data[offsets[i] - offsets[0] : offsets[i + 1] - offsets[0]]`. What offsets a file
    has is not checked before they are used, so that none but those are read.
    """

    data: Array | Bits
    offsets: npt.NDArray[np.int32] | npt.NDArray[np.int64]
    faults: npt.NDArray[np.uint8] | None

    def lengths(self) -> Indices:
        """The lengths of all samples; none is negative unless the file is damaged."""
        return np.diff(self.offsets).astype(np.int64, copy=False)

    def copy_rows(self, at: Indices, out: RaggedOut, rows: Indices) -> Fault | None:
        """Sets row `rows[i]` of `out` to sample `at[i]`, as `Values` does."""
        fault = first_fault(self.faults, at, _RAGGED_FAULTS)
        if fault is not None:
            return fault
        first = int(self.offsets[0])
        starts = self.offsets[at].astype(np.int64) - first
        stops = self.offsets[at + 1].astype(np.int64) - first
        wrong = (starts < 0) | (stops < starts) | (stops > len(self.data))
        if wrong.any():
            return int(wrong.argmax()), OUTSIDE
        alone = len(rows) == len(out)
        part = out if alone else RaggedOut(len(rows), out.element, out.dtype)
        try:
            self._gather(starts, stops - starts, part)
        except UnheldError as error:
            return error.row, str(error)
        if not alone:
            out[rows] = part.result
        return None

    def _gather(self, starts: Indices, lengths: Indices, out: RaggedOut) -> None:
        if isinstance(self.data, Bits):
            target = out.allocate(lengths)
            target.values[...] = self.data[elements_of(starts, lengths, target.offsets)]
        else:
            gather(self.data, starts, lengths, out)


def first_fault(
    faults: npt.NDArray[np.uint8] | None, at: Indices, said: Mapping[int, str] = _FAULTS
) -> Fault | None:
    """The first of the samples `at` that has a fault."""
    if faults is None:
        return None
    found = faults[at]
    position = int(found.argmax()) if len(found) else 0
    return (position, said[int(found[position])]) if found.any() else None
