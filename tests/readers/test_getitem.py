"""GetItem: what datasets and their samples may look like, and what is said of those that can't."""

import threading

import numpy as np
import pytest
import reading
from datasets_by_number import Columns, Files, FilesTogether, Of

import headrace as hr
from headrace.testing import ReaderContract


class TestOneByOne(ReaderContract):
    dataset, options = Files, {}

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        return hr.GetItem(self.dataset(folder), **self.options)

    def sample_file(self, folder, index):
        return folder / f"sample-{index:05}.npy"


class TestTogether(TestOneByOne):
    dataset, options = FilesTogether, {"thread_safe": False}


class TestOfAnArray(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return hr.GetItem(samples)


def read(reader, *indices):
    return reading.read(reader, indices)


@pytest.mark.parametrize(
    ("sample", "shape", "dtype"),
    [
        (3, (), "int64"),
        (3.5, (), "float64"),
        (True, (), "bool"),
        (np.float32(3), (), "float32"),
        (np.ones((2, 3), ">i2"), (2, 3), "int16"),
        ([[1, 2], [3, 4]], (2, 2), "int64"),
        ([1, 2.5], (2,), "float64"),
        ([np.float32(1), np.float32(2)], (2,), "float32"),
        (np.datetime64(5, "s"), (), "M8[s]"),
        pytest.param(memoryview(b"abc"), None, None, id="a memoryview"),
    ],
    ids=repr,
)
def test_numbers_arrays_and_lists_of_numbers_are_arrays(sample, shape, dtype):
    if shape is None:
        with pytest.raises(hr.ArgumentTypeError, match="sample 0 is a memoryview"):
            hr.GetItem([sample])
        return
    reader = hr.GetItem([sample, sample])
    assert reader.spec == hr.Spec(shape, np.dtype(dtype))
    assert (read(reader, 1, 0) == np.asarray(sample)).all()


def test_tuples_lists_and_dicts_keep_their_structure():
    samples = [({"x": np.full(3, i), "y": i}, [np.full((1, 2), i), 2.5 * i]) for i in range(4)]
    reader = hr.GetItem(samples)
    assert reader.spec[0]["x"] == hr.Spec((3,), np.dtype(np.int64))
    first, (array, number) = read(reader, 2, 0)
    assert first["x"].tolist() == [[2] * 3, [0] * 3]
    assert first["y"].tolist() == [2, 0]
    assert array.tolist() == [[[2, 2]], [[0, 0]]]
    assert number.tolist() == [5, 0]


def test_a_dataset_itself_is_refused_by_a_loader_with_the_remedy():
    with pytest.raises(hr.ArgumentTypeError, match=r"GetItem\(dataset\)"):
        hr.Loader(Of(1, 2), 1)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.ones(3), r"sample 2\['x'\] has the shape \(3,\); expected is \(2,\)"),
        (np.ones(2, complex), r"sample 2\['x'\] has the dtype complex128; expected is float64"),
        ("text", r"sample 2\['x'\] is a str"),
        (None, r"sample 2\['x'\] is a NoneType"),
        ([1.0, [2.0]], r"sample 2\['x'\] can't become an array"),
        (np.array([{}, {}]), r"sample 2\['x'\] can't become an array of numbers"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["one by one", "columns"])
def test_a_sample_unlike_the_first_is_named(bad, said, kind):
    x = [np.zeros(2), np.ones(2), bad, np.ones(2)]
    dataset = Of(*({"x": part} for part in x)) if kind == "one by one" else Columns(x=x)
    reader = hr.GetItem(dataset)
    assert read(reader, 3, 0)["x"].tolist() == [[1, 1], [0, 0]]
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        read(reader, 3, 2)
    assert caught.value.index == 2


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([{"x": 1}, {"y": 1}], "sample 1 has no 'x'"),
        ([{"x": 1}, {"x": 1, "y": 2}], r"sample 1 has \['y'\], which sample 0 has not"),
        ([{"x": 1}, 1], "sample 1 is a int; expected is a dict"),
        ([(1, 2.0), (1,)], "sample 1 is 1 parts; expected is a tuple of 2"),
        ([(1, 2.0), 5], "sample 1 is 'int' parts; expected is a tuple of 2"),
        ([1, 2.5], "sample 1 has the dtype float64; expected is int64.*pass spec="),
    ],
    ids=str,
)
def test_another_structure_is_named(samples, said):
    with pytest.raises(hr.SampleFormatError, match=said):
        read(hr.GetItem(samples), 0, 1)


def test_whole_numbers_fit_among_floats():
    assert read(hr.GetItem([0.5, 2]), 1).tolist() == [2.0]


@pytest.mark.parametrize("sample", ["text", None, {"x": "text"}, (1, b"text"), {}, object()])
def test_samples_that_are_no_numbers_are_refused_at_once(sample):
    with pytest.raises(hr.ArgumentTypeError, match="dataset must be one of arrays and numbers; "):
        hr.GetItem([sample])


@pytest.mark.parametrize(
    "dataset",
    [
        pytest.param(iter([1]), id="an iterator"),
        Of,
        {"a": 1},
        "text",
        3,
        pytest.param({1, 2}, id="a set"),
    ],
    ids=repr,
)
def test_other_things_are_refused(dataset):
    with pytest.raises(hr.ArgumentTypeError, match="dataset must be"):
        hr.GetItem(dataset)


def test_empty_datasets_need_a_spec():
    with pytest.raises(hr.ArgumentError, match="pass spec="):
        hr.GetItem([])
    assert len(hr.GetItem([], spec=hr.Spec((), np.dtype(int)))) == 0


def test_spec_chooses_keys_and_dtypes_and_spares_reading_a_sample():
    dataset = Of(ValueError("not to be read"), {"x": 1, "name": "b"}, {"x": 2, "name": "c"})
    reader = hr.GetItem(dataset, spec={"x": hr.Spec((), np.dtype(np.float32))})
    assert read(reader, 2, 1)["x"].tolist() == [2, 1]
    columns = hr.GetItem(Columns(x=[1, 2], name=["b", "c"]), spec=reader.spec)
    assert read(columns, 1)["x"].dtype == np.float32


@pytest.mark.parametrize("error", [IndexError("no more"), KeyError("k"), OSError(5, "disk")])
def test_errors_of_the_dataset_come_as_they_are_with_the_index(error):
    reader = hr.GetItem(Of(1, 2, error))
    with pytest.raises(type(error)) as caught:
        read(reader, 1, 2)
    assert caught.value is error
    assert error.__notes__ == ["headrace: while reading sample 2 of 3 of the dataset"]
    with pytest.raises(type(error)):  # and end no loop as if all had been read
        list(hr.Loader(reader, 1, shuffle=False, executor=hr.Inline()))


def test_errors_of_a_call_for_several_samples_name_them_all(tmp_path):
    for index in range(3):
        np.save(tmp_path / f"sample-{index:05}.npy", index)
    reader = hr.GetItem(FilesTogether(tmp_path))
    (tmp_path / "sample-00001.npy").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read(reader, 2, 1)
    said = "headrace: while reading the samples [2, 1] of the dataset"
    assert caught.value.__notes__[-1] == said


class Returning:
    """Returns something else than the samples that it is asked for."""

    def __init__(self, returned):
        self.returned = returned

    def __len__(self):
        return 5

    def __getitems__(self, indices):
        return self.returned


@pytest.mark.parametrize(
    ("returned", "said"),
    [([1], "returned 1 samples, from sample 1 on"), (3, "returned int, from sample 1 on")],
)
def test_too_few_samples_are_an_error(returned, said):
    reader = hr.GetItem(Returning(returned), spec=hr.Spec((), np.dtype(int)))
    with pytest.raises(hr.SampleFormatError, match=said):
        read(reader, 1, 2)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([], "must return a list of the 1 samples .* but returned 0 samples"),
        (None, "returned NoneType"),
        (np.zeros(1), "returned ndarray"),
        pytest.param(iter([1]), "returned list_iterator", id="an iterator"),
        ({"x": 3}, "column 'x' is a int, not a list"),
        ({"x": np.array(3)}, "column 'x' is a ndarray, not a list"),
        ({"x": [1, 2]}, "column 'x' has 2 values for 1 samples"),
    ],
    ids=repr,
)
def test_samples_that_come_in_another_form_are_refused_at_once(returned, said):
    with pytest.raises(hr.ArgumentTypeError, match=said):
        hr.GetItem(Returning(returned))


@pytest.mark.parametrize("as_column", [list, np.ma.stack], ids=["list", "array"])
def test_masked_values_of_a_column_are_named(as_column):
    class Masked(list):
        def __getitems__(self, indices):
            return {"x": as_column([np.ma.masked_equal([1, 2], self[index]) for index in indices])}

    reader = hr.GetItem(Masked([0, 0, 2]))
    with pytest.raises(hr.SampleFormatError, match=r"sample 2\['x'\] has masked values"):
        read(reader, 1, 2)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype(">f4")], ids=repr)
def test_spec_has_any_name_of_a_dtype(dtype):
    reader = hr.GetItem([1, 2], spec=hr.Spec((), dtype))
    assert reader.spec == hr.Spec((), np.dtype(np.float32))
    assert hr.Loader(reader, 2, shuffle=False).batch(0, 0).tolist() == [1, 2]


def test_a_spec_that_is_none_is_refused():
    with pytest.raises(hr.ArgumentTypeError, match=r"spec must be a headrace\.Spec"):
        hr.GetItem([1], spec=(3,))


def test_what_a_spec_can_not_convert_is_named():
    reader = hr.GetItem([1, 2.5], spec=hr.Spec((), np.dtype(int)))
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*float64, which can.t become"):
        read(reader, 0, 1)


def test_columns_of_another_length_are_an_error():
    for count in (1, 3):
        dataset = Returning({"x": [2] * count})
        reader = hr.GetItem(dataset, spec={"x": hr.Spec((), np.dtype(int))})
        said = f"column 'x' has {count} values for [12] samples"
        with pytest.raises(hr.SampleFormatError, match=said):
            read(reader, 2, 1)


def test_columns_may_be_nested():
    dataset = Returning({"a": {"x": [3]}})
    assert read(hr.GetItem(dataset), 2) == {"a": {"x": pytest.approx([3])}}


def test_one_thread_at_a_time_where_the_dataset_asks_for_it():
    class Alone(Of):
        inside = 0
        most = 0

        def __getitem__(self, index):
            self.inside += 1
            self.most = max(self.most, self.inside)
            threading.Event().wait(0.001)
            self.inside -= 1
            return self.samples[index]

    dataset = Alone(*range(40))
    reader = hr.GetItem(dataset, thread_safe=False)
    threads = [threading.Thread(target=read, args=(reader, *range(40))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert dataset.most == 1
    with pytest.raises(hr.ArgumentTypeError, match="thread_safe"):
        hr.GetItem(dataset, thread_safe=1)


def test_fingerprint_is_the_datasets_own():
    class Named(Of):
        def fingerprint(self):
            return "of mine"

    assert hr.GetItem(Named(1)).fingerprint() == "of mine"
    assert hr.GetItem(Of(1)).fingerprint() == ""


def test_repr_names_the_dataset():
    said = "GetItem(Of, n=2, Spec(shape=(), dtype=dtype('int64')))"
    assert repr(hr.GetItem(Of(1, 2))) == said
