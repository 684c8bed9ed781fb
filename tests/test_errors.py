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
    hr.AccessDeniedError: PermissionError,
    hr.ChecksumError: ValueError,
    hr.StateError: ValueError,
    hr.ExecutorClosedError: RuntimeError,
    hr.LoaderMovedError: RuntimeError,
    hr.StoppedEarlyError: RuntimeError,
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
VALUE, TYPE = hr.ArgumentError, hr.ArgumentTypeError
# What a loader is made with, and parts of what is said about it.
REFUSED = [
    (VALUE, {"batch_size": 0}, "batch_size .. an int from 1 .. 0 was given"),
    (TYPE, {"batch_size": 2.0}, "batch_size .. an int .. a float was given"),
    (VALUE, {"seed": -1}, "seed .. from 0 .. -1 was"),
    (TYPE, {"seed": None}, "seed .. an int .. a NoneType was given"),
    (VALUE, {"tail": "keep"}, "tail .. 'drop', 'partial' or 'pad' .. 'keep' was given"),
    (
        VALUE,
        {"batch_size": 3, "tail": "partial", "world_size": 3},
        "tail .. 'drop' or 'pad' .. 'partial' was given .. leave a rank with an empty batch",
    ),
    (VALUE, {"rank": 2, "world_size": 2}, "rank .. from 0 to 1 .. 2 was given"),
    (TYPE, {"shuffle": 1}, "shuffle .. True or False .. int was given"),
    (
        TYPE,
        {"transform": "flip"},
        "transform .. a function of (batch, rng) .. a str was given .. per_sample(fn)",
    ),
    (TYPE, {"executor": 4}, "executor .. Inline(), Threads(n) .. int was given"),
    (TYPE, {"executor": hr.Threads}, "executor .. Inline(), Threads(n)"),
    (
        TYPE,
        {"source": ["a", "b"]},
        "source .. a reader, a numpy array .. a list was given .. numpy.asarray",
    ),
    (
        TYPE,
        {"source": (X, "data")},
        "source[1] .. a str was given .. Hdf5(path) .. NpyFiles(root)",
    ),
    (TYPE, {"source": {"a": None}}, "source['a'] .. a NoneType was given"),
    (TYPE, {"source": hr.NpyFile}, "source .. a reader, a numpy array"),
    (TYPE, {"source": np.array([None])}, "Python objects"),
    (TYPE, {"source": np.ma.masked_array([1])}, "plain numpy.ndarray .. array.filled(value)"),
    (TYPE, {"source": [np.ma.masked_equal([1], 1)]}, "without masked .. array.filled(value)"),
    (
        VALUE,
        {"source": {"x": X, "y": X[:7]}},
        "source .. as many samples .. source['x'] has 10 .. source['y'] has 7",
    ),
    (VALUE, {"source": X[:0]}, "source .. at least one sample .. is empty"),
    (VALUE, {"source": {}}, "source .. at least one reader or array .. has none"),
]
# What a loader of three steps, or a permutation, is asked for.
CALLS = [
    (hr.OutOfRangeError, lambda loader: loader.batch(0, 3), "step .. range(3) .. 3 was given"),
    (hr.OutOfRangeError, lambda loader: loader.batch(0, -1), "step .. range(3) .. -1 was given"),
    (VALUE, lambda loader: loader.batch(-1, 0), "epoch .. from 0 .. -1 was"),
    (hr.OutOfRangeError, lambda loader: hr.Permutation(5)[5], "index .. range(5) .. 5 was given"),
    (VALUE, lambda loader: hr.Permutation(0), "n must .. from 1 .. 0 was given"),
    (
        hr.StateError,
        lambda loader: loader.load_state_dict(hr.Loader(X[:4], 2).state_dict()),
        "state .. same samples in the same order .. 'samples' is 4 .. this loader's is 10",
    ),
    (hr.StateError, lambda loader: loader.load_state_dict(None), "state .. 'format' is None"),
    (
        hr.StateError,
        lambda loader: loader.load_state_dict(loader.state_dict() | {"epoch": -1}),
        "state .. epoch must be an int from 0 .. -1",
    ),
]


def check_refusal(call, kind, parts):
    with pytest.raises(hr.HeadraceError) as caught:
        call()
    assert type(caught.value) is kind
    for part in parts.split(" .. "):
        assert part in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("kind", "options", "parts"), REFUSED)
def test_a_wrong_option_is_told_what_is_allowed_and_what_to_do(kind, options, parts):
    check_refusal(lambda: hr.Loader(**{"source": X, "batch_size": 2} | options), kind, parts)


@pytest.mark.parametrize(("kind", "call", "parts"), CALLS)
def test_a_wrong_call_is_told_what_is_allowed_and_what_to_do(kind, call, parts):
    check_refusal(lambda: call(hr.Loader(X, 3)), kind, parts)
