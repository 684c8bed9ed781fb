"""Files: any function from bytes to arrays, and what is said where it fails."""

import errno
import json
import pickle
import re

import numpy as np
import pytest
from far_folder import FarFolder
from one_file_each import OneFileEach
from picklable import load_npy
from reading import read

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


class TestContract(OneFileEach):
    def save(self, path, sample, index):
        np.save(path, sample)

    def open(self, root, samples):
        return hr.Files(root, load_npy, suffixes=".npy")


class TestContractFarAway(TestContract):
    root = FarFolder


class TestContractOfAnyLength(RaggedReaderContract):
    knows_lengths = False  # which only decoding tells

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        return hr.Files(folder, load_npy, ragged=True)

    def sample_file(self, folder, index):
        return folder / f"sample-{index:05}.npy"


def write(folder, **contents):
    """Files of JSON."""
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def error_of(error=hr.SampleFormatError, **options):
    """What reading all samples raises."""
    with pytest.raises(error) as caught:
        read(hr.Files(**options))
    return caught.value


def test_a_function_may_return_a_structure_of_arrays(tmp_path):
    write(tmp_path, a=[[1, 2], {"x": 0.5, "y": [3]}], b=[[4, 5], {"x": 1, "y": [6]}])
    reader = hr.Files(tmp_path, json.loads)
    numbers, named = read(reader, [1, 0])
    assert numbers.tolist() == [[4, 5], [1, 2]]
    assert named["x"].tolist() == [1.0, 0.5]
    assert named["y"].tolist() == [[6], [3]]


def test_it_gets_bytes(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\1\2")
    got = []

    def decode(data):
        got.append(data)
        return np.frombuffer(data, np.uint8)

    assert read(hr.Files(tmp_path, decode)).tolist() == [[1, 2]]
    assert got == [b"\1\2"] * 2
    assert {type(data) for data in got} == {bytes}


def test_a_spec_converts_and_chooses(tmp_path):
    write(tmp_path, a={"x": 1, "name": "no number"}, b={"x": 2, "more": 0})
    spec = {"x": hr.Spec((), "float32")}
    reader = hr.Files(tmp_path, json.loads, spec=spec)
    assert reader.spec == {"x": hr.Spec((), np.dtype("float32"))}
    assert read(reader)["x"].tolist() == [1.0, 2.0]
    said = str(error_of(root=tmp_path, decode=json.loads, spec={"more": hr.Spec((), "int8")}))
    assert re.search(r"sample 0 can't be read: '.*a\.json': it has no 'more'", said)


def test_bytes_may_stay_as_they_are(tmp_path):
    write(tmp_path, a=1, b=[2, 3])
    far = FarFolder(tmp_path)
    reader = hr.Files(far, decode=False)
    assert reader.sample_lengths().tolist() == [1, 6]
    assert far.asked == []
    assert reader.spec == hr.Spec((None,), np.dtype("uint8"))
    assert [one.tobytes() for one in read_batch(reader, np.arange(2))] == [b"1", b"[2, 3]"]


def test_with_a_spec_no_file_is_read_before_it_is_asked_for(tmp_path):
    write(tmp_path, a=1)
    far = FarFolder(tmp_path)
    hr.Files(far, json.loads, spec=hr.Spec((), np.dtype("int64")))
    assert far.asked == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([1, 2, 3], r"it has the shape \(3,\); expected is \(2,\)"),
        ([1.5, 2], r"it has the dtype float64; expected is int64.*pass spec="),
        ({"x": 1}, "it is a dict"),
        ("text", "it is a str. Return numbers in its place"),
        ([[1, 2], [3]], "it can't become an array"),
        (None, "it is a NoneType"),
    ],
)
def test_a_file_that_differs_from_the_first_is_named(tmp_path, other, said):
    write(tmp_path, a=[1, 2], b=other)
    error = error_of(root=tmp_path, decode=json.loads)
    assert re.search(rf"^sample 1 can't be read: '.*b\.json': {said}", str(error))
    assert error.index == 1


def test_a_first_file_that_can_not_become_arrays_is_named(tmp_path):
    write(tmp_path, a={"name": "x"})
    said = str(error_of(root=tmp_path, decode=json.loads))
    assert re.search(r"^sample 0 can't be read: '.*a\.json': it\['name'\] is a str", said)


def test_values_that_are_masked_are_not_taken_for_good_ones(tmp_path):
    write(tmp_path, a=[1, 2])
    said = str(error_of(root=tmp_path, decode=lambda data: np.ma.masked_equal(json.loads(data), 2)))
    assert said.endswith("it has masked values. Return its filled(...) with some in their place")


def test_what_the_function_raises_names_the_file_and_is_the_cause(tmp_path):
    write(tmp_path, a=1, b=2)
    (tmp_path / "b.json").write_text("{")
    error = error_of(root=tmp_path, decode=json.loads)
    assert re.search(r"^sample 1 can't be read: '.*b\.json': JSONDecodeError: ", str(error))
    assert isinstance(error.__cause__, json.JSONDecodeError)


@pytest.mark.parametrize(
    "raised",
    [ModuleNotFoundError("No module named 'x'"), MemoryError(), OSError(errno.EMFILE, "too many")],
    ids=lambda error: type(error).__name__,
)
def test_what_says_nothing_of_the_sample_comes_as_it_is(tmp_path, raised):
    write(tmp_path, a=1, b=2)

    def decode(data):
        if data == b"2":
            raise raised
        return 1

    error = error_of(type(raised), root=tmp_path, decode=decode)
    assert error is raised
    assert "while reading sample 1" in error.__notes__[0]
    assert "b.json" in error.__notes__[0]


def test_which_files_are_samples(tmp_path):
    write(tmp_path, b=1, a=2)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", c=3)
    write(tmp_path, **{".hidden": 9})
    assert hr.Files(tmp_path, json.loads).ids == ["a.json", "b.json", "sub/c.json"]
    assert hr.Files(tmp_path, json.loads, suffixes=".json").ids == ["a", "b", "sub/c"]
    (tmp_path / "d.txt").write_text("4")
    both = hr.Files(tmp_path, json.loads, suffixes=[".json", ".txt"])
    assert both.ids == ["a.json", "b.json", "d.txt", "sub/c.json"]
    assert read(both).tolist() == [2, 1, 4, 3]
    chosen = hr.Files(tmp_path, json.loads, ids=["d.txt", "b.json"])
    assert read(chosen).tolist() == [4, 1]
    assert chosen.path(0) == str(tmp_path / "d.txt")
    assert read(hr.Files(tmp_path, json.loads, ids=["b"], suffixes=".json")).tolist() == [1]
    with pytest.raises(hr.ArgumentError, match=r"suffixes must be given.* 3 \.json and 1 \.txt"):
        hr.Files(tmp_path, json.loads)


def test_a_folder_without_files(tmp_path):
    with pytest.raises(hr.ArgumentError, match=r"root must contain files, but .* no files at all"):
        hr.Files(tmp_path, json.loads)
    with pytest.raises(hr.ArgumentError, match=r"root must contain \.wav files"):
        hr.Files(tmp_path, json.loads, suffixes=".wav")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"decode": 3}, TypeError, "decode must be a function"),
        ({"suffixes": []}, ValueError, "suffixes must be one or more"),
        ({"suffixes": [3]}, ValueError, "suffixes must be one or more"),
        ({"spec": (3,)}, TypeError, "spec must be a headrace.Spec"),
        ({"ragged": 1}, TypeError, "ragged must be a bool"),
        ({"ragged": {"x": True}}, ValueError, "ragged must be in the structure of a sample"),
        ({"ragged": True, "spec": hr.Spec((), "i4")}, ValueError, "ragged must be left out"),
        ({"decode": False, "ragged": True}, ValueError, "must be left out with decode=False"),
        ({"version": 2}, TypeError, "version must be a str"),
    ],
    ids=str,
)
def test_arguments_are_checked(tmp_path, options, error, said):
    write(tmp_path, a=1)
    with pytest.raises(error, match=said):
        hr.Files(**{"root": tmp_path, "decode": json.loads} | options)


def test_a_state_knows_the_files_and_the_version_but_not_the_function(tmp_path):
    write(tmp_path, a=1, b=2)

    def state(decode, **options):
        return hr.Loader(hr.Files(tmp_path, decode, **options), 1).state_dict()

    assert state(json.loads) == state(lambda data: int(data))
    assert state(json.loads) != state(json.loads, version="2")
    assert state(json.loads) != state(json.loads, ids=["b.json", "a.json"])
    reader = pickle.loads(pickle.dumps(hr.Files(tmp_path, json.loads, version="2")))
    assert hr.Loader(reader, 1).state_dict() == state(json.loads, version="2")


def test_its_repr_names_the_function(tmp_path):
    write(tmp_path, a=1)
    assert "Files(" in repr(hr.Files(tmp_path, json.loads))
    assert ", loads, n=1, Spec(" in repr(hr.Files(tmp_path, json.loads))


def test_a_suffix_may_have_characters_of_several_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.größe").write_bytes(name.encode())
    files = hr.Files(tmp_path, decode=len, suffixes=".größe")
    assert files.ids == ["a", "b"]
    assert hr.Loader(files, 2, shuffle=False).ids(0, 0) == ["a", "b"]
