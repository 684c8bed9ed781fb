"""NpyFile: what one big file may look like, and what is said of one that can't be read."""

import os
import pickle

import numpy as np
import pytest
from reading import read

import headrace as hr
from headrace.testing import ReaderContract


class TestNpyFile(ReaderContract):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", samples)
        return hr.NpyFile(folder / "all.npy")


class TestNpyFileInFortranOrder(ReaderContract):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", np.asfortranarray(samples))
        return hr.NpyFile(folder / "all.npy")


class TestNpyFileInTheOtherByteOrder(ReaderContract):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", samples.astype(samples.dtype.newbyteorder("S")))
        return hr.NpyFile(folder / "all.npy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "big.npy"


def save(path, array, version=None):
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=version)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">i2", "<M8[s]", "S3", ">U2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_order_memory_order_and_version_do_not_matter(path, version, dtype, order):
    array = np.arange(24).reshape(4, 3, 2).astype(dtype, order=order)
    save(path, array, version)
    reader = hr.NpyFile(path)
    assert len(reader) == 4
    assert reader.spec == hr.Spec((3, 2), np.dtype(dtype).newbyteorder("="))
    assert np.array_equal(read(reader, [3, 0, 3]), array[[3, 0, 3]])


def test_path_may_be_a_string_or_relative(path, monkeypatch):
    save(path, np.arange(3))
    monkeypatch.chdir(path.parent)
    reader = hr.NpyFile("big.npy")
    monkeypatch.chdir("/")
    assert read(reader).tolist() == [0, 1, 2]
    assert read(pickle.loads(pickle.dumps(reader))).tolist() == [0, 1, 2]


def test_structured_rows_keep_their_fields(path):
    array = np.array([(1, 2.5), (3, 4.5)], [("a", ">i2"), ("b", "<f8")])
    save(path, array)
    assert np.array_equal(read(hr.NpyFile(path)), array)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0,)])
def test_empty_arrays_are_read(path, shape):
    save(path, np.zeros(shape))
    assert read(hr.NpyFile(path)).shape == shape


def test_data_may_end_before_the_file_does(path):
    save(path, np.arange(3))
    with path.open("ab") as file:
        file.write(b"left over")
    assert read(hr.NpyFile(path)).tolist() == [0, 1, 2]


def test_file_is_mapped_on_first_use_and_not_before(path):
    save(path, np.arange(3))
    reader = hr.NpyFile(path)
    path.unlink()
    save(path, np.arange(3) + 5)
    assert read(reader).tolist() == [5, 6, 7]
    path.unlink()
    assert read(reader).tolist() == [5, 6, 7]


def test_what_is_read_can_be_changed_without_changing_the_file(path):
    save(path, np.arange(3))
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
    save(path, np.arange(3, dtype="<i8"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        hr.NpyFile(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_repr_names_the_file_and_its_spec(path):
    save(path, np.zeros((3, 2), np.float32))
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
