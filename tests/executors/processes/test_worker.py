"""What travels between a worker and its consumer: batches, and errors."""

import multiprocessing

import in_workers
import numpy as np
import pytest

import headrace as hr
from headrace.pytree import named_leaves


def notes(error):
    return "\n".join(error.__notes__)


def test_batches_arrive_as_they_were_made(shared):
    for key, batch in enumerate(shared.map(in_workers.every_kind, range(6))):
        expected = dict(named_leaves(in_workers.every_kind(key)))
        arrived = dict(named_leaves(batch))
        assert list(arrived) == list(expected)
        assert type(batch["nested"][0]) is in_workers.Pair
        assert type(batch["ordered"]).__name__ == "OrderedDict"
        for name, array in expected.items():
            assert type(arrived[name]) is type(array), name
            if not isinstance(array, np.ndarray):
                assert arrived[name] == array, name
                continue
            assert arrived[name].dtype == array.dtype, name
            assert arrived[name].shape == array.shape, name
            assert arrived[name].flags.writeable == array.flags.writeable, name
            assert (arrived[name] == array).all(), name
            if array.dtype.kind not in "OM":
                assert arrived[name].ctypes.data % 64 == 0, name
        assert batch["fortran"].flags.f_contiguous


@pytest.mark.parametrize("make", [in_workers.growing_batch, in_workers.mixed_batch])
def test_batches_may_differ_in_size(shared, make):
    kept = []
    for key, batch in enumerate(shared.map(make, range(60))):
        assert np.array_equal(batch, make(key))
        assert batch.ctypes.data % 64 == 0
        if key % 4 == 0:
            kept.append((key, batch))
    assert all(np.array_equal(batch, make(key)) for key, batch in kept)


def test_a_large_str_arrives(shared):
    assert list(shared.map(in_workers.big_str, range(3))) == list(map(in_workers.big_str, range(3)))


@pytest.mark.parametrize("error", [ImportError, FileNotFoundError, EOFError, SystemExit])
def test_a_result_that_cannot_be_loaded_is_an_error_at_its_turn(shared, error):
    with pytest.raises(error) as caught:
        next(shared.map(in_workers.foreign, [error]))
    assert "while taking over what a worker process has made" in notes(caught.value)


@pytest.mark.parametrize("error", [ImportError, FileNotFoundError, EOFError, SystemExit])
def test_an_error_that_cannot_be_loaded_is_told_by_its_traceback(shared, error):
    children = set(multiprocessing.active_children())
    with pytest.raises(error) as caught:
        next(shared.map(in_workers.raise_foreign, [error]))
    assert "in raise_foreign" in notes(caught.value)
    assert set(multiprocessing.active_children()) >= children


def test_an_error_that_cannot_be_pickled_is_told_by_another(shared):
    with pytest.raises(hr.HeadraceError, match=r"ErrorWithoutPickle: bad 0\na note") as caught:
        next(shared.map(in_workers.raise_without_pickle, range(3)))
    assert "in raise_without_pickle" in notes(caught.value)
    with pytest.raises(hr.HeadraceError, match="ErrorWithoutWords"):
        next(shared.map(in_workers.raise_without_words, range(3)))


def test_the_traceback_and_cause_of_an_error_are_in_its_notes(shared):
    with pytest.raises(KeyError) as caught:
        next(shared.map(in_workers.raise_below, range(3)))
    assert "ZeroDivisionError: the cause" in notes(caught.value)
    assert "in raise_below" in notes(caught.value)
