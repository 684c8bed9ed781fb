"""NpzFiles: what a file may look like, and what is said of one that can't be read."""

import io
import re
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from far_folder import FarFolder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_file_each import OneFileEach
from reading import read
from written import npy

import headrace as hr
from headrace.storage import Folder

IMAGE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class TestContract(OneFileEach):
    suffix = ".npz"

    def save(self, path, sample, index):
        np.savez(path, x=sample)

    def open(self, root, samples):
        return hr.NpzFiles(root)


class TestContractCompressed(TestContract):
    def save(self, path, sample, index):
        np.savez_compressed(path, x=sample)


class TestContractInAnotherLayout(TestContract):
    def save(self, path, sample, index):
        swapped = sample.astype(sample.dtype.newbyteorder("S"), order="F")
        (np.savez, np.savez_compressed)[index % 2](path, other=0, x=swapped)

    def open(self, root, samples):
        return hr.NpzFiles(root, keys="x")


class TestContractFarAway(TestContract):
    root = FarFolder


def error_of(root, **options):
    with pytest.raises(hr.HeadraceError) as caught:
        read(hr.NpzFiles(root, **options))
    return caught.value


def outcome(function):
    """What it returns, and the error of headrace that it raises instead."""
    try:
        return function(), None
    except hr.HeadraceError as error:
        return None, error


def write_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_several_arrays_become_a_dict_in_the_files_order(tmp_path, save):
    for index in range(3):
        save(tmp_path / f"{index}.npz", image=IMAGE + index, label=np.int64(index), box=[index] * 4)
    reader = hr.NpzFiles(tmp_path)
    assert list(reader.spec) == ["image", "label", "box"]
    assert reader.spec["image"] == hr.Spec((2, 3, 4), np.dtype(np.float32))
    got = read(reader, [2, 0, 2])
    assert np.array_equal(got["image"], [IMAGE + 2, IMAGE, IMAGE + 2])
    assert got["label"].tolist() == [2, 0, 2]
    assert got["box"].tolist() == [[2] * 4, [0] * 4, [2] * 4]


def test_keys_select_and_order(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGE, y=5, z=[1, 2])
    reader = hr.NpzFiles(tmp_path, keys=["z", "x"])
    assert list(reader.spec) == ["z", "x"]
    assert read(reader)["z"].tolist() == [[1, 2]]
    assert list(hr.NpzFiles(tmp_path, keys=["y"]).spec) == ["y"]


def test_arrays_are_found_by_name_wherever_they_lie_in_a_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGE, y=5)
    np.savez_compressed(tmp_path / "b.npz", more="text", y=6, x=IMAGE + 1)
    got = read(hr.NpzFiles(tmp_path))
    assert list(got) == ["x", "y"]
    assert np.array_equal(got["x"], [IMAGE, IMAGE + 1])
    assert got["y"].tolist() == [5, 6]


def test_what_is_no_array_in_a_file_is_passed_over(tmp_path):
    write_zip(tmp_path / "a.npz", {"notes.txt": b"text", "x.npy": npy(IMAGE), "y.npy": npy(1)})
    assert list(hr.NpzFiles(tmp_path).spec) == ["x", "y"]


def test_sizes_in_64_bits_comments_and_bytes_before_the_archive_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.comment = b"a comment"
        for name in ("x.npy", "y.npy"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(npy(IMAGE))
    (tmp_path / "b.npz").write_bytes(b"#!/bin/sh\n" + (tmp_path / "a.npz").read_bytes())
    assert np.array_equal(read(hr.NpzFiles(tmp_path))["y"], [IMAGE, IMAGE])


def test_long_header_is_read(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }" + " " * 5000 + "\n"
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + IMAGE.tobytes()
    for name, compression in (("a", zipfile.ZIP_STORED), ("b", zipfile.ZIP_DEFLATED)):
        write_zip(tmp_path / f"{name}.npz", {"x.npy": data}, compression)
    np.savez(tmp_path / "0.npz", x=IMAGE)
    assert np.array_equal(read(hr.NpzFiles(tmp_path)), [IMAGE] * 3)
    assert np.array_equal(read(hr.NpzFiles(tmp_path, ["b", "0"])), [IMAGE] * 2)


def test_dtype_converts_all_arrays_or_some(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGE.astype("f8"), y=np.uint8(3))
    np.savez_compressed(tmp_path / "b.npz", x=IMAGE, y=np.float32(4))
    got = read(hr.NpzFiles(tmp_path, dtype="float32"))
    assert (got["x"].dtype, got["y"].dtype) == ("float32", "float32")
    assert np.array_equal(got["x"], [IMAGE, IMAGE])
    assert got["y"].tolist() == [3, 4]
    spec = hr.NpzFiles(tmp_path, dtype={"y": "float16"}).spec
    assert (spec["x"].dtype, spec["y"].dtype) == ("float64", "float16")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"x": IMAGE[:1], "y": 1}, r"array 'x': its shape is \(1, 3, 4\); expected is \(2, 3, 4\)"),
        ({"x": IMAGE, "y": 1.5}, "array 'y': its dtype is float64; expected is int64.*dtype="),
        ({"x": IMAGE, "z": 1}, "it has no array 'y', but 'x', 'z'"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_unlike_the_first_are_refused(tmp_path, save, other, said):
    np.savez(tmp_path / "a.npz", x=IMAGE, y=1)
    save(tmp_path / "b.npz", **other)
    error = error_of(tmp_path)
    assert type(error) is hr.SampleFormatError
    assert error.index == 1
    assert str(tmp_path / "b.npz") in str(error)
    assert re.search(said, str(error))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("z", "keys must be among those of the first file: 'x', 'y', but 'z' was given"),
        (["x", "z"], "keys must be among those of the first file"),
        ([], "at least one name, and none of them twice"),
        (["x", "x"], "at least one name, and none of them twice"),
        ([5], r"keys\[0\] must be a str"),
        ({"x", "y"}, r"Pass sorted\(keys\)"),
        (5, "keys must be an iterable of keys"),
    ],
)
def test_wrong_keys_are_refused_by_name(tmp_path, keys, said):
    np.savez(tmp_path / "a.npz", x=IMAGE, y=1)
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError), match=said):
        hr.NpzFiles(tmp_path, keys=keys)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [("nonsense", "dtype must be"), (object, "dtype must be"), ({"z": "f4"}, "among 'x', 'y'")],
)
def test_wrong_dtype_is_refused_by_name(tmp_path, dtype, said):
    np.savez(tmp_path / "a.npz", x=IMAGE, y=1)
    with pytest.raises(hr.ArgumentError, match=said):
        hr.NpzFiles(tmp_path, dtype=dtype)


def test_ids_path_and_repr(tmp_path):
    for name in ("b", "a"):
        np.savez(tmp_path / f"{name}.npz", x=IMAGE)
    reader = hr.NpzFiles(tmp_path)
    assert reader.ids == ["a", "b"]
    assert reader.path(1) == str(tmp_path / "b.npz")
    assert repr(reader) == (
        f"NpzFiles({str(tmp_path)!r}, n=2, Spec(shape=(2, 3, 4), dtype=dtype('float32')))"
    )
    assert reader.fingerprint() == hr.NpzFiles(tmp_path, ["a", "b"]).fingerprint()
    assert reader.fingerprint() == hr.NpzFiles(Folder(tmp_path)).fingerprint()
    assert reader.fingerprint() != hr.NpzFiles(tmp_path, ["b", "a"]).fingerprint()
    assert reader.fingerprint() == hr.NpzFiles(tmp_path, keys="x").fingerprint()
    assert hr.NpzFiles(FarFolder(tmp_path)).path(0) == f"far:{tmp_path}/a.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_flipped_byte_of_the_data_is_found(tmp_path, save):
    save(tmp_path / "a.npz", x=IMAGE)
    whole = (tmp_path / "a.npz").read_bytes()
    begin = whole.index(b"x.npy") + len("x.npy") + 20  # after the sizes in 64 bits
    end = whole.index(b"PK\1\2")
    np.savez(tmp_path / "0.npz", x=IMAGE)
    reader = hr.NpzFiles(tmp_path, ["0", "a"])
    found = 0
    for at in range(begin, end):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        (tmp_path / "a.npz").write_bytes(damaged)
        got, error = outcome(lambda: read(reader))
        if error is None:
            assert np.array_equal(got, [IMAGE, IMAGE])
        else:
            assert type(error) is hr.SampleFormatError
            assert error.index == 1
            assert re.search(r"sample 1 .*a\.npz'.*array 'x'", str(error))
            found += 1
    assert found >= end - begin - 1, "only the last byte of a deflated array has unused bits"
    (tmp_path / "a.npz").write_bytes(whole)
    assert np.array_equal(read(reader), [IMAGE, IMAGE])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_cut_is_found(tmp_path, save):
    for name in "ab":
        save(tmp_path / f"{name}.npz", x=IMAGE, y=1)
    reader = hr.NpzFiles(tmp_path)
    whole = (tmp_path / "b.npz").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "b.npz").write_bytes(whole[:size])
        with pytest.raises(hr.SampleFormatError):
            read(reader)


@given(st.data())
@settings(
    max_examples=4 * settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_file_is_refused_or_read_as_it_was(tmp_path, data):
    """Whatever byte of a file changes, also in the table of contents, never wrong data."""
    file = io.BytesIO()
    data.draw(st.sampled_from([np.savez, np.savez_compressed]))(file, x=IMAGE, y=[1.5, 2.5])
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    np.savez(tmp_path / "a.npz", x=IMAGE, y=[1.5, 2.5])
    (tmp_path / "b.npz").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for ids in (["a", "b"], ["b"]):
            got, error = outcome(lambda ids=ids: read(hr.NpzFiles(tmp_path, ids, keys=["x", "y"])))
            if error is None:
                assert np.array_equal(got["x"], [IMAGE] * len(ids))
                assert got["y"].tolist() == [[1.5, 2.5]] * len(ids)
            else:
                assert isinstance(error, hr.SampleFormatError | hr.ArgumentError)
                assert "b.npz" in str(error) or "keys" in str(error)


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    small = np.zeros(4, np.uint8)
    bomb = npy(np.zeros(2**26, np.uint8))
    np.savez(tmp_path / "a.npz", x=small)
    # One that says how large it is, and one whose header says so but whose entry does not.
    write_zip(tmp_path / "b.npz", {"x.npy": bomb}, zipfile.ZIP_DEFLATED)
    write_zip(tmp_path / "c.npz", {"x.npy": npy(small) + bomb}, zipfile.ZIP_DEFLATED)
    content = (tmp_path / "c.npz").read_bytes()
    claimed = struct.pack("<I", len(npy(small) + bomb))
    assert content.count(claimed) == 2
    (tmp_path / "c.npz").write_bytes(content.replace(claimed, struct.pack("<I", len(npy(small)))))
    write_zip(tmp_path / "d.npz", {"x.npy": npy(small) + bomb}, zipfile.ZIP_DEFLATED)
    reader = hr.NpzFiles(tmp_path)
    for index, said in ((1, "its shape is"), (2, "it has 133 bytes"), (3, "header promises 132")):
        tracemalloc.start()
        with pytest.raises(hr.SampleFormatError, match=said):
            read(reader, [index])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 2**22


def test_first_file_that_claims_more_than_it_can_hold_is_refused_at_once(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }"
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode()
    write_zip(tmp_path / "a.npz", {"x.npy": data + bytes(100)})
    assert "it has 176 bytes; its header promises 4000000076" in str(error_of(tmp_path))
    content = (tmp_path / "a.npz").read_bytes()
    size = struct.pack("<I", 176)
    at = content.index(b"PK\1\2") + 24
    assert content[at : at + 4] == size
    # An entry that lies as its header does.
    content = content[:at] + struct.pack("<I", 4000000076) + content[at + 4 :]
    (tmp_path / "a.npz").write_bytes(content)
    assert "its 4000000076 bytes can't be in 176 compressed ones" in str(error_of(tmp_path))


def test_other_compressions_and_encryption_are_refused_by_name(tmp_path):
    write_zip(tmp_path / "a.npz", {"x.npy": npy(IMAGE)}, zipfile.ZIP_BZIP2)
    assert "compressed with method 12; known are" in str(error_of(tmp_path))
    np.savez(tmp_path / "a.npz", x=IMAGE)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "it is encrypted" in str(error_of(tmp_path))


def test_archive_without_arrays_is_refused(tmp_path):
    write_zip(tmp_path / "a.npz", {"notes.txt": b"text"})
    assert "it holds no arrays" in str(error_of(tmp_path))
