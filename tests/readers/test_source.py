"""What is not an array but holds one is a source, too, or the message says what to make of it."""

import numpy as np
import pytest

import headrace as hr

X = np.arange(12, dtype="float32").reshape(6, 2)


def as_torch(x):
    return pytest.importorskip("torch", reason="needs torch").from_numpy(x)


def as_jax(x):
    return pytest.importorskip("jax", reason="needs jax").numpy.asarray(x)


def as_frame(x):
    return pytest.importorskip("pandas", reason="needs pandas").DataFrame(x, columns=["a", "b"])


def as_series(x):
    return pytest.importorskip("pandas", reason="needs pandas").Series(
        x[:, 0], index=range(9, 3, -1)
    )


@pytest.mark.parametrize("made_by", [as_torch, as_jax, as_frame, as_series, np.ndarray.tolist])
def test_what_holds_numbers_is_an_array_of_them(made_by):
    source = made_by(X)
    expected = hr.Loader(np.asarray(source), 2)
    for given in (source, (source, X), {"x": source}):
        loader = hr.Loader(given, 2)
        batch = loader.batch(1, 2)
        part = batch["x"] if isinstance(batch, dict) else batch[0] if given is not source else batch
        np.testing.assert_array_equal(part, expected.batch(1, 2))
    state = hr.Loader(source, 2).state_dict()
    assert state == expected.state_dict()  # so a run may go on with the array instead


def test_a_tensor_and_its_samples_share_memory():
    tensor = as_torch(X.copy())
    loader = hr.Loader(tensor, 2, shuffle=False, executor=hr.Inline())
    tensor[0, 0] = 77
    assert loader.batch(0, 0)[0, 0] == 77


def test_a_frame_of_several_dtypes_becomes_a_dict_of_its_columns():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame({"n": [1, 2, 3], "name": ["a", "b", "c"], "x": [0.5, 1.5, 2.5]})
    with pytest.raises(hr.ArgumentTypeError, match=r"a DataFrame was given\. Pass dict\(\.\.\.\)"):
        hr.Loader(frame, 2)
    columns = hr.Loader(dict(frame[["n", "x"]]), 2, shuffle=False)
    assert {name: part.tolist() for name, part in columns.batch(0, 0).items()} == {
        "n": [1, 2],
        "x": [0.5, 1.5],
    }


@pytest.mark.parametrize("source", [["a.npy", "b.npy"], [None, 1], [object()], []])
def test_a_list_of_other_things_is_refused(source):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)):
        hr.Loader(source, 2)


def test_a_ragged_list_and_a_tensor_that_numpy_does_not_take_say_why():
    with pytest.raises(hr.ArgumentTypeError, match=r"numpy.asarray\(...\) of it fails: .*inhomog"):
        hr.Loader([[1, 2], [3]], 1)
    torch = pytest.importorskip("torch", reason="needs torch")
    with pytest.raises(hr.ArgumentTypeError, match=r"source\[1\] must be .* of it fails: .*detach"):
        hr.Loader((X, torch.zeros(6, requires_grad=True)), 1)
