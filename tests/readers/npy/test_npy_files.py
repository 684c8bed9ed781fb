"""NpyFiles: what a file may look like, and what is said of one that can't be read."""

import re
import struct

import numpy as np
import pytest
from far_folder import FarFolder
from one_file_each import OneFileEach
from reading import read

import headrace as hr
from headrace.storage import Folder
from headrace.storage.local import folder as folder_module

NEAR_AND_FAR = pytest.mark.parametrize("wrap", [str, FarFolder], ids=["near", "far"])
SAMPLE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class TestNpyFiles(OneFileEach):
    def save(self, path, sample, index):
        np.save(path, sample)

    def open(self, root, samples):
        return hr.NpyFiles(root)


class TestNpyFilesOfMixedLayouts(TestNpyFiles):
    """The first as it is read, and the others in other versions, byte orders and memory orders."""

    def save(self, path, sample, index):
        dtype = sample.dtype.newbyteorder("<>"[index % 2])
        write(path, sample.astype(dtype, order="CF"[index // 2 % 2]), (1 + index % 3, 0))


class TestNpyFilesByIds(TestNpyFiles):
    """The samples in an order that is not the folder's, and in folders of their own."""

    def open(self, root, samples):
        return hr.NpyFiles(root, [f"{index % 2}/{-index}" for index in range(len(samples))])

    def sample_file(self, folder, index):
        return folder / str(index % 2) / f"{-index}.npy"


class TestNpyFilesWithoutPreadv(TestNpyFilesOfMixedLayouts):
    """As on macOS before 11 and on Windows. (Processes of their own have it, and agree.)"""

    @pytest.fixture(autouse=True)
    def _no_preadv(self, monkeypatch):
        monkeypatch.setattr(folder_module, "_HAS_PREADV", False)
        monkeypatch.delattr("os.preadv", raising=False)


class TestNpyFilesFarAway(TestNpyFiles):
    """Whole files, fetched by the batch."""

    root = FarFolder


class TestNpyFilesOfMixedLayoutsFarAway(TestNpyFilesOfMixedLayouts):
    root = FarFolder


def write(path, array, version=None):
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asanyarray(array), version=version)


def write_raw(path, header, data=b"", version=1):
    """A file with this header text, padded as numpy does it."""
    length = "<H" if version == 1 else "<I"
    used = 8 + struct.calcsize(length) + len(header) + 1
    text = header.encode("utf8" if version == 3 else "latin1") + b" " * (-used % 64) + b"\n"
    path.write_bytes(
        b"\x93NUMPY" + bytes([version, 0]) + struct.pack(length, len(text)) + text + data
    )


def error_of(root, ids=None, **options):
    def read_all():
        reader = hr.NpyFiles(root, ids, **options)
        out = np.empty((len(reader), *reader.spec.shape), reader.spec.dtype)
        reader.read(np.arange(len(reader)), out)

    with pytest.raises(hr.HeadraceError) as caught:
        read_all()
    return caught.value


@pytest.mark.parametrize(
    "header",
    [
        '{"descr": "<f4", "fortran_order": False, "shape": (2, 3, 4)}',
        "{'shape':(2,3,4,),'fortran_order':False,'descr':'<f4'}",
        "{'descr': ('<f4'), 'fortran_order': False, 'shape': (2,\n 3,\t4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L, 4L), }",  # of Python 2
    ],
)
def test_header_may_be_written_otherwise_than_numpy_does(tmp_path, header):
    write(tmp_path / "a.npy", SAMPLE)
    write_raw(tmp_path / "b.npy", header, SAMPLE.tobytes())
    assert np.array_equal(read(hr.NpyFiles(tmp_path)), [SAMPLE, SAMPLE])
    assert np.array_equal(read(hr.NpyFiles(tmp_path, ["b"])), [SAMPLE])


@NEAR_AND_FAR
def test_bytes_after_the_data_are_ignored(tmp_path, wrap):
    for name in "ab":
        write(tmp_path / f"{name}.npy", SAMPLE)
        with (tmp_path / f"{name}.npy").open("ab") as file:
            file.write(b"left over" * 100)
    assert np.array_equal(read(hr.NpyFiles(wrap(tmp_path))), [SAMPLE, SAMPLE])


def test_structured_samples_with_gaps_keep_their_fields(tmp_path):
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    sample = np.array([(1, 2.0), (3, 4.0)], dtype)
    for name in "ab":
        write(tmp_path / f"{name}.npy", sample)
    got = read(hr.NpyFiles(tmp_path))[1]
    assert got["a"].tolist() == [1, 3]
    assert got["b"].tolist() == [2.0, 4.0]


def test_field_whose_name_is_like_numbers_of_python_2_keeps_it(tmp_path):
    write(tmp_path / "a.npy", np.zeros(2, [("x1L,y", "<f4"), ("(2L)", "<f4")]), (1, 0))
    assert hr.NpyFiles(tmp_path).spec.dtype.names == ("x1L,y", "(2L)")


@pytest.mark.parametrize("stored", [(2, 3), (2, 3, 1), (1, 2, 1, 3)])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (1, 2, 3, 1), [2, 3]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_shape_may_add_or_leave_out_axes_of_length_one(tmp_path, stored, shape, order):
    values = np.arange(6.0).reshape(stored, order="C")
    write(tmp_path / "a.npy", np.asarray(values, order=order))
    reader = hr.NpyFiles(tmp_path, shape=shape)
    assert reader.spec.shape == tuple(shape)
    assert np.array_equal(read(reader)[0], values.reshape(shape))


@NEAR_AND_FAR
def test_files_may_differ_from_the_first_by_axes_of_length_one(tmp_path, wrap):
    write(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3, 1))
    write(tmp_path / "b.npy", np.arange(6.0).reshape(2, 3))
    got = read(hr.NpyFiles(wrap(tmp_path)))
    assert got.shape == (2, 2, 3, 1)
    assert np.array_equal(got[0], got[1])


@pytest.mark.parametrize("shape", [(3, 2), (6,), (2, 3, 2), (), (2,)])
def test_another_shape_is_refused_by_index_and_file(tmp_path, shape):
    write(tmp_path / "a.npy", np.zeros((2, 3)))
    error = error_of(tmp_path, shape=shape)
    assert isinstance(error, hr.SampleFormatError)
    assert error.index == 0
    assert re.search(r"sample 0 .*a\.npy'.* \(2, 3\); expected is " + re.escape(repr(shape)),
                     str(error))  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        *[("f8", "f4"), ("f4", "f8"), ("f2", "f4"), (">f8", "f4"), ("u1", "f4"), ("i8", "f4")],
        *[("?", "f4"), ("?", "u1"), ("i8", "i4"), ("f4", "c8"), ("M8[D]", "M8[s]")],
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
@NEAR_AND_FAR
def test_dtype_converts_each_file(tmp_path, stored, wanted, order, wrap):
    array = np.asarray(np.arange(6).reshape(2, 3).astype(stored), order=order)
    write(tmp_path / "a.npy", array)
    write(tmp_path / "b.npy", array.astype(wanted))
    reader = hr.NpyFiles(wrap(tmp_path), dtype=wanted)
    assert reader.spec.dtype == wanted
    assert np.array_equal(read(reader), [array.astype(wanted)] * 2)


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        *[("f4", "u1"), ("c8", "f4"), ("i8", "u1"), ("f4", "?"), ("u1", "?"), ("f4", "i8")],
        *[("f4", "U9"), ("i4", "S9"), ("u1", "m8[s]"), ("f4", "M8[s]"), ("M8[s]", "i8")],
    ],
)
def test_dtype_of_another_kind_is_refused(tmp_path, stored, wanted):
    write(tmp_path / "a.npy", np.ones((2, 3)).astype(stored))
    error = error_of(tmp_path, dtype=wanted)
    assert isinstance(error, hr.SampleFormatError)
    assert str(np.dtype(stored)) in str(error)
    assert str(np.dtype(wanted)) in str(error)
    assert "kind" in str(error)


@NEAR_AND_FAR
def test_another_dtype_than_the_first_is_refused_with_the_remedy(tmp_path, wrap):
    write(tmp_path / "a.npy", np.zeros(3, np.float32))
    write(tmp_path / "b.npy", np.zeros(3, np.float64))
    error = error_of(wrap(tmp_path))
    assert error.index == 1
    for part in ("sample 1", "b.npy", "float64", "float32", "dtype="):
        assert part in str(error)


@pytest.mark.parametrize("dtype", ["nonsense", 3.5, object, "O", str, ("f4", (2,)), "V0"])
def test_dtype_that_no_sample_can_have_is_refused_by_name(tmp_path, dtype):
    write(tmp_path / "a.npy", np.zeros(3, np.float32))
    with pytest.raises(hr.HeadraceError, match=r"^dtype must be "):
        hr.NpyFiles(tmp_path, dtype=dtype)


@pytest.mark.parametrize("shape", [5, "ab", (2.0,), (None, 2.0), 2.5])
def test_shape_that_is_not_of_ints_is_refused_by_name(tmp_path, shape):
    write(tmp_path / "a.npy", np.zeros(3, np.float32))
    with pytest.raises(hr.ArgumentTypeError, match=r"^shape must be "):
        hr.NpyFiles(tmp_path, shape=shape)


@NEAR_AND_FAR
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "ends within its header"),
        (lambda data: data[:7], "ends within its header"),
        (lambda data: data[:9], "ends within its header"),
        (lambda data: data[:100], "ends within its header"),
        (lambda data: data[:128], "ends after 128 bytes; its header promises 224"),
        (lambda data: data[:-1], "ends after 223 bytes; its header promises 224"),
        (lambda data: b"\x89PNG\r\n\x1a\n" + data[8:], "begins with"),
        (lambda data: data[:6] + b"\x04\0" + data[8:], "format version is 4.0"),
        (lambda data: data[:6] + b"\x01\1" + data[8:], "format version is 1.1"),
        (lambda data: data.replace(b"'<f4'", b"'<q4'"), "dtype '<q4' is not known"),
        (lambda data: data.replace(b"(2, 3, 4)", b"[2, 3, 4]"), "not a tuple of ints"),
        (lambda data: data.replace(b"(2, 3, 4)", b"(2, 3, -)"), "malformed at"),
        (lambda data: data.replace(b"(2, 3, 4)", b"(-1,3, 4)"), "malformed at"),
        (lambda data: data.replace(b"False", b"0    "), "not a bool"),
        (lambda data: data.replace(b"shape", b"shope"), "exactly descr, fortran_order and shape"),
        (lambda data: data.replace(b"'shape", b"'descr"), "a key twice"),
        (lambda data: data.replace(b"{", b"("), "its header (begins|is malformed|lacks)"),
        (lambda data: data[:6] + b"\x02\0\0\0\0\x7f" + data[12:], "claims 2130706432 bytes"),
    ],
)
def test_damaged_file_is_refused_by_index_file_and_reason(tmp_path, damage, said, at, wrap):
    for name in "ab":
        write(tmp_path / f"{name}.npy", SAMPLE)
    file = tmp_path / f"{'ab'[at]}.npy"
    file.write_bytes(damage(file.read_bytes()))
    error = error_of(wrap(tmp_path))
    assert type(error) is hr.SampleFormatError
    assert error.index == at
    assert str(file) in str(error)
    assert f"sample {at} " in str(error)
    assert re.search(said, str(error))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("(99999999999999999999,)", "shape"),
        ("(0, 4611686018427387904, 4)", "shape"),
        (f"({'1, ' * 64})", "shape"),  # a batch would have one axis more than numpy has
        # Or the first batch would be allocated on its word.
        ("(1000000000000,)", "sample 0 .* promises 4000000000128"),
    ],
    ids=str,
)
def test_shape_that_no_batch_can_have_is_refused(tmp_path, shape, said):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    write_raw(tmp_path / "a.npy", header, bytes(400))
    with pytest.raises(hr.SampleFormatError, match=said):
        hr.NpyFiles(tmp_path)


def test_sample_without_elements_still_has_its_file_checked(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.npy", np.zeros((0, 3)))
    reader = hr.NpyFiles(tmp_path)
    assert read(reader).shape == (2, 0, 3)
    (tmp_path / "b.npy").unlink()
    with pytest.raises(hr.SampleNotFoundError):
        read(reader)


def test_more_layouts_than_are_remembered_are_read(tmp_path):
    for index in range(400):
        header = f"{{'descr': '>f4', 'fortran_order': True, 'shape': (3,), }}{' ' * index}"
        write_raw(tmp_path / f"{index}.npy", header, np.full(3, index, ">f4").tobytes())
    got = read(hr.NpyFiles(tmp_path, range(400)))
    assert np.array_equal(got[:, 1], np.arange(400))


def test_a_batch_is_asked_for_at_once(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.npy", SAMPLE)
    storage = FarFolder(tmp_path)
    reader = hr.NpyFiles(storage)
    storage.asked.clear()
    read(reader, [2, 0, 0])
    assert [tuple(request) for request in storage.asked] == [
        ("c.npy", 0, None), ("a.npy", 0, None), ("a.npy", 0, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrap", "root"), [(str, ""), (Folder, ""), (FarFolder, "far:")], ids=["near", "given", "far"]
)
def test_path_repr_and_fingerprint(tmp_path, wrap, root):
    for name in "ab":
        write(tmp_path / f"{name}.npy", SAMPLE)
    reader = hr.NpyFiles(wrap(tmp_path), ["b", "a"])
    assert reader.ids == ["b", "a"]
    assert reader.path(0) == f"{root}{tmp_path}/b.npy"
    assert repr(reader) == f"NpyFiles('{root}{tmp_path}', n=2, shape=(2, 3, 4), dtype=float32)"
    assert reader.fingerprint() == hr.NpyFiles(tmp_path, ["b", "a"]).fingerprint()
    assert np.array_equal(read(reader), [SAMPLE, SAMPLE])
