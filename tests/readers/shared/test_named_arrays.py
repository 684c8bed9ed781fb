"""Files with several named arrays, HDF5's and Zarr's: which of them a sample has, and as what."""

import pickle

import numpy as np
import pytest
from reading import read

import headrace as hr

X = np.arange(10 * 6, dtype=np.float32).reshape(10, 2, 3)


class Hdf5:
    open = hr.Hdf5

    @classmethod
    def write(cls, folder, **arrays):
        h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
        with h5py.File(folder / "data", "w") as file:
            file.create_group("empty")
            for name, array in arrays.items():
                file[name] = array
        return folder / "data"


class Zarr:
    open = hr.Zarr
    zarr_format = 3

    @classmethod
    def write(cls, folder, **arrays):
        zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
        root = folder / "data"
        zarr.create_group(root, zarr_format=cls.zarr_format).create_group("empty")
        for name, array in arrays.items():
            options = {"chunks": (4, 2, 2)[: array.ndim], "zarr_format": cls.zarr_format}
            zarr.create_array(root, name=name, data=array, **options)
        return root


class ZarrOfFormat2(Zarr):
    zarr_format = 2


@pytest.fixture(params=[Hdf5, Zarr, ZarrOfFormat2], ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_all_arrays_are_a_dict_by_their_names(tmp_path, kind):
    arrays = {"images": X, "more/labels": np.arange(10), "more/deep/x": X[:, 0]}
    root = kind.write(tmp_path, **arrays)
    reader = kind.open(root)
    assert sorted(reader.spec) == sorted(arrays)
    batch = read(reader, [7, 2])
    assert all((batch[name] == array[[7, 2]]).all() for name, array in arrays.items())
    assert sorted(kind.open(root, "more").spec) == ["deep/x", "labels"]
    assert read(kind.open(root, "more/labels"), [7, 2]).tolist() == [7, 2]
    assert (read(kind.open(root, "more/deep"), [3]) == X[[3], 0]).all()


def test_arrays_are_chosen_renamed_and_converted(tmp_path, kind):
    root = kind.write(tmp_path, a=X, b=np.arange(10), c=np.arange(3))
    assert read(kind.open(root, "b"), [3, 1]).tolist() == [3, 1]
    assert list(kind.open(root, ["b", "a"]).spec) == ["b", "a"]
    assert list(kind.open(root, ["b"]).spec) == ["b"]
    reader = kind.open(root, {"x": "a", "y": "b"}, dtype={"y": "float32"})
    batch = read(reader, [4])
    assert (batch["x"] == X[4]).all()
    assert batch["y"].dtype == np.float32
    copy = pickle.loads(pickle.dumps(kind.open(root, {"": "b"})))  # even a key like this one
    assert read(copy, [4])[""].tolist() == [4]
    with hr.Loader(reader, batch_size=5, shuffle=False, executor=hr.Processes(1)) as loader:
        assert loader.batch(0, 1)["y"].tolist() == [5, 6, 7, 8, 9]
        assert [batch["y"].tolist() for batch in loader] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_dtypes_are_converted_but_keep_their_kind(tmp_path, kind):
    root = kind.write(tmp_path, a=X.astype(">f8"), b=np.arange(10, dtype="u1"))
    assert kind.open(root, "a").spec.dtype.isnative
    assert (read(kind.open(root, "a", dtype="float16")) == X.astype("float16")).all()
    assert read(kind.open(root, "b", dtype=np.float32), [9]).tolist() == [9.0]
    with pytest.raises(hr.ArgumentError, match="dtype must be one that 'a'"):
        kind.open(root, "a", dtype="int32")
    with pytest.raises(hr.ArgumentError, match="dtype must be a dtype by key for 'a', 'b'"):
        kind.open(root, dtype={"c": "float32"})


@pytest.mark.parametrize(
    ("chosen", "error", "said"),
    [
        ("d", ValueError, r"must be an? \w+ .*in .*: 'a', 'c', 'g/x', but 'd' was given"),
        (["a", "d"], ValueError, "'d' was given"),
        (["a", "g"], ValueError, "'g' was given|name of an array, not of a group"),
        (["a", "c"], ValueError, r"lengths are 'a': 10, 'c': 3.*=\[\.\.\.\]"),
        ("empty", ValueError, "'/empty' in .* has none"),
        ([], ValueError, "at least one name"),
        (3, TypeError, "must be an iterable"),
        ({"a": 3}, TypeError, "must be a str"),
        pytest.param({"b", "a"}, TypeError, "order", id="a set"),
    ],
    ids=str,
)
def test_a_choice_that_is_not_there_is_refused(tmp_path, kind, chosen, error, said):
    root = kind.write(tmp_path, a=X, c=np.arange(3), **{"g/x": X})
    with pytest.raises(error, match=said):
        kind.open(root, chosen)


def test_arrays_that_have_changed_are_an_error(tmp_path, kind):
    root = kind.write(tmp_path, a=X)
    pickled = pickle.dumps(kind.open(root, "a"))
    (tmp_path / "other").mkdir()
    other = kind.write(tmp_path / "other", a=X[:9])
    root.rename(tmp_path / "was")
    other.rename(root)
    with pytest.raises(hr.SampleFormatError, match="is not what it was when the reader was made"):
        read(pickle.loads(pickled), [0])
