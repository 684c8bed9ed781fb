"""Ragged: samples of any length in one array, what is refused, and what readers fill."""

import pickle

import numpy as np
import pytest

import headrace as hr
from headrace.ragged import RaggedOut, gather

VALUES, OFFSETS = np.arange(7), np.array([0, 3, 3, 7])


def test_samples_are_views_of_the_values():
    ragged = hr.Ragged(VALUES, OFFSETS)
    assert [sample.tolist() for sample in ragged] == [[0, 1, 2], [], [3, 4, 5, 6]]
    assert all(sample.base is VALUES for sample in ragged)
    assert ragged[-1].tolist() == [3, 4, 5, 6]
    assert ragged.lengths.tolist() == [3, 0, 4]
    assert (ragged.shape, ragged.dtype) == ((3, None), VALUES.dtype)
    assert ragged.nbytes == VALUES.nbytes + OFFSETS.nbytes


@pytest.mark.parametrize("rows", [slice(1, None), slice(0, 2), slice(-2, -1), slice(2, 1)], ids=str)
def test_a_slice_is_ragged(rows):
    cut = hr.Ragged(VALUES, OFFSETS)[rows]
    expected = [VALUES[a:b].tolist() for a, b in [(0, 3), (3, 3), (3, 7)]][rows]
    assert [sample.tolist() for sample in cut] == expected


def test_elements_may_have_axes():
    ragged = hr.Ragged(np.zeros((7, 2, 3)), OFFSETS)
    assert ragged.shape == (3, None, 2, 3)
    assert ragged[2].shape == (4, 2, 3)


@pytest.mark.parametrize("index", [3, -4])
def test_a_sample_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError, match=str(index)):
        hr.Ragged(VALUES, OFFSETS)[index]


@pytest.mark.parametrize(
    "rows", [[0, 1], np.array([True, False, True]), (0, 1), 1.0, "x"],
    ids=["list", "mask", "tuple", "float", "str"],
)  # fmt: skip
def test_what_is_no_int_or_slice_is_refused(rows):
    with pytest.raises(hr.ArgumentTypeError, match="sample must be an int or a slice"):
        hr.Ragged(VALUES, OFFSETS)[rows]


@pytest.mark.parametrize(
    ("values", "offsets", "said"),
    [
        ([1, 2], OFFSETS, "values must be a numpy.ndarray"),
        (np.array(["a", None]), OFFSETS, "without Python objects, but one of them was given"),
        (np.array(5), OFFSETS, "at least one dimension"),
        (VALUES, [0, 7], "offsets must be a numpy.ndarray of integers"),
        (VALUES, np.array([0.0, 7.0]), "of integers, but one of float64 was given"),
        (VALUES, np.array([], int), "n + 1 values"),
        (VALUES, OFFSETS[None], "of one dimension"),
        (VALUES, np.array([1, 7]), "offsets from 1 to 7"),
        (VALUES, np.array([0, 6]), "from 0 to 7, the length of values"),
        (VALUES, np.array([3, 0, 4]), "numpy.cumsum([0, *lengths])"),
        (VALUES, np.array([0, 5, 3, 7]), "3 after 5 at 2"),
        (VALUES, np.array([0, 5, 3, 7], np.uint8), "3 after 5 at 2"),
    ],
    ids=["list", "objects", "scalar", "offsets list", "floats", "none", "2d", "begins", "ends",
         "lengths", "decreasing", "unsigned"],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(values, offsets, said):
    for make in (hr.Ragged, hr.RaggedArray):
        with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
            make(values, offsets)
        assert said in str(caught.value)


def test_it_becomes_no_array_by_chance():
    with pytest.raises(TypeError, match=r"headrace\.pad"):
        np.asarray(hr.Ragged(VALUES, OFFSETS))


def test_it_pickles_without_copies_of_its_data():
    buffers = []
    pickled = pickle.dumps(hr.Ragged(VALUES, OFFSETS), 5, buffer_callback=buffers.append)
    assert len(buffers) == 2
    again = pickle.loads(pickled, buffers=buffers)
    assert [sample.tolist() for sample in again] == [[0, 1, 2], [], [3, 4, 5, 6]]


def test_rows_may_be_set_one_by_one_and_in_groups():
    out = RaggedOut(4, (2,), np.dtype("float32"))
    buffer = np.ones((3, 2))
    out[2] = buffer
    buffer[:] = 5  # is used again
    out[np.array([3, 0])] = hr.Ragged(np.full((5, 2), 7.0, np.float32), np.array([0, 1, 5]))
    out[1] = np.zeros((0, 2))
    assert [sample[:, 0].tolist() for sample in out.result] == [[7] * 4, [], [1, 1, 1], [7]]
    assert out.result is out.result


def test_a_reader_that_leaves_something_out_is_told():
    out = RaggedOut(2, (), np.dtype(int))
    out[0] = np.arange(3)
    with pytest.raises(hr.ArgumentError, match="each of 2 rows, but has set 1"):
        _ = out.result
    with pytest.raises(hr.ArgumentError, match=r"shape \(None,\)"):
        out[1] = np.zeros((2, 2))
    with pytest.raises(hr.ArgumentError, match="one for each of 2 samples"):
        out.allocate(np.array([1]))
    out.allocate(np.array([1, 2]))
    with pytest.raises(hr.ArgumentError, match="twice"):
        out.allocate(np.array([1, 2]))


@pytest.mark.parametrize("mean", [1, 200, 600], ids=["by element", "as bytes", "by sample"])
@pytest.mark.parametrize("layout", ["plain", "strided", "converted"])
def test_samples_are_gathered_from_anywhere(mean, layout):
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 2 * mean + 1, 30)
    starts = rng.integers(0, 1000, 30)
    values = rng.integers(100, size=(2200, 2)).astype("int16")
    out = RaggedOut(30, (2,), np.dtype("int32" if layout == "converted" else "int16"))
    gather(np.repeat(values, 2, 0)[::2] if layout == "strided" else values, starts, lengths, out)
    for sample, start, length in zip(out.result, starts, lengths, strict=True):
        assert sample.tolist() == values[start : start + length].tolist()
