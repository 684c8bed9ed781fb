"""NpyFile: what one big file may look like, and what is said of one that can't be read."""

import os
import pickle

import numpy as np
import pytest
from reading import read

import headrace as hr
from headrace.testing import ReaderContract


class TestNpyFile(ReaderContract):
    def stored(self, samples):
        return samples

    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", self.stored(samples))
        return hr.NpyFile(folder / "all.npy")


class TestNpyFileInFortranOrder(TestNpyFile):
    def stored(self, samples):
        return np.asfortranarray(samples)


class TestNpyFileInTheOtherByteOrder(TestNpyFile):
    def stored(self, samples):
        return samples.astype(samples.dtype.newbyteorder("S"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "big.npy"


def test_path_may_be_a_string_or_relative(path, monkeypatch):
    np.save(path, np.arange(3))
    monkeypatch.chdir(path.parent)
    reader = hr.NpyFile("big.npy")
    monkeypatch.chdir("/")
    assert read(reader).tolist() == [0, 1, 2]
    assert read(pickle.loads(pickle.dumps(reader))).tolist() == [0, 1, 2]


def test_file_is_mapped_on_first_use_and_not_before(path):
    np.save(path, np.arange(3))
    reader = hr.NpyFile(path)
    path.unlink()
    np.save(path, np.arange(3) + 5)
    assert read(reader).tolist() == [5, 6, 7]
    path.unlink()
    assert read(reader).tolist() == [5, 6, 7]


def test_what_is_read_can_be_changed_without_changing_the_file(path):
    np.save(path, np.arange(3))
    reader = hr.NpyFile(path)
    read(reader)[:] = 9
    assert read(reader).tolist() == [0, 1, 2]


def test_what_is_no_path_is_refused():
    with pytest.raises(TypeError, match=r"path must be the path of a file, but a NoneType"):
        hr.NpyFile(None)


def test_missing_file_is_named(path):
    with pytest.raises(hr.SampleNotFoundError, match="there is no file") as caught:
        hr.NpyFile(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "ends within its header"),
        (lambda data: data[:60], "ends within its header"),
        (lambda data: data[:-1], "ends after 151 bytes; its header promises 152"),
        (lambda data: b"PK\x03\x04" + data, "begins with"),
        (lambda data: data.replace(b"'<i8'", b"'<q9'"), "'<q9' is not known"),
        (lambda data: data.replace(b"'<i8'", b"'|O' "), "never unpickled"),
        (lambda data: data.replace(b"(3,)", b"()  "), "no axis to run over the samples"),
    ],
)
def test_damaged_file_is_refused_at_once_with_the_reason(path, damage, said):
    np.save(path, np.arange(3, dtype="<i8"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        hr.NpyFile(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_repr_names_the_file_and_its_spec(path):
    np.save(path, np.zeros((3, 2), np.float32))
    assert repr(hr.NpyFile(path)) == (
        f"NpyFile({os.fspath(path)!r}, n=3, Spec(shape=(2,), dtype=dtype('float32')))"
    )


@pytest.mark.parametrize("width", [1, 40])
def test_windows_of_its_rows_are_those_of_the_array(tmp_path, width):
    rows = np.arange(50 * width).reshape(50, width)
    np.save(tmp_path / "x.npy", rows)
    windows = hr.Windows(hr.NpyFile(tmp_path / "x.npy"), 4, rate=2, targets=1)
    x, y = hr.Loader(windows, 5, shuffle=False).batch(0, 3)
    at = np.arange(15, 20)[:, None]
    assert np.array_equal(x, rows[at + np.array([0, 2, 4, 6])])
    assert np.array_equal(y, rows[at + 8])
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(hr.SampleFormatError, match=r"sample 15 can't be read.*\(window 15\)"):
        hr.Loader(windows, 5, shuffle=False).batch(0, 3)
