"""Arrays of Python objects are refused by every reader of numpy's formats, and never unpickled."""

import os
import pickle

import numpy as np
import pytest
from reading import read

import headrace as hr


class Bomb:
    """An object whose unpickling makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (os.fspath(self.path),)


@pytest.fixture
def crater(tmp_path):
    return tmp_path / "crater"


def bombs(crater, dtype):
    array = np.empty(2, dtype)
    array[0] = Bomb(crater) if dtype is object else (0, Bomb(crater))
    return array


SAVES = {
    "npy": (hr.NpyFiles, ".npy", np.save),
    "npz": (hr.NpzFiles, ".npz", lambda path, x, **_: np.savez(path, x=x)),
    "compressed": (hr.NpzFiles, ".npz", lambda path, x, **_: np.savez_compressed(path, x=x)),
}


@pytest.mark.parametrize(("kind", "suffix", "save"), SAVES.values(), ids=SAVES)
@pytest.mark.parametrize("dtype", [object, [("x", "f4"), ("y", object)]], ids=str)
@pytest.mark.parametrize("at", [0, 1])
def test_in_a_file_of_a_sample(tmp_path, crater, kind, suffix, save, dtype, at):
    for index, name in enumerate("ab"):
        array = bombs(crater, dtype) if index == at else np.zeros(2, np.float32)
        save(tmp_path / f"{name}{suffix}", array, allow_pickle=True)
    for options in ({}, {"dtype": "f4"}):
        with pytest.raises(hr.SampleFormatError, match="never unpickled") as caught:
            read(kind(tmp_path, **options))
        assert caught.value.index == at
    assert not crater.exists()
    # The control: a reader that unpickles would have set it off.
    stored = np.load(tmp_path / f"{'ab'[at]}{suffix}", allow_pickle=True)
    if suffix == ".npz":
        _ = stored["x"]
        stored.close()
    assert crater.exists()


@pytest.mark.parametrize("kind", [hr.NpyFile, lambda path: hr.NpyShards(path.parent)])
def test_in_a_file_of_many(tmp_path, crater, kind):
    path = tmp_path / "a.npy"
    np.save(path, bombs(crater, object), allow_pickle=True)
    with pytest.raises(hr.SampleFormatError, match="never unpickled"):
        kind(path)
    assert not crater.exists()
    np.load(path, allow_pickle=True)
    assert crater.exists()


def test_a_bare_pickle(tmp_path, crater):
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Bomb(crater)))
    with pytest.raises(hr.SampleFormatError, match="begins with"):
        hr.NpyFiles(tmp_path)
    assert not crater.exists()


def test_objects_under_other_keys_do_not_matter(tmp_path):
    np.savez(tmp_path / "a.npz", x=[1, 2], notes=np.array([{"a": 1}], object))
    assert read(hr.NpzFiles(tmp_path, keys="x")).tolist() == [[1, 2]]
