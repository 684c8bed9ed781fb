"""Labels: from mappings and arrays, as they are, converted, or one-hot."""

import numpy as np
import pytest
from reading import read

import headrace as hr
from headrace.testing import ReaderContract

IDS = ["a", "b", "c"]
BY_ID = {"c": 0, "a": 2, "unused": 9, "b": 1}


class TestLabelsOfAnArray(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return hr.Labels(samples)


class TestLabelsOfAMapping(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        ids = [f"id-{index}" for index in range(len(samples))]
        return hr.Labels(dict(zip(reversed(ids), reversed(samples), strict=True)), ids)


class TestOneHotLabels(ReaderContract):
    pickles_data = True
    dtypes = ("float32", "float16", "int64", "uint8", "bool", "complex64")
    shapes = ((7,), (1,))

    def make_samples(self, n, shape, dtype):
        classes = np.random.default_rng(n).integers(shape[0], size=n)
        return np.eye(shape[0], dtype=dtype)[classes]

    def make_reader(self, folder, samples):
        classes = samples.argmax(axis=1)
        return hr.Labels(classes, n_classes=samples.shape[1], dtype=samples.dtype)


@pytest.mark.parametrize(
    "labels",
    [
        BY_ID,
        [2, 1, 0],
        (2, 1, 0),
        np.array([2, 1, 0]),
        np.array([2, 1, 0], ">i4"),
        range(2, -1, -1),
    ],
    ids=str,
)
@pytest.mark.parametrize("ids", [IDS, tuple(IDS), np.array(IDS), dict.fromkeys(IDS)], ids=repr)
def test_labels_come_in_the_order_of_the_ids(labels, ids):
    reader = hr.Labels(labels, ids)
    assert len(reader) == 3
    assert read(reader).tolist() == [2, 1, 0]
    assert read(reader, [2, 0, 2]).tolist() == [0, 2, 0]


def test_ids_may_be_of_a_generator_ints_or_twice_the_same():
    assert read(hr.Labels(BY_ID, (name for name in IDS))).tolist() == [2, 1, 0]
    assert read(hr.Labels([2, 1, 0], (name for name in IDS))).tolist() == [2, 1, 0]
    assert read(hr.Labels({7: 1, 5: 2}, np.array([5, 7]))).tolist() == [2, 1]
    assert read(hr.Labels(BY_ID, ["a", "a"])).tolist() == [2, 2]


def test_labels_may_be_vectors():
    reader = hr.Labels({"a": [1.5, 2], "b": [3, 4]}, ["b", "a"])
    assert reader.spec == hr.Spec((2,), np.dtype(np.float64))
    assert read(reader).tolist() == [[3, 4], [1.5, 2]]


def test_labels_may_be_words():
    reader = hr.Labels(["cat", "horse"])
    assert reader.spec == hr.Spec((), np.dtype("<U5").newbyteorder("="))
    assert read(reader, [1, 0]).tolist() == ["horse", "cat"]


@pytest.mark.parametrize("kind", ["i1", "u1", ">i4", "i8", "u8", "?"])
def test_one_hot_is_made_of_ints_of_any_kind(kind):
    labels = np.array([1, 0, 1, 1, 0]).astype(kind)
    reader = hr.Labels(labels, n_classes=2)
    assert reader.spec == hr.Spec((2,), np.dtype(np.float32))
    assert np.array_equal(read(reader, [4, 0, 0, 3]), np.eye(2)[[0, 1, 1, 1]])
    # As many bools as classes: as an index of numpy's, these would be a mask.
    assert read(hr.Labels(labels[:2], n_classes=2)).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("dtype", ["float16", "int8", "bool", "complex64", ">f8", np.int64])
def test_one_hot_has_the_dtype_that_is_asked_for(dtype):
    reader = hr.Labels(BY_ID, IDS, 3, dtype)
    assert reader.spec.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(read(reader), np.eye(3)[[2, 1, 0]])


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        *[([1, 0], "float32"), ([1, 0], "uint8"), ([1, 0], "bool"), ([1.0, 2.0], "int16")],
        *[([True, False], "int8"), ([0.1, 0.2], "float32"), ([1, 2], "complex64")],
        (np.array(["2020-01-01"], "M8[D]"), "M8[s]"),
    ],
)
def test_labels_are_converted_to_the_dtype(labels, dtype):
    reader = hr.Labels(labels, dtype=dtype)
    assert reader.spec.dtype == dtype
    assert np.array_equal(read(reader), np.asarray(labels).astype(dtype))


@pytest.mark.fault("a number that the dtype asked for can't hold", "error", "labels")
@pytest.mark.parametrize(
    ("labels", "dtype", "said"),
    [
        ([3, 300], "uint8", "sample 1 has the label 300"),
        ([3, -1], "uint8", "sample 1 has the label -1"),
        ([0.0, 0.7], "int64", "sample 1 has the label 0.7"),
        ([[0, 2]], "bool", "sample 0 has the label 2"),
        ([1j], "float32", "complex128"),
        (["1", "2"], "int64", "<U1"),
        ([1, 2], "U5", "int64"),
        ([1, 70000], "float16", "sample 1 has the label 70000"),
        ([1.0, 1e39], "float32", "sample 1 has the label 1e+39"),
        (["cat", "horse"], "U3", "sample 1 has the label horse"),
    ],
)
def test_dtype_that_would_change_a_label_is_refused(labels, dtype, said):
    with pytest.raises(hr.ArgumentError, match=r"^labels .*dtype=") as caught:
        hr.Labels(labels, dtype=dtype)
    assert said in str(caught.value)


@pytest.mark.parametrize("dtype", ["nonsense", object, ("f4", (2,))])
def test_dtype_that_no_label_can_have_is_refused_by_name(dtype):
    for n_classes in (None, 3):
        with pytest.raises(hr.HeadraceError, match=r"^dtype must be "):
            hr.Labels([1, 2], n_classes=n_classes, dtype=dtype)


@pytest.mark.parametrize("dtype", ["U3", "M8[s]", "V4"])
def test_one_hot_is_of_numbers(dtype):
    with pytest.raises(hr.ArgumentError, match=r"^dtype must be a numeric dtype"):
        hr.Labels([1, 2], n_classes=3, dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"a": 1}, ["a", "z", "y"]), "labels must have a label for each of ids, but has none for "
                                      "'z', which is ids[1]."),
        (({"a": 1}, [1]), "none for 1, which is ids[0]"),
        (({"a": 1},), "ids must be given when labels is a mapping"),
        (([1, 2], ["a"]), "labels must be as many as ids when they are not a mapping, but 2 labels "
                          "and 1 ids were given"),
        (([1, [2, 3]],), "labels must all have the same shape"),
        (({"a": 1, "b": [1, 2]}, ["a", "b"]), "labels must all have the same shape"),
        (([1, None],), "labels must have a label for each sample, but sample 1 has none: None was"),
        (([1, print],), "labels must be numbers"),
        (({1, 2},), "labels must be numbers"),
        ((5,), "labels must be a mapping, or one label for each sample"),
        (("abc",), "labels must be a mapping, or one label for each sample"),
        (({"a": 1}, "a"), "ids must be an iterable of ids"),
        (([1], "a"), "ids must be an iterable of ids"),
        (([1], 5), "ids must be an iterable of ids"),
        (({"a": 1}, {"a"}), "ids must be in an order that is the same in every run, but a set was "
                            "given. Pass sorted(ids)."),
        (([0, 3], None, 3), "labels must lie in range(3), as n_classes=3, but sample 1 has the "
                            "label 3"),
        (([0, -1], None, 3), "but sample 1 has the label -1"),
        (([0.0, 1.0], None, 3), "one int for each sample when n_classes is given"),
        (([[0], [1]], None, 3), "one int for each sample when n_classes is given, but have shape "
                                "(2, 1)"),
        (([0, 1], None, 0), "n_classes must be an int from 1"),
        (([0, 1], None, 2.0), "n_classes must be an int, but a float was given"),
        (([0, 1], None, True), "n_classes must be an int, but a bool was given"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_by_name(arguments, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)) as caught:
        hr.Labels(*arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "labels",
    [
        *[[1, 2], [1.5, 2.5], ["one", "two"], [True, False], np.zeros((2, 0))],
        *[np.array(["2020", "2021"], "M8[s]"), np.zeros(2, [("a", "f4"), ("b", "M8[s]")])],
    ],
    ids=repr,
)
def test_every_kind_of_label_has_a_fingerprint(labels):
    fingerprint = hr.Labels(labels).fingerprint()
    assert len(fingerprint) == 16
    assert fingerprint == hr.Labels(np.asarray(labels).copy()).fingerprint()


def test_fingerprint_tells_labels_and_their_order_apart_but_not_byte_orders():
    readers = [hr.Labels([1, 2]), hr.Labels([2, 1]), hr.Labels([1]), hr.Labels([1, 3])]
    assert len({reader.fingerprint() for reader in readers}) == len(readers)
    little, big = (hr.Labels(np.array([1, 2], dtype)).fingerprint() for dtype in ("<i4", ">i4"))
    assert little == big


def test_repr_names_number_and_spec():
    assert repr(hr.Labels(BY_ID, IDS, 3)) == "Labels(n=3, shape=(3,), dtype=float32)"


@pytest.fixture
def series():
    """A function that makes a series of these labels, with the default index without one."""
    pandas = pytest.importorskip("pandas")
    return lambda labels, index=None: pandas.Series(labels, index=index)


def test_labels_of_a_series_are_taken_by_its_index(series):
    labels = series([5, 6, 7], ["a", "b", "c"])
    assert read(hr.Labels(labels, ids=["c", "a"])).tolist() == [7, 5]
    assert read(hr.Labels(series([5, 6], [11, 12]), ids=[12, 11])).tolist() == [6, 5]
    assert read(hr.Labels(labels.to_frame("y"), ids=["c", "a"])).tolist() == [[7], [5]]
    assert read(hr.Labels(series(["x", "y"], ["a", "b"]), ids=["b"])).tolist() == ["y"]
    with pytest.raises(hr.ArgumentError, match="none for 'z', which is ids\\[0\\]"):
        hr.Labels(labels, ids=["z", "a", "b"])
    with pytest.raises(hr.ArgumentError, match="whose index has some twice"):
        hr.Labels(series([1, 2], ["a", "a"]), ids=["a"])


def test_a_series_without_ids_is_taken_in_its_order_and_its_index_has_them(series):
    labels = hr.Labels(series([5, 6], ["b", "a"]))
    assert (read(labels).tolist(), labels.ids) == ([5, 6], ["b", "a"])
    assert hr.Labels(series([5, 6])).ids is None


@pytest.mark.fault("a Series whose index and order differ", "error", "labels")
def test_a_series_with_the_default_index_is_taken_in_the_order_of_the_ids(series):
    assert read(hr.Labels(series([5, 6, 7]), ids=["x", "y", "z"])).tolist() == [5, 6, 7]
    assert read(hr.Labels(series([5, 6, 7]), ids=[0, 1, 2])).tolist() == [5, 6, 7]
    assert read(hr.Labels(series([5, 6, 7]), ids=[2, 0])).tolist() == [7, 5], "as by no order"
    with pytest.raises(hr.ArgumentError, match="labels must be in an order that is certain"):
        hr.Labels(series([5, 6, 7]), ids=[2, 0, 1])


def test_columns_of_one_frame_belong_together(series):
    labels, ids = series([5, 6, 7], [3, 9, 4]), series(["x", "y", "z"], [3, 9, 4])
    assert read(hr.Labels(labels, ids=ids)).tolist() == [5, 6, 7]
    assert hr.Labels(labels, ids=ids).ids == ["x", "y", "z"]
    with pytest.raises(hr.ArgumentError, match="whose index has none for 'x'"):
        hr.Labels(labels, ids=ids.tolist())
    # The numbers of one column may also be those of the other's rows.
    with pytest.raises(hr.ArgumentError, match="labels must be in an order that is certain"):
        hr.Labels(labels, ids=series([9, 4, 3], [3, 9, 4]))


def test_ids_are_given_back_as_text():
    assert hr.Labels(BY_ID, IDS).ids == list(map(str, IDS))
    assert hr.Labels([1, 2]).ids is None
    with pytest.raises(hr.ArgumentError, match="ids must be without NUL"):
        hr.Labels([1, 2], ids=["a", "b\0c"])


@pytest.mark.fault("a label that is missing", "error", "labels")
@pytest.mark.parametrize(
    ("labels", "arguments", "shown"),
    [
        ([2, 0, None, 1], {}, "None"),
        ([2, 0, None, None], {"n_classes": 3}, "None"),
        ([2, 0, float("nan"), 1], {"n_classes": 3}, "nan"),
        ([2, 0, float("nan"), 1], {"dtype": "int64"}, "nan"),
        ([[2, 1], [0, 1], None, [1, 1]], {}, "None"),
        ([[2, 1], [0, 1], [None, 1], [1, 1]], {}, "None"),
        (["a", "b", None, "c"], {}, "None"),
    ],
    ids=str,
)
def test_a_missing_label_is_named_by_its_row_and_id(labels, arguments, shown):
    with pytest.raises(hr.ArgumentError, match=f"sample 2 has none: .*{shown}"):
        hr.Labels(labels, **arguments)
    ids = ["w", "x", "y", "z"]
    for given in (labels, dict(zip(ids, labels, strict=True))):
        with pytest.raises(hr.ArgumentError, match=r"sample 2, ids\[2\] = 'y', has none"):
            hr.Labels(given, ids, **arguments)


def test_a_masked_label_is_missing():
    for labels in ([2, 0, 9, 1], [[2, 1], [0, 1], [1, 9], [1, 1]]):
        with pytest.raises(hr.ArgumentError, match=r"sample 2, ids\[2\] = 'y', has none"):
            hr.Labels(np.ma.masked_equal(labels, 9), ["w", "x", "y", "z"])


@pytest.mark.parametrize("masked", [np.ma.masked, np.ma.masked_equal([1, 9], 9)], ids=repr)
def test_a_masked_label_among_others_is_missing(masked):
    plain = masked.filled(0)
    for labels in ([plain, masked], {"a": plain, "b": masked}):
        with pytest.raises(hr.ArgumentError, match=r"sample 1, ids\[1\] = 'b', has none"):
            hr.Labels(labels, ["a", "b"])
        with pytest.raises(hr.ArgumentError, match="sample 1 has none"):
            hr.Labels([[plain, plain], [plain, masked]])
    assert len(hr.Labels([plain, np.ma.array(plain)])) == 2


@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_a_masked_number_among_numbers_is_missing():
    for labels in ([1, np.ma.masked], [[1, 2], [1.0, np.ma.masked]]):
        with pytest.raises(hr.ArgumentError, match="sample 1 has none"):
            hr.Labels(labels)
        with pytest.raises(hr.ArgumentTypeError, match=r"without masked .* Pass array\.filled"):
            hr.Loader(labels, 1)


def test_a_missing_label_of_pandas_is_named():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for dtype in ("float64", "Int64", "object"):
        labels = pandas.Series([2, 0, None], index=["x", "y", "z"], dtype=dtype)
        with pytest.raises(hr.ArgumentError, match=r"sample 1, ids\[1\] = 'z', has none"):
            hr.Labels(labels, ["y", "z"], n_classes=3)
        with pytest.raises(hr.ArgumentError, match="sample 2 has none"):
            hr.Labels(labels.to_numpy(), n_classes=3)


def test_labels_that_are_nan_may_be_floats():
    """As where a model is told by them what not to learn."""
    out = np.empty(2)
    hr.Labels([float("nan"), 1.0]).read(np.arange(2), out)
    assert np.isnan(out).tolist() == [True, False]


def test_numpy_takes_them_in_their_order():
    labels = hr.Labels(BY_ID, IDS)
    assert np.asarray(labels).tolist() == [2, 1, 0]
    assert np.asarray(labels, "float32").dtype == np.float32
    assert np.asarray(hr.Labels(BY_ID, IDS, n_classes=3)).argmax(axis=1).tolist() == [2, 1, 0]
    np.asarray(labels)[:] = 9
    assert np.asarray(labels).tolist() == [2, 1, 0]  # it was a copy


def test_orders_take_labels():
    labels = hr.Labels(np.repeat([0, 1], [90, 10]))
    balanced = hr.Loader(labels, 20, shuffle=hr.Balanced(labels))
    assert {int(batch.sum()) for batch in balanced} == {10}
    assert len(hr.Loader(labels, 20, shuffle=hr.Weighted(labels))) == 5
    with pytest.raises(hr.ArgumentError, match="Of one-hot labels, pass"):
        hr.Balanced(hr.Labels([0, 1], n_classes=2))
