"""Errors: their classes, what survives a pickle, and what their messages say."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import headrace as hr
from headrace import errors

BUILTINS = {
    hr.HeadraceError: Exception,
    hr.ArgumentError: ValueError,
    hr.ArgumentTypeError: TypeError,
    hr.OutOfRangeError: IndexError,
    hr.SampleError: Exception,
    hr.SampleNotFoundError: FileNotFoundError,
    hr.SampleFormatError: ValueError,
    hr.StorageError: OSError,
    hr.FileMissingError: FileNotFoundError,
    hr.ChecksumError: ValueError,
    hr.StateError: ValueError,
    hr.ExecutorClosedError: RuntimeError,
    hr.LoaderMovedError: RuntimeError,
    hr.WorkerDiedError: RuntimeError,
    hr.SharedMemoryError: MemoryError,
    hr.MissingExtraError: ImportError,
}
every_class = pytest.mark.parametrize("kind", BUILTINS, ids=lambda kind: kind.__name__)


def test_every_class_is_listed_here_and_public():
    defined = {
        thing
        for thing in vars(errors).values()
        if inspect.isclass(thing) and issubclass(thing, Exception)
    }
    assert defined == set(BUILTINS)
    assert {kind.__name__ for kind in BUILTINS} <= set(hr.__all__)


@every_class
def test_class_is_a_headrace_error_and_the_builtin_that_a_user_would_catch(kind):
    assert issubclass(kind, hr.HeadraceError)
    assert issubclass(kind, BUILTINS[kind])


@pytest.mark.parametrize("kind", [hr.SampleNotFoundError, hr.SampleFormatError])
def test_errors_of_samples_can_be_caught_as_one(kind):
    assert issubclass(kind, hr.SampleError)


@every_class
def test_error_can_be_made_again_of_its_message(kind):
    # PyTorch re-raises the error of a worker process as type(error)(text).
    error = kind("what is wrong")
    assert str(error) == "what is wrong"
    again = type(error)(f"Caught in a worker.\n{error}")
    assert str(again) == "Caught in a worker.\nwhat is wrong"
    assert again.args == ("Caught in a worker.\nwhat is wrong",)


@every_class
@pytest.mark.parametrize(
    "remade",
    [copy.copy, copy.deepcopy]
    + [
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ],
)
def test_error_survives_copy_and_pickle_with_index_and_notes(kind, remade):
    error = kind("what is wrong")
    error.index = 7
    error.add_note("where it happened")
    again = remade(error)
    assert type(again) is kind
    assert str(again) == "what is wrong"
    assert again.index == 7
    assert again.__notes__ == ["where it happened"]


def test_sample_error_knows_its_index_or_none():
    assert hr.SampleError("bad").index is None
    error = hr.SampleNotFoundError.at(7, "sample 7 is missing")
    assert type(error) is hr.SampleNotFoundError
    assert (error.index, str(error)) == (7, "sample 7 is missing")


def test_message_names_argument_allowed_value_and_remedy():
    error = errors.bad_value("n", -3, "an int from 1 to 9", "Use abs(n).")
    assert type(error) is hr.ArgumentError
    assert str(error) == "n must be an int from 1 to 9, but -3 was given. Use abs(n)."
    error = errors.bad_type("n", 2.5, "an int")
    assert type(error) is hr.ArgumentTypeError
    assert str(error) == "n must be an int, but a float was given."


def test_long_values_are_shown_by_their_beginning():
    message = str(errors.bad_value("ids", "x" * 10_000, "short"))
    assert message == f"ids must be short, but '{'x' * 199}... was given."


X = np.zeros(10)
CALLS = {
    "batch_size 0": (
        lambda: hr.Loader(X, 0),
        hr.ArgumentError,
        ["batch_size", "an int from 1", "0 was given"],
    ),
    "batch_size of a float": (
        lambda: hr.Loader(X, 2.0),
        hr.ArgumentTypeError,
        ["batch_size", "an int", "a float was given"],
    ),
    "seed": (lambda: hr.Loader(X, 2, seed=-1), hr.ArgumentError, ["seed", "from 0", "-1 was"]),
    "seed of None": (
        lambda: hr.Loader(X, 2, seed=None),
        hr.ArgumentTypeError,
        ["seed", "an int", "a NoneType was given"],
    ),
    "tail": (
        lambda: hr.Loader(X, 2, tail="keep"),
        hr.ArgumentError,
        ["tail", "'drop', 'partial' or 'pad'", "'keep' was given"],
    ),
    "tail that starves a rank": (
        lambda: hr.Loader(X, 3, tail="partial", world_size=3),
        hr.ArgumentError,
        ["tail", "'drop' or 'pad'", "'partial' was given", "leave a rank with an empty batch"],
    ),
    "rank": (
        lambda: hr.Loader(X, 2, rank=2, world_size=2),
        hr.ArgumentError,
        ["rank", "from 0 to 1", "2 was given"],
    ),
    "shuffle": (
        lambda: hr.Loader(X, 2, shuffle=1),
        hr.ArgumentTypeError,
        ["shuffle", "True or False", "int was given"],
    ),
    "transform": (
        lambda: hr.Loader(X, 2, transform="flip"),
        hr.ArgumentTypeError,
        ["transform", "a function of (batch, rng)", "a str was given", "per_sample(fn)"],
    ),
    "executor": (
        lambda: hr.Loader(X, 2, executor=4),
        hr.ArgumentTypeError,
        ["executor", "Inline(), Threads(n)", "int was given"],
    ),
    "executor of a class": (
        lambda: hr.Loader(X, 2, executor=hr.Threads),
        hr.ArgumentTypeError,
        ["executor", "Inline(), Threads(n)"],
    ),
    "source of a list": (
        lambda: hr.Loader([1, 2, 3], 2),
        hr.ArgumentTypeError,
        ["source", "a reader, a numpy array", "a list was given", "numpy.asarray"],
    ),
    "source of a path": (
        lambda: hr.Loader((X, "data"), 2),
        hr.ArgumentTypeError,
        ["source[1]", "a str was given", "Hdf5(path)", "NpyFiles(root)"],
    ),
    "source of None": (
        lambda: hr.Loader({"a": None}, 2),
        hr.ArgumentTypeError,
        ["source['a']", "a NoneType was given"],
    ),
    "source of a class": (
        lambda: hr.Loader(hr.NpyFile, 2),
        hr.ArgumentTypeError,
        ["source", "a reader, a numpy array"],
    ),
    "source of objects": (
        lambda: hr.Loader(np.array([None]), 2),
        hr.ArgumentTypeError,
        ["Python objects"],
    ),
    "source of a masked array": (
        lambda: hr.Loader(np.ma.masked_array([1]), 2),
        hr.ArgumentTypeError,
        ["plain numpy.ndarray"],
    ),
    "source of unequal lengths": (
        lambda: hr.Loader({"x": X, "y": X[:7]}, 2),
        hr.ArgumentError,
        ["source", "as many samples", "source['x'] has 10", "source['y'] has 7"],
    ),
    "source without samples": (
        lambda: hr.Loader(X[:0], 2),
        hr.ArgumentError,
        ["source", "at least one sample", "is empty"],
    ),
    "source without parts": (
        lambda: hr.Loader({}, 2),
        hr.ArgumentError,
        ["source", "at least one reader or array", "has none"],
    ),
    "step": (
        lambda: hr.Loader(X, 3).batch(0, 3),
        hr.OutOfRangeError,
        ["step", "range(3)", "3 was given"],
    ),
    "negative step": (
        lambda: hr.Loader(X, 3).batch(0, -1),
        hr.OutOfRangeError,
        ["step", "range(3)", "-1 was given"],
    ),
    "epoch": (
        lambda: hr.Loader(X, 3).batch(-1, 0),
        hr.ArgumentError,
        ["epoch", "from 0", "-1 was"],
    ),
    "position of a permutation": (
        lambda: hr.Permutation(5)[5],
        hr.OutOfRangeError,
        ["index", "range(5)", "5 was given"],
    ),
    "n of a permutation": (
        lambda: hr.Permutation(0),
        hr.ArgumentError,
        ["n must", "from 1", "0 was given"],
    ),
    "state of another source": (
        lambda: hr.Loader(X, 2).load_state_dict(hr.Loader(X[:4], 2).state_dict()),
        hr.StateError,
        ["state", "same samples in the same order", "'samples' is 4", "this loader's is 10"],
    ),
    "state of None": (
        lambda: hr.Loader(X, 2).load_state_dict(None),
        hr.StateError,
        ["state", "'format' is None"],
    ),
    "damaged state": (
        lambda: hr.Loader(X, 2).load_state_dict(hr.Loader(X, 2).state_dict() | {"epoch": -1}),
        hr.StateError,
        ["state", "epoch must be an int from 0", "-1"],
    ),
}


@pytest.mark.parametrize("what", CALLS)
def test_wrong_call_is_told_what_is_wrong_what_is_allowed_and_what_to_do(what):
    call, kind, parts = CALLS[what]
    with pytest.raises(hr.HeadraceError) as caught:
        call()
    assert type(caught.value) is kind
    for part in parts:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 400
