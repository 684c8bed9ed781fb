"""What is not an array but holds one is a source, too, or the message says what to make of it."""

import pickle

import numpy as np
import pytest

import headrace as hr
from headrace.readers import ArrayReader

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
    # A run may go on with the array instead, also where the index of a series names its samples.
    state = hr.Loader(source, 2).state_dict()
    expected.load_state_dict(state)
    hr.Loader(source, 2).load_state_dict(expected.state_dict())


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


def test_a_series_of_strings_is_told_to_be_an_array_or_labels():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    for dtype in ("object", "category"):
        series = pandas.Series(["a", "bc", "a"], dtype=dtype)
        with pytest.raises(hr.ArgumentTypeError, match=r"the dtype 'U' for strings; or Labels\(\."):
            hr.Loader(series, 2)
        for source in (np.asarray(series, "U"), hr.Labels(series)):
            assert hr.Loader(source, 3, shuffle=False).batch(0, 0).tolist() == ["a", "bc", "a"]
    days = pandas.Series(pandas.date_range("2020", periods=3))
    assert (hr.Loader(days, 3, shuffle=False).batch(0, 0) == days.to_numpy()).all()


def test_numbers_that_numpy_does_not_have_by_itself():
    jax = pytest.importorskip("jax", reason="needs jax")
    x = jax.numpy.arange(4, dtype="bfloat16")
    assert (hr.Loader(x, 4, shuffle=False).batch(0, 0) == np.asarray(x)).all()
    torch = pytest.importorskip("torch", reason="needs torch")
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        tensor = torch.arange(4.0).to(dtype)
        with pytest.raises(hr.ArgumentTypeError, match=r"Pass tensor.float\(\)"):
            hr.Loader(tensor, 2)
        hr.Loader(tensor.float(), 2)


@pytest.mark.parametrize("source", [["a.npy", "b.npy"], [None, 1], [object()], []])
def test_a_list_of_other_things_is_refused(source):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)):
        hr.Loader(source, 2)


def test_a_list_of_the_parts_of_a_source_is_told_to_be_a_tuple():
    with pytest.raises(hr.ArgumentTypeError, match="arrays that belong together, pass a tuple"):
        hr.Loader([np.zeros((5, 3)), np.arange(5)], batch_size=2)
    with pytest.raises(hr.ArgumentTypeError) as caught:
        hr.Loader([np.zeros(5), np.arange(4)], batch_size=2)
    assert "tuple." not in str(caught.value), "of samples of any length"


def test_a_batch_of_any_length_is_no_source_but_what_it_holds_is():
    with pytest.raises(hr.ArgumentTypeError, match=r"RaggedArray\(ragged.values, ragged.offsets\)"):
        hr.Loader(hr.Ragged(np.arange(3), np.array([0, 1, 3])), batch_size=2)


def test_a_ragged_list_and_a_tensor_that_numpy_does_not_take_say_why():
    with pytest.raises(hr.ArgumentTypeError, match=r"numpy.asarray\(...\) of it fails: .*inhomog"):
        hr.Loader([[1, 2], [3]], 1)
    for samples in ([[1, 2], [3]], [np.arange(2), np.arange(1)]):
        with pytest.raises(hr.ArgumentTypeError, match=r"GetItem\(\.\.\., ragged=True\)"):
            hr.Loader(samples, 1)
    with pytest.raises(hr.ArgumentTypeError, match=r"GetItem\(\.\.\., ragged=True\)"):
        hr.Loader(np.array([np.arange(2), np.arange(1)], object), 1)
    torch = pytest.importorskip("torch", reason="needs torch")
    with pytest.raises(hr.ArgumentTypeError, match=r"source\[1\] must be .* of it fails: .*detach"):
        hr.Loader((X, torch.zeros(6, requires_grad=True)), 1)


# --- ids -----------------------------------------------------------------------------------------


class Named:
    """Samples of the numbers of their ids, as letters: "c" is 2."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self, ids):
        self.ids = list(ids)

    def __len__(self):
        return len(self.ids)

    def read(self, indices, out):
        out[:] = [ord(self.ids[index].rpartition("/")[2][0]) - ord("a") for index in indices]


def series(ids):
    """What `Named` has, as a series with these ids for its index."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    return pandas.Series([ord(one) - ord("a") for one in ids], index=list(ids))


def labels(ids):
    return hr.Labels([ord(one) - ord("a") for one in ids], ids=list(ids))


def rows(ids):
    return ArrayReader(np.array([ord(one) - ord("a") for one in ids]), ids=list(ids))


def first_batch(source, **options):
    return hr.Loader(source, 3, shuffle=False, tail="partial", **options).batch(0, 0)


MISPAIRED = "sample 1 is 'b' in source[0] and 'c' in source[1]"


@pytest.mark.fault("parts of other ids", "error", "labels")
@pytest.mark.parametrize("kind", [Named, labels, rows])
def test_parts_with_other_ids_are_refused_unless_it_is_meant(kind):
    source = Named("abc"), kind("acb")
    with pytest.raises(hr.ArgumentError, match="parts of source must have the same ids") as caught:
        hr.Loader(source, 3)
    assert MISPAIRED in str(caught.value)
    x, y = first_batch(source, match_ids=False)
    assert (x.tolist(), y.tolist()) == ([0, 1, 2], [0, 2, 1])
    x, y = first_batch((Named("acb"), kind("acb")))
    assert x.tolist() == y.tolist() == [0, 2, 1]


def test_ids_are_the_same_whatever_the_suffixes_of_their_files():
    first_batch((Named(["1/a.jpg", "b.v1"]), Named(["1/a.PNG", "b.v1"])))
    with pytest.raises(hr.ArgumentError, match=r"sample 1 is 'b\.v1' .* and 'b\.v2'"):
        first_batch((Named(["1/a.jpg", "b.v1"]), Named(["1/a.PNG", "b.v2"])))


def test_a_part_without_ids_goes_with_any():
    first_batch({"x": Named("abc"), "y": np.arange(3), "z": labels("abc")})


def test_a_series_is_brought_into_the_order_of_the_ids():
    for source in ((series("cab"), Named("bca")), (Named("bca"), series("cab"))):
        assert [part.tolist() for part in first_batch(source)] == [[1, 2, 0]] * 2
    x, y = first_batch((series("cab"), series("abc")))
    assert x.tolist() == y.tolist() == [2, 0, 1], "the first one leads"
    frame = series("cab").to_frame("y")
    assert first_batch((Named("bca"), frame))[1].tolist() == [[1], [2], [0]]
    x, y = first_batch((Named("bca"), series("cab")), match_ids=False)
    assert (x.tolist(), y.tolist()) == ([1, 2, 0], [2, 0, 1])


def test_a_series_of_other_ids_is_refused():
    for other in ("abd", "abb"):
        with pytest.raises(hr.ArgumentError, match="parts of source must have the same ids"):
            hr.Loader((Named("abc"), series(other)), 3)


def test_a_series_with_the_default_index_is_taken_in_its_order():
    values = series("cab").reset_index(drop=True)
    assert first_batch((Named("cab"), values))[1].tolist() == [2, 0, 1]
    # Unless the ids are the numbers of its rows, in another order: that of file names, say.
    files = ArrayReader(np.arange(3), ids=["0", "2", "1"])
    with pytest.raises(hr.ArgumentError, match="must be in an order that is certain"):
        hr.Loader((files, values), 3)
    first_batch((files, values), match_ids=False)
    first_batch((files, values.to_numpy()))


@pytest.mark.parametrize("kind", [labels, rows, series])
def test_a_state_of_another_fold_is_refused(kind):
    # Of equal labels, so that only the ids tell the folds apart.
    def fold(ids):
        source = kind(ids)
        return (np.zeros(3), source * 0 if kind is series else source)

    state = hr.Loader(fold("abc"), 3).state_dict()
    hr.Loader(fold("abc"), 3).load_state_dict(state)
    with pytest.raises(hr.StateError, match="'ids'" if kind is not labels else "state must come"):
        hr.Loader(fold("abd"), 3).load_state_dict(state)


def test_ids_tell_folds_of_equal_labels_apart():
    folds = [hr.Loader(hr.Labels([1, 1], ids=ids), 2) for ids in (list("ab"), list("cd"))]
    with pytest.raises(hr.StateError, match="'ids'"):
        folds[1].load_state_dict(folds[0].state_dict())
    assert pickle.loads(pickle.dumps(folds[0])).state_dict() == folds[0].state_dict()


def test_a_state_without_ids_is_loaded():
    loader = hr.Loader(labels("abc"), 3)
    state = loader.state_dict()
    del state["ids"]  # as 0.1.0 has saved it
    loader.load_state_dict(state)


def test_subsets_of_pytorch_tell_folds_apart():
    torch_data = pytest.importorskip("torch", reason="needs torch").utils.data
    numbers = list(range(9))
    folds = [torch_data.Subset(numbers, range(begin, begin + 3)) for begin in (0, 3)]
    folds.append(torch_data.Subset(folds[1], [0, 1, 2]))
    loaders = [hr.Loader(hr.GetItem(fold), 3) for fold in folds]
    assert len({loader.state_dict()["ids"] for loader in loaders}) == 3
    with pytest.raises(hr.StateError, match="'ids'"):
        loaders[1].load_state_dict(loaders[0].state_dict())
