"""NpyDecoder: arrays in the .npy format become samples of one shape and dtype."""

import io
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype, hint_of_raw, keeps_kind
from headrace.arrays import Array
from headrace.arrays.conversion import UnheldError, held
from headrace.readers.npy.header import MAX_START_BYTES, NpyLayout, parse_header, read_header
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.samples.ragged_parts import REMEDY, differ_in_length
from headrace.storage.local.folder import read_into


class NpyDecoder:
    """What an array must be like to be a sample, and how it becomes one.

    Args:
        header: of the first array, all bytes before its data.
        shape: of a sample. Default: that of the first array. Arrays may differ from it by axes of
            length one; or in the length of the first axis, if that is None, and in nothing else.
        dtype: of a sample, which arrays are converted to. Default: that of the first array, which
            all others must then have.
        ragged: whether the first axis may have any length, whatever it is in shape.

    Attributes:
        spec: shape and dtype of a sample.
        plain_header: what an array must begin with for its data to be the sample's bytes as they
            stand, if the first is like that.

    Raises:
        FormatError: the first array can't be a sample.
    """

    def __init__(
        self,
        header: bytes,
        shape: tuple[int | None, ...] | None = None,
        dtype: npt.DTypeLike | None = None,
        ragged: bool = False,
    ) -> None:
        layout = parse_header(header)
        self._converts = dtype is not None
        of_sample = layout.shape if shape is None else shape
        if ragged and not of_sample:
            raise FormatError("it is one number, without an axis that may have any length")
        self.spec = Spec(
            (None, *of_sample[1:]) if ragged else of_sample,
            check_dtype(layout.dtype if dtype is None else dtype),
        )
        self._check(layout)
        is_plain = self._is_plain(layout) and not self.spec.ragged
        self.plain_header = header if is_plain else None

    def layout(self, header: bytes) -> NpyLayout:
        """The layout of an array with this header; an error unless it can become a sample."""
        layout = parse_header(header)
        self._check(layout)
        return layout

    def array(self, data: memoryview) -> Array:
        """The array in `data`, whose memory it shares; in whatever order and dtype it has there."""
        layout = self.layout(read_header(io.BytesIO(data[:MAX_START_BYTES])))
        return self._held(array_in(data, layout))

    def decode(self, data: memoryview, row: Array) -> None:
        """Writes the array in `data` into `row`, which has shape (1, *shape)."""
        expected = self.plain_header
        if expected is None or data[: len(expected)] != expected:
            self.read(io.BytesIO(data), row)
            return
        size = len(expected) + row.nbytes
        if len(data) < size:
            raise _ends(len(data), size)
        if row.nbytes:
            row.reshape(-1).view(np.uint8)[:] = data[len(expected) : size]

    def read(self, file: BinaryIO, row: Array) -> None:
        """Writes the array that `file` stands at the beginning of into `row`, as `decode` does."""
        layout = self.layout(read_header(file))
        plain = self._is_plain(layout)
        shape = layout.shape[::-1] if layout.fortran_order else layout.shape
        stored = row if plain else np.empty(shape, layout.dtype)
        if stored.nbytes:
            data = stored.reshape(-1).view(np.uint8).data
            received = read_into(file, data)
            if received < len(data):
                raise _ends(layout.data_offset_bytes + received, layout.nbytes)
        if not plain:
            array = stored.T if layout.fortran_order else stored
            row[...] = self._held(array.reshape(row.shape))

    def _held(self, array: Array) -> Array:
        try:
            return held(array, self.spec.dtype)
        except UnheldError as error:
            raise FormatError(f"it {error}") from None

    def _check(self, layout: NpyLayout) -> None:
        shape, expected = layout.shape, self.spec.shape
        if self.spec.ragged:
            fits = len(shape) == len(expected) and shape[1:] == expected[1:]
        else:
            fits = shape == expected or squeezed(shape) == squeezed(expected)
        if not fits:
            remedy = f". {REMEDY}" if differ_in_length(shape, expected) else ""
            raise FormatError(f"its shape is {shape}; expected is {expected}{remedy}")
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
                    f"without changing its kind{hint_of_raw(native)}"
                )

    def _is_plain(self, layout: NpyLayout) -> bool:
        """Whether the stored data are the bytes of the sample, as they stand."""
        return has_rows_together(layout) and layout.dtype == self.spec.dtype


def array_in(data: bytes | memoryview, layout: NpyLayout) -> Array:
    """The array of this layout in the bytes of a file, whose memory it shares."""
    check_size(len(data), layout)
    order: Literal["F", "C"] = "F" if layout.fortran_order else "C"
    return np.ndarray(layout.shape, layout.dtype, data, layout.data_offset_bytes, order=order)


def check_size(size: int, layout: NpyLayout) -> None:
    """Raises an error if `size` bytes are fewer than an array of `layout` has."""
    if size < layout.nbytes:
        raise _ends(size, layout.nbytes)


def has_rows_together(layout: NpyLayout) -> bool:
    """Whether the data lie in C order."""
    return not layout.fortran_order or len(squeezed(layout.shape)) < 2


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of length one."""
    return tuple(length for length in shape if length != 1)


def _ends(size: int, promised: int) -> FormatError:
    return FormatError(f"it ends after {size} bytes; its header promises {promised}")
