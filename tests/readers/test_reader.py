"""Spec, and the check of indices and out that all readers share."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

import headrace as hr
from headrace.pytree import leaves
from headrace.readers.reader import check_read

SPEC = hr.Spec((2, 3), np.dtype(np.float32))


def test_spec_knows_the_bytes_of_a_sample():
    assert SPEC.nbytes == 24
    assert hr.Spec((), np.dtype(np.int64)).nbytes == 8
    assert hr.Spec((5, 0), np.dtype(np.int64)).nbytes == 0
    # As a Python int, which does not overflow.
    assert hr.Spec((2**40, 2**40), np.dtype(np.int64)).nbytes == 2**83


def test_a_spec_takes_any_name_of_a_dtype_and_says_what_it_does_not_take():
    assert hr.Spec((), np.int64) == hr.Spec((), "int64") == hr.Spec((), np.dtype("int64"))
    with pytest.raises(hr.ArgumentError, match=r"^dtype must be a dtype of numpy, but 'image' was"):
        hr.Spec((), "image")
    with pytest.raises(hr.ArgumentTypeError, match=r"^shape must be a tuple of ints, .* int was"):
        hr.Spec(2, np.dtype("int64"))
    for shape in ((3.0,), (-1,), (2, "3")):
        with pytest.raises(hr.ArgumentError, match=r"^shape must be a tuple of ints from 0"):
            hr.Spec(shape, "int64")


def test_a_spec_is_a_value_and_no_tuple():
    assert repr(SPEC) == "Spec(shape=(2, 3), dtype=dtype('float32'))"
    same = hr.Spec(shape=(2, 3), dtype=np.dtype(np.float32))
    assert (same == SPEC, hash(SPEC) == hash(same)) == (True, True)
    assert SPEC not in ((SPEC.shape, SPEC.dtype), hr.Spec((2, 3), np.dtype(np.int32)))
    assert pickle.loads(pickle.dumps(SPEC)) == copy.deepcopy(SPEC) == SPEC
    assert list(leaves({"x": SPEC, "y": (SPEC,)})) == [SPEC, SPEC]
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.shape = ()


@pytest.mark.parametrize(
    "indices",
    [
        [0, 1],
        np.array([0, 1], np.int32),
        np.array([0, 1], np.uint64),
        np.array([0.0, 1.0]),
        np.array([[0, 1]]),
        np.int64(0),
        np.array([0, 1], ">i8"),
    ],
    ids=repr,
)
def test_indices_of_another_kind_are_refused_by_name(indices):
    with pytest.raises(hr.ArgumentError, match=r"^indices must be an int64 array of one dimension"):
        check_read(5, SPEC, indices, np.empty((2, 2, 3), np.float32))


@pytest.mark.parametrize("wrong", [5, -1, 2**62, -(2**63)])
def test_index_out_of_range_is_named_with_the_range(wrong):
    indices = np.array([0, 4, wrong, 7])
    with pytest.raises(hr.OutOfRangeError, match=rf"^indices .* range\(5\), but {wrong} was given"):
        check_read(5, SPEC, indices, np.empty((4, 2, 3), np.float32))


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (np.empty((2, 3, 2), np.float32), "(2, 3, 2)"),
        (np.empty((2, 2, 3), np.float64), "float64"),
        (np.empty((3, 2, 2), np.float32).T, "not C-contiguous"),
        (np.empty((2, 2, 3), ">f4"), ">f4"),
        (np.broadcast_to(np.float32(0), (2, 2, 3)), "not C-contiguous"),
        (np.frombuffer(bytes(48), np.float32).reshape(2, 2, 3), "read-only"),
    ],
    ids=["shape", "dtype", "order", "byte order", "broadcast", "read-only"],
)
def test_out_that_does_not_fit_is_named_with_what_would(out, said):
    with pytest.raises(hr.ArgumentError, match=r"^out must be a ") as caught:
        check_read(5, SPEC, np.arange(2), out)
    for part in (said, "C-contiguous array of shape (2, 2, 3) and dtype float32"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "out", [[[0.0]], None, pytest.param(memoryview(bytearray(48)), id="a memoryview")], ids=repr
)
def test_out_that_is_no_array_is_refused_by_name(out):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError), match=r"^out must be a"):
        check_read(5, SPEC, np.arange(2), out)


def test_no_index_of_an_empty_reader_is_fine():
    check_read(0, SPEC, np.array([], np.int64), np.empty((0, 2, 3), np.float32))
    with pytest.raises(hr.OutOfRangeError):
        check_read(0, SPEC, np.array([0]), np.empty((1, 2, 3), np.float32))
