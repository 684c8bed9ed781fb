"""ArrayReader: arrays that are refused, and what a memory-mapped one pickles as."""

import os
import pickle

import numpy as np
import pytest
from reading import read

import headrace as hr
from headrace.readers import ArrayReader
from headrace.readers.reader import read_batch
from headrace.testing import ReaderContract


class TestArrayInMemory(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return ArrayReader(samples)


class TestStridedArrayInMemory(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return ArrayReader(np.repeat(samples, 2, axis=0)[::-2][::-1])


class TestUnalignedArrayInMemory(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        memory = np.zeros(samples.nbytes + 1, np.uint8)
        unaligned = np.ndarray(samples.shape, samples.dtype, memory, 1)
        unaligned[...] = samples
        return ArrayReader(unaligned)


class TestMemoryMap(ReaderContract):
    # An empty file can't be mapped.
    shapes = tuple(shape for shape in ReaderContract.shapes if 0 not in shape)

    def make_reader(self, folder, samples):
        mapped = np.memmap(folder / "raw", samples.dtype, "w+", shape=samples.shape)
        mapped[...] = samples
        return ArrayReader(mapped)


class TestViewOfAMemoryMap(TestMemoryMap):
    """Backwards, every other row, axes swapped, and beginning in the midst of a page."""

    def make_reader(self, folder, samples):
        shape = (2 * len(samples) + 3, *samples.shape[:0:-1])
        mapped = np.memmap(folder / "raw", samples.dtype, "w+", offset=4099, shape=shape)
        view = mapped[:2:-2].transpose(0, *range(samples.ndim - 1, 0, -1))
        view[...] = samples
        return ArrayReader(view)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([1, 2], "array must be a plain numpy.ndarray, but a list was given. Pass numpy.asarray"),
        (np.ma.masked_array([1, 2], [0, 1]), "but a MaskedArray was given"),
        (np.float32(3), "but a float32 was given"),
        (None, "but a NoneType was given"),
        (np.array([1, None]), "without Python objects"),
        (np.zeros(2, [("a", "f4"), ("b", object)]), "without Python objects"),
        (np.array(5.0), "at least one dimension"),
    ],
    ids=str,
)
def test_what_is_no_array_of_samples_is_refused_by_name(array, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        ArrayReader(array)
    assert str(caught.value).startswith("array must be ")
    assert said in str(caught.value)


def test_byte_order_becomes_the_machines():
    array = np.arange(6, dtype=">i4").reshape(3, 2)
    reader = ArrayReader(array)
    assert reader.spec == hr.Spec((2,), np.dtype("int32"))
    assert np.array_equal(read(reader), array)


def test_empty_array_has_no_samples():
    reader = ArrayReader(np.empty((0, 3)))
    assert len(reader) == 0
    assert read(reader).shape == (0, 3)


def test_read_only_arrays_are_read():
    array = np.arange(6.0)
    array.flags.writeable = False
    assert np.array_equal(read(ArrayReader(array)), array)


@pytest.mark.parametrize("kind", [np.matrix, np.recarray])
def test_subclasses_that_hold_plain_data_give_their_rows(kind):
    plain = np.arange(6.0).reshape(3, 2)
    if kind is np.recarray:
        plain = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])
    assert np.array_equal(read(ArrayReader(plain.view(kind))), plain)


def test_large_strided_array_is_not_copied_as_a_whole():
    tracemalloc = pytest.importorskip("tracemalloc")
    array = np.zeros((2000, 1000)).T  # 16 MB
    reader = ArrayReader(array)
    read(reader, [5])
    tracemalloc.start()
    try:
        read(reader, [5, 7])
        assert tracemalloc.get_traced_memory()[1] < array.nbytes / 10
    finally:
        tracemalloc.stop()


@pytest.fixture
def mapped(tmp_path):
    """(40, 6) floats that begin in the midst of the file's second page."""
    array = np.memmap(tmp_path / "raw", np.float32, "w+", offset=5000, shape=(40, 6))
    array[...] = np.arange(240).reshape(40, 6)
    return array


def test_a_map_whose_file_was_cut_is_an_error_and_no_bus_error(mapped):
    os.truncate(mapped.filename, 5100)
    lists = hr.RaggedArray(mapped, np.array([0, 40]))
    for reader in (ArrayReader(mapped), ArrayReader(mapped[7:30, ::2]), lists):
        with pytest.raises(hr.SampleFormatError, match="raw' can't be read: it has 5100 bytes"):
            read_batch(reader, np.array([0]))
    with pytest.raises(hr.SampleFormatError, match="it has 5100 bytes, and had 5960 when"):
        hr.Loader(hr.Windows(mapped, 3), 2).batch(0, 0)


VIEWS = {
    "whole": lambda array: array,
    "rows": lambda array: array[7:30],
    "every third": lambda array: array[2::3],
    "backwards": lambda array: array[::-1],
    "columns": lambda array: array[:, 1:4],
    "columns backwards": lambda array: array[5:, ::-2],
    "transposed": lambda array: array.T,
    "one column": lambda array: array[:, 3],
    "an axis more": lambda array: array[:, None],
    "reshaped": lambda array: array.reshape(20, 4, 3),
    "other dtype": lambda array: array.view(np.int32),
    "bytes": lambda array: array.view(np.uint8)[:, 3::5],
    "plain": lambda array: np.asarray(array),
    "plain rows of rows": lambda array: np.asarray(array[3:])[4:],
    "repeated": lambda array: np.broadcast_to(array[3], (9, 6)),
    "windows": lambda array: np.lib.stride_tricks.sliding_window_view(array, 5, axis=0),
    "field": lambda array: array.view([("a", "<f4"), ("b", "<i4")])["b"],
    "nothing": lambda array: array[40:],
}


@pytest.mark.parametrize("view", VIEWS)
def test_view_of_a_memory_map_pickles_as_its_place_in_the_file(mapped, view):
    array = VIEWS[view](mapped)
    reader = ArrayReader(array)
    pickled = pickle.dumps(reader)
    assert len(pickled) < 700
    copy = pickle.loads(pickled)
    assert len(copy) == len(array)
    assert read(copy).tobytes() == array.tobytes()
    if view != "nothing":
        mapped[...] *= -2  # both look at one file
        assert read(copy).tobytes() == array.tobytes()
    assert pickle.dumps(copy) == pickle.dumps(pickle.loads(pickle.dumps(copy)))


@pytest.mark.parametrize("mode", ["r", "r+", "w+"])
def test_map_of_every_shared_mode_pickles_as_its_place(mapped, mode):
    if mode != "w+":
        mapped = np.memmap(mapped.filename, np.float32, mode, offset=5000, shape=(40, 6))
    copy = pickle.loads(pickle.dumps(ArrayReader(mapped)))
    assert np.array_equal(read(copy), mapped)


def test_private_changes_of_a_map_travel_with_it(mapped):
    # Copy-on-write: what was changed is in no file.
    private = np.memmap(mapped.filename, np.float32, "c", offset=5000, shape=(40, 6))
    private[3] = -1
    copy = pickle.loads(pickle.dumps(ArrayReader(private)))
    assert np.array_equal(read(copy), private)
    assert not np.array_equal(read(copy), mapped)


def test_what_was_computed_from_a_map_is_an_array_in_memory(mapped):
    computed = mapped[:3] + 1
    copy = pickle.loads(pickle.dumps(ArrayReader(computed)))
    assert np.array_equal(read(copy), computed)


def test_load_with_mmap_mode_is_a_map_too(tmp_path):
    array = np.arange(60_000.0).reshape(1000, 60)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    reader = ArrayReader(np.load(tmp_path / "a.npy", mmap_mode="r"))
    pickled = pickle.dumps(reader)
    assert len(pickled) < 700
    assert np.array_equal(read(pickle.loads(pickled)), array)


def test_repr_names_shape_and_dtype():
    assert repr(ArrayReader(np.zeros((3, 2), np.float32))) == "ArrayReader((3, 2), float32)"


@pytest.mark.parametrize("rate", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_windows_are_the_rows_of_each_whatever_the_layout(mapped, view, rate):
    array = VIEWS[view](mapped)
    n = len(array) - 2 * rate
    if n <= 0:
        return
    starts = np.array([n - 1, 0, n // 2, 0])
    out = np.zeros((4, 3, *array.shape[1:]), array.dtype.newbyteorder("="))
    ArrayReader(array).read_windows(starts, rate, out)
    assert np.array_equal(out, array[starts[:, None] + rate * np.arange(3)])


def test_windows_of_the_other_byte_order_become_the_machines():
    array = np.arange(10, dtype=">i4")
    out = np.zeros((2, 3), np.int32)
    ArrayReader(array).read_windows(np.array([7, 2]), 1, out)
    assert out.tolist() == [[7, 8, 9], [2, 3, 4]]
