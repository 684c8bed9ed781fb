"""FileLists: lists in all record batches of a mapped file, read with one call. Requires no pyarrow.

A batch has a few samples of each of many record batches, which take longer one by one than their
values do. But the values of all lie in the memory of one file, as do the offsets:

    record batch   0                     1
    file           offsets   values      offsets   values
                   ^ offset_at[0]        ^ offset_at[1]
                             ^ value_at[0]         ^ value_at[1], in values
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, Indices, address
from headrace.arrays.conversion import UnheldError
from headrace.ragged import Ragged, RaggedOut, fill
from headrace.readers.arrow.values import OUTSIDE, Fault, RaggedValues, first_fault


class FileLists(NamedTuple):
    """A column of a file; all positions count from where the file begins.

    Attributes:
        values: the file as numbers of the column.
        width: how many of them are an element.
        offsets: the file as offsets.
        offset_at: of each record batch, where its first offset lies.
        value_at: of each, where the element lies that an offset of 0 would name.
        first, last: of each, the first offset and the last.
        faults: of each, the samples that have faults, if any has one.
    """

    values: Array
    width: int
    offsets: Array
    offset_at: Indices
    value_at: Indices
    first: Indices
    last: Indices
    faults: list[npt.NDArray[np.uint8] | None] | None

    @classmethod
    def of(cls, file: npt.NDArray[np.uint8], batches: Sequence[RaggedValues]) -> "FileLists | None":
        """Those of record batches; or None, if they do not lie in the file as numpy has them."""
        known = [each for each in batches if len(each.offsets) > 1]
        if not known:
            return None
        model, offset_dtype = known[0].data, known[0].offsets.dtype
        if not isinstance(model, np.ndarray):
            return None
        width = math.prod(model.shape[1:])
        ends = np.array([(each.offsets[0], each.offsets[-1]) for each in batches], np.int64)
        positions = np.zeros((2, len(batches)), np.int64)
        for number, each in enumerate(batches):
            if len(each.offsets) > 1:
                offset_at = _position(file, each.offsets)
                value_at = _position(file, each.data) if len(each.data) and width else 0
                if offset_at is None or value_at is None:
                    return None
                positions[:, number] = offset_at, value_at - ends[number, 0] * width
        faults = [each.faults for each in batches]
        return cls(
            _as(file, model.dtype),
            width,
            _as(file, offset_dtype),
            positions[0],
            positions[1],
            ends[:, 0].copy(),
            ends[:, 1].copy(),
            faults if any(each is not None for each in faults) else None,
        )

    def read(self, numbers: Indices, at: Indices, out: RaggedOut) -> Fault | None:
        """Fills `out` with sample `at[i]` of record batch `numbers[i]`, as `Values.copy_rows`."""
        for number in () if self.faults is None else np.unique(numbers).tolist():
            of_batch = np.flatnonzero(numbers == number)
            fault = first_fault(self.faults[number], at[of_batch]) if self.faults else None
            if fault is not None:
                return int(of_batch[fault[0]]), fault[1]
        # Of a single record batch, numbers broadcast.
        of_each = numbers if len(self.offset_at) > 1 else slice(None)
        positions = self.offset_at[of_each] + at
        starts = self.offsets[positions].astype(np.int64, copy=False)
        positions += 1
        stops = self.offsets[positions].astype(np.int64, copy=False)
        wrong = starts < self.first[of_each]
        wrong |= stops < starts
        wrong |= stops > self.last[of_each]
        if wrong.any():
            return int(wrong.argmax()), OUTSIDE
        lengths = stops - starts
        target = out.allocate(lengths)
        if target.values.ndim > 1:
            flat = target.values.reshape(-1)
            target = Ragged(flat, target.offsets * self.width)
            starts, lengths = starts * self.width, lengths * self.width
        starts += self.value_at[of_each]
        try:
            fill(self.values, starts, lengths, target)
        except UnheldError as error:
            return error.row, str(error)
        return None


def _position(file: npt.NDArray[np.uint8], array: object) -> int | None:
    """Where an array lies in a file, in its items; None if it is no part of it."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        return None
    start = address(array) - address(file)
    inside = start >= 0 and start + array.nbytes <= len(file)
    return start // array.itemsize if inside and start % array.itemsize == 0 else None


def _as(file: npt.NDArray[np.uint8], dtype: np.dtype) -> Array:
    whole: Array = file[: len(file) // dtype.itemsize * dtype.itemsize].view(dtype)
    return whole
