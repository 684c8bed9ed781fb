"""ArrayReader: samples that are the rows of one array, in memory or memory-mapped."""

import mmap
from collections.abc import Iterable

import numpy as np

from headrace.arguments import check_ids
from headrace.arrays import Array, DType, Indices
from headrace.arrays.conversion import held
from headrace.errors import bad_type, bad_value
from headrace.readers.reader import Spec, check_read
from headrace.readers.shared.format_error import FormatError, bad_file, opening
from headrace.readers.shared.ids import Ids, PerhapsNamed

ANY_LENGTH_REMEDY = "For samples of any length, pass GetItem(..., ragged=True), or a RaggedArray."


class ArrayReader(PerhapsNamed):
    """The rows of `array`. A `Loader` makes one of each array in its source.

    A memory-mapped array pickles as its file's name and where it lies in it, any other as its data.
    Its file may not be cut short while it is in use.

    Args:
        array: a numpy array of at least one dimension; `array[i]` is sample i.
        ids: the names of the samples, in order. A loader checks that other parts of its source have
            the same.

    Raises:
        ArgumentTypeError: (a TypeError) not a plain numpy array, or one of Python objects.
        ArgumentError: (a ValueError) an array without dimensions, or not as many ids as samples.
        SampleFormatError: (a ValueError) when it is read: the file of a memory-mapped array has
            become shorter.
    """

    def __init__(self, array: Array, ids: Iterable[object] | None = None) -> None:
        is_masked = isinstance(array, np.ma.MaskedArray)
        if not isinstance(array, np.ndarray) or is_masked:
            made = "array.filled(value)" if is_masked else "numpy.asarray(array)"
            raise bad_type("array", array, "a plain numpy.ndarray", f"Pass {made}.")
        if array.dtype.hasobject:
            raise bad_type(
                "array",
                array,
                "an array without Python objects",
                "Give it a numeric or fixed-width dtype, such as with array.astype('float32'). "
                f"{ANY_LENGTH_REMEDY}",
            )
        if not array.ndim:
            raise bad_value("array", array, "an array of at least one dimension")
        self._array = array
        self._map = _map_of(array)
        self._spec = Spec(array.shape[1:], array.dtype.newbyteorder("="))
        self._ids = None if ids is None else Ids(check_ids(ids), len(array))

    in_memory = True

    @property
    def spec(self) -> Spec:
        return self._spec

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        return f"ArrayReader({self._array.shape}, {self._array.dtype})"

    def read(self, indices: Indices, out: Array) -> None:
        check_read(len(self), self.spec, indices, out)
        take_rows(array_of(self), indices, out)

    def read_windows(self, starts: Indices, rate: int, out: Array) -> None:
        """Writes the rows `start`, `start + rate`, ... into `out[i]`, for each of the starts."""
        take_windows(array_of(self), starts, rate, out)

    def __reduce__(self) -> tuple[object, ...]:
        state = {"_ids": self._ids} if self._ids is not None else None
        mapped = _position_in_file(self._array)
        if mapped is None:
            return ArrayReader, (np.asarray(self._array),), state
        return _map_file, mapped, state


def array_of(reader: ArrayReader) -> Array:
    """The array whose rows the reader reads.

    Raises:
        SampleFormatError: (a ValueError) it is mapped, and its file has been cut: to touch what is
            gone would kill the process (SIGBUS).
    """
    mapped = reader._map
    if mapped is not None:
        memory, needed, name = mapped
        if memory.size() < needed:
            gone = f"it has {memory.size()} bytes, and had {needed} when it was mapped"
            raise bad_file(name, FormatError(gone))
    return np.asarray(reader._array)


def take_rows(array: Array, indices: Indices, out: Array) -> None:
    """Copies the rows `indices`, which must be in range, of `array` into `out`.

    Raises:
        UnheldError: a row has a value that does not fit into the dtype of `out`.
    """
    if array.flags.c_contiguous and array.flags.aligned and array.dtype == out.dtype:
        # Any other mode than clip or wrap would go through a copy of `out`.
        np.asarray(array).take(indices, 0, out, "clip")
    else:
        # numpy.take would copy the whole of such an array first.
        out[...] = held(array[indices], out.dtype)


# Of smaller rows, whole windows are copied in less time than each row by itself.
_MOST_COPIED_TOGETHER_BYTES = 32
# Of an item of an array, in numpy.
_MOST_ITEM_BYTES = 2**31 - 1


def take_windows(array: Array, starts: Indices, rate: int, out: Array) -> None:
    """Copies the rows `start`, `start + rate`, ... of `array` into `out[i]`, for each start.

    All of them must be in range. `out` has shape (batch, length, *row).
    """
    batch, length = out.shape[:2]
    shape, row_bytes = array.shape[1:], array.strides[0]
    if row_bytes > _MOST_COPIED_TOGETHER_BYTES or not array.flags.c_contiguous or not out.size:
        rows = (starts[:, None] + np.arange(length) * rate).reshape(-1)
        take_rows(array, rows, out.reshape(batch * length, *shape))
        return
    # All windows that there are, in the memory of the array.
    n, memory = len(array) - (length - 1) * rate, np.asarray(array)
    nbytes = length * row_bytes
    if rate == 1 and array.dtype == out.dtype and nbytes <= _MOST_ITEM_BYTES:
        # Each is one item, of whatever is in it: copied in half the time of many.
        item = np.dtype(f"V{nbytes}")
        every = np.ndarray((n,), item, memory, 0, (row_bytes,))
        out.reshape(-1).view(item)[...] = every[starts]
    else:
        strides = (row_bytes, row_bytes * rate, *array.strides[1:])
        every = np.ndarray((n, length, *shape), array.dtype, memory, 0, strides)
        out[...] = every[starts]


def _memmap_of(array: Array) -> np.memmap | None:
    """The shared map of a file that the array is a view of, if it is one."""
    root: object = array
    while root is not None and not isinstance(getattr(root, "base", None), mmap.mmap):
        root = getattr(root, "base", None)  # not only arrays: views by stride have other bases
    return root if isinstance(root, np.memmap) and root.filename is not None else None


def _map_of(array: Array) -> tuple[mmap.mmap, int, str] | None:
    """Of a mapped array the memory, the bytes that its file has to have, and its name."""
    root = _memmap_of(array)
    memory: object = None if root is None else root.base
    if root is None or not isinstance(memory, mmap.mmap):
        return None
    return memory, root.offset + root.nbytes, str(root.filename)


def _position_in_file(array: Array) -> tuple[object, ...] | None:
    """The arguments of `_map_file` for a view of a shared memory map of a file, else None."""
    root = _memmap_of(array)
    if root is None or root.mode == "c":
        return None
    # The offset attribute of a view is its root's, so the address has to tell where it begins.
    at = root.offset + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return str(root.filename), root.offset, root.nbytes, at, array.shape, array.dtype, array.strides


def _map_file(
    filename: str,
    offset: int,
    nbytes: int,
    at: int,
    shape: tuple[int, ...],
    dtype: DType,
    strides: tuple[int, ...],
) -> ArrayReader:
    with opening(filename):
        data = np.memmap(filename, np.uint8, mode="r", offset=offset, shape=(nbytes,))
    array: Array = np.ndarray(shape, dtype, data, at - offset, strides)
    return ArrayReader(array)
