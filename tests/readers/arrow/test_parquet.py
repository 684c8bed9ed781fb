"""Parquet: what columns and files may look like, and what is said of those that can't be read."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
import pyarrow.parquet as pq
from arrow_arrays import fixed_lists, lists
from far_folder import FarFolder
from web_server import FileServer

import headrace as hr
from headrace.testing import ReaderContract

# Neither Parquet nor Arrow has complex numbers, nor pyarrow lists of no values.
DTYPES = ("float32", "float64", "float16", "int64", "int8", "uint8", "bool", "datetime64[ms]")
SHAPES = ((3, 4), (5,), (), (1, 2, 1))


class TestOneFile(ReaderContract):
    dtypes = DTYPES
    shapes = SHAPES
    options: dict = {"row_group_size": 3}
    stored = staticmethod(fixed_lists)

    def make_reader(self, folder, samples):
        table = pa.table({"other": np.arange(len(samples)), "x": self.stored(samples)})
        pq.write_table(table, folder / "all.parquet", **self.options)
        return hr.Parquet(self.root(folder), "x", **self.arguments)

    arguments: dict = {}

    def root(self, folder):
        return folder / "all.parquet"


class TestChecksumsAndNothingKept(TestOneFile):
    options = {"row_group_size": 3, "write_page_checksum": True, "compression": "zstd"}
    arguments = {"cache_bytes": 0}


class TestListsThatHappenToBeOfEqualLength(TestOneFile):
    stored = staticmethod(lists)


class TestFixedSizeListsAsOthersWriteThem(TestOneFile):
    """Without the schema that Arrow puts beside."""

    options = {"store_schema": False, "use_dictionary": False, "data_page_version": "2.0"}


class TestBehindAStorage(TestOneFile):
    def root(self, folder):
        return FarFolder(folder)


class TestSeveralFiles(ReaderContract):
    dtypes = DTYPES
    shapes = SHAPES

    def make_reader(self, folder, samples):
        for number, part in enumerate(np.split(samples, [1, 1, 4])):  # one of them empty
            table = pa.table({"x": fixed_lists(part)})
            pq.write_table(table, folder / f"part-{number}.parquet", row_group_size=2)
        return hr.Parquet(folder, "x")


def write(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def read(reader, indices=None):
    indices = np.arange(len(reader)) if indices is None else np.array(indices, np.int64)
    spec = reader.spec
    if isinstance(spec, hr.Spec):
        out = np.empty((len(indices), *spec.shape), spec.dtype)
    else:
        out = {key: np.empty((len(indices), *part.shape), part.dtype) for key, part in spec.items()}
    reader.read(indices, out)
    return out


def test_all_columns_are_a_dict_by_default(tmp_path):
    path = write(tmp_path / "a.parquet", {"y": [1, 2, 3], "x": [0.5, 1.5, 2.5]}, row_group_size=2)
    reader = hr.Parquet(path)
    assert list(reader.spec) == ["y", "x"]
    batch = read(reader, [2, 0])
    assert batch["y"].tolist() == [3, 1]
    assert batch["x"].tolist() == [2.5, 0.5]
    loader = hr.Loader(reader, batch_size=3, shuffle=False)
    assert loader.batch(0, 0)["x"].tolist() == [0.5, 1.5, 2.5]
    loader.close()


def test_columns_may_be_chosen_ordered_and_named(tmp_path):
    path = write(tmp_path / "a.parquet", {"y": [1, 2], "x": [0.5, 1.5], "name": ["a", "b"]})
    assert hr.Parquet(path, "y").spec == hr.Spec((), np.dtype(np.int64))
    assert list(hr.Parquet(path, ["x", "y"]).spec) == ["x", "y"]
    assert list(hr.Parquet(path, ["x"]).spec) == ["x"]
    both = read(hr.Parquet(path, {"image": "x", "again": "x"}, dtype={"again": "float32"}))
    assert both["image"].dtype == np.float64
    assert both["again"].dtype == np.float32
    assert both["again"].tolist() == [0.5, 1.5]


def test_one_column_is_no_dict(tmp_path):
    assert read(hr.Parquet(write(tmp_path / "a.parquet", {"y": [1, 2]}))).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2, 1]).dictionary_encode(), np.array([1, 2, 1])),
        (pa.array([0, 40, -3], pa.date32()), np.array([0, 40, -3], "M8[D]")),
        (pa.array([0, 40, -3], pa.timestamp("us", "CET")), np.array([0, 40, -3], "M8[us]")),
        (pa.array([0, 40, -3], pa.duration("ms")), np.array([0, 40, -3], "m8[ms]")),
        (pa.array([b"ab", b"c\0", b"\0\0"], pa.binary(2)), np.array([b"ab", b"c\0", b""], "V2")),
        (pa.array([True, False, True]), np.array([True, False, True])),
        (pa.array([[[1], [2]]] * 3), np.array([[[1], [2]]] * 3)),
        (pa.array([[[1], [2]]] * 3, pa.large_list(pa.list_(pa.int8(), 1))),
         np.array([[[1], [2]]] * 3, np.int8)),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(18).reshape(3, 2, 3)),
         np.arange(18).reshape(3, 2, 3)),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(18).reshape(3, 2, 3).swapaxes(1, 2)),
         np.arange(18).reshape(3, 2, 3).swapaxes(1, 2)),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)  # fmt: skip
def test_types_become_their_dtypes_and_shapes(tmp_path, array, expected):
    reader = hr.Parquet(write(tmp_path / "a.parquet", {"x": array}), "x")
    assert reader.spec == hr.Spec(expected.shape[1:], expected.dtype)
    assert read(reader, [2, 0, 1, 2]).tobytes() == expected[[2, 0, 1, 2]].tobytes()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pa.array(["a", "b"]), "string"),
        (pa.array(["a", "b"]).dictionary_encode(), "string"),
        (pa.array([b"a", b"bc"]), "binary"),
        (pa.array([["a"], ["b"]]), "string"),
        (pa.array([{"a": 1}, {"a": 2}]), "struct"),
        (pa.array([1, 2], pa.decimal128(5)), "decimal128"),
        (pa.nulls(2), "null"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_other_types_are_refused_with_a_remedy(tmp_path, array, said):
    path = write(tmp_path / "a.parquet", {"bad": array, "good": [1, 2]})
    with pytest.raises(hr.ArgumentError, match=rf"column 'bad' is .*{said}.*columns=\['good'\]"):
        hr.Parquet(path)
    assert read(hr.Parquet(path, ["good"]))["good"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None, 4], pa.int32()),
        ([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int32(), 2)),
        ([[1, 2], [3, 4], [1, None], [5, 6]], pa.list_(pa.int32(), 2)),
        ([[1, 2], [3, 4], [None, 1], [5, 6]], pa.list_(pa.int32())),
        ([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int32())),
        ([[[1], [2]], [[3], [4]], [[1], None], [[5], [6]]], pa.list_(pa.list_(pa.int32(), 1), 2)),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_a_null_is_an_error_of_its_sample_alone(tmp_path, values, kind):
    try:
        path = write(tmp_path / "a.parquet", {"x": pa.array(values, kind)})
    except pa.ArrowNotImplementedError as error:  # before pyarrow 26
        pytest.skip(f"pyarrow {pa.__version__} can't write it: {error}")
    reader = hr.Parquet(path)
    assert read(reader, [0, 3, 1]).tolist() == [values[0], values[3], values[1]]
    with pytest.raises(hr.SampleFormatError, match=r"sample 2 .*column 'x' .*null") as caught:
        read(reader, [3, 2])
    assert caught.value.index == 2
    assert "a.parquet" in str(caught.value)


def test_a_list_of_another_length_is_an_error_of_its_sample_alone(tmp_path):
    values = [[[1, 2], [3, 4]], [[1, 2]], [[5, 6], [7, 8]], [[1, 2], [3]], []]
    reader = hr.Parquet(write(tmp_path / "a.parquet", {"x": values}))
    assert reader.spec.shape == (2, 2)
    assert read(reader, [2, 0]).tolist() == [values[2], values[0]]
    for index in (1, 3, 4):
        with pytest.raises(hr.SampleFormatError, match=f"sample {index} .*another length"):
            read(reader, [0, index])


def test_lists_need_a_first_one_that_tells_their_shape(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": [None, [1]]})
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*column 'x'.*null or empty"):
        hr.Parquet(path)
    empty = write(tmp_path / "b.parquet", {"x": pa.array([], pa.list_(pa.int8()))})
    with pytest.raises(hr.ArgumentError, match="has none"):
        hr.Parquet(empty)
    assert len(hr.Parquet(write(tmp_path / "c.parquet", {"x": pa.array([], pa.int8())}))) == 0


def test_dtype_converts_numbers_and_keeps_their_kind(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": [1, 2], "t": pa.array([1, 2], pa.timestamp("ms"))})
    assert read(hr.Parquet(path, "x", dtype="float32")).dtype == np.float32
    with pytest.raises(hr.ArgumentError, match=r"column 't', of dtype .*without changing its kind"):
        hr.Parquet(path, dtype="float32")
    with pytest.raises(hr.ArgumentError, match="dtype must be a dtype by key for 'x'"):
        hr.Parquet(path, ["x"], dtype={"y": "float32"})


@pytest.mark.parametrize("dtype", ["uint8", "<f4", "bool", "S3"])
def test_binaries_of_a_fixed_size_may_hold_arrays(tmp_path, dtype):
    x = np.random.default_rng(0).integers(2, size=(30, 3, 2)).astype(dtype)
    binary = pa.binary(x[0].nbytes)
    array = pa.Array.from_buffers(binary, len(x), [None, pa.py_buffer(x.tobytes())])
    path = write(tmp_path / "a.parquet", {"x": array.slice(4), "y": np.arange(26)})
    reader = hr.Parquet(path, dtype={"x": (dtype, (3, 2))})
    assert reader.spec["x"] == hr.Spec((3, 2), np.dtype(dtype))
    indices = np.random.default_rng(1).integers(26, size=40)
    assert (read(reader, indices)["x"] == x[4:][indices]).all()
    with pytest.raises(hr.ArgumentError, match=r"of \d+ bytes, as each value of column 'x'"):
        hr.Parquet(path, "x", dtype="uint8")
    with pytest.raises(hr.ArgumentError, match="byte order"):
        hr.Parquet(path, "x", dtype=(">u2", x[0].nbytes // 2))
    nulls = write(tmp_path / "b.parquet", {"x": pa.array([b"ab", None], pa.binary(2))})
    reader = hr.Parquet(nulls, dtype=("uint8", 2))
    assert read(reader, [0]).tolist() == [[97, 98]]
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*null"):
        read(reader, [1])


def test_a_column_of_binaries_may_be_read_as_several_arrays(tmp_path):
    x = np.arange(10, dtype="float32").reshape(5, 2)
    array = pa.Array.from_buffers(pa.binary(8), 5, [None, pa.py_buffer(x.tobytes())])
    views = {"floats": ("float32", (2,)), "ints": "int64", "bytes": None}
    path = write(tmp_path / "a.parquet", {"x": array})
    batch = read(hr.Parquet(path, dict.fromkeys(views, "x"), dtype=views))
    assert (batch["floats"] == x).all()
    assert (batch["ints"] == x.view("int64")[:, 0]).all()
    assert batch["bytes"].tobytes() == x.tobytes()


def test_files_are_sorted_or_in_the_order_of_names(tmp_path):
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(["b.parquet", "a.parquet", "sub/c.pq", "ignored.txt"]):
        write(tmp_path / name, {"x": [10 * number, 10 * number + 1]})
    assert read(hr.Parquet(tmp_path)).tolist() == [10, 11, 0, 1, 20, 21]
    named = hr.Parquet(tmp_path, names=["sub/c.pq", "b.parquet"])
    assert read(named).tolist() == [20, 21, 0, 1]
    assert named.fingerprint() != hr.Parquet(tmp_path).fingerprint()
    with pytest.raises(hr.ArgumentError, match="below root"):
        hr.Parquet(tmp_path, names=["../b.parquet"])


def test_files_of_different_columns_are_refused_naming_both(tmp_path):
    write(tmp_path / "a.parquet", {"x": pa.array([1, 2], pa.int32())})
    write(tmp_path / "b.parquet", {"x": pa.array([1, 2], pa.int64())})
    said = r"column 'x' .*int64 in '.*b\.parquet'.*int32 in '.*a\.parquet'"
    with pytest.raises(hr.SampleFormatError, match=said):
        hr.Parquet(tmp_path)
    assert read(hr.Parquet(tmp_path, dtype="int64")).tolist() == [1, 2, 1, 2]
    write(tmp_path / "b.parquet", {"y": [1, 2]})
    with pytest.raises(hr.SampleFormatError, match=r"b\.parquet' has no column 'x'"):
        hr.Parquet(tmp_path)
    write(tmp_path / "b.parquet", {"x": ["1", "2"]})
    with pytest.raises(hr.SampleFormatError, match=r"b\.parquet'.*is string"):
        hr.Parquet(tmp_path)


def test_each_row_group_of_a_batch_is_fetched_once_and_only_wanted_columns(tmp_path):
    rows = 1000
    x = np.random.default_rng(0).random((rows, 32))
    columns = {"x": fixed_lists(x), "unwanted": fixed_lists(x), "y": np.arange(rows)}
    write(tmp_path / "a.parquet", columns, row_group_size=100, use_dictionary=False)
    storage = FarFolder(tmp_path)
    reader = hr.Parquet(storage, ["x", "y"], cache_bytes=0)
    storage.asked.clear()
    indices = [950, 20, 951, 21, 20, 300]
    assert read(reader, indices)["x"].tobytes() == x[indices].tobytes()
    assert len(storage.asked) == 2 * 3  # two columns apart from each other, three row groups
    received = sum(request.stop - request.start for request in storage.asked)
    assert received < 3 * 100 * 33 * 8 * 1.1


@pytest.mark.parametrize("executor", [hr.Threads(2), hr.Processes(1)], ids=repr)
def test_files_behind_urls_are_read(tmp_path, executor):
    pytest.importorskip("obstore", reason="needs headrace[remote]")
    x = np.random.default_rng(0).random((60, 5))
    for number, part in enumerate(np.split(x, 3)):
        write(tmp_path / f"{number}.parquet", {"x": fixed_lists(part)}, row_group_size=7)
    with FileServer(tmp_path) as server:
        url = server.url
        assert read(hr.Parquet(f"{url}/1.parquet", "x")).tobytes() == x[20:40].tobytes()
        reader = hr.Parquet(url, names=[f"{number}.parquet" for number in range(3)])
        with hr.Loader(reader, 10, executor=executor) as loader:
            for step, batch in enumerate(loader):
                assert (batch == x[loader.indices(0, step)]).all()


def test_row_groups_are_kept_and_told(tmp_path):
    write(tmp_path / "a.parquet", {"x": np.arange(1000)}, row_group_size=100)
    storage = FarFolder(tmp_path)
    reader = hr.Parquet(storage, cache_bytes=3200)
    assert (reader.block, reader.blocks_kept) == (100, 4)
    read(reader, [5, 105, 205, 305])
    storage.asked.clear()
    read(reader, [6, 106, 206, 306])
    assert storage.asked == []
    read(reader, [406])
    assert len(storage.asked) == 1


def test_large_footers_are_fetched_whole(tmp_path):
    columns = {f"column number {i:04} of many": [i] for i in range(1500)}
    path = write(tmp_path / "a.parquet", columns)
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        assert int.from_bytes(file.read(4), "little") > 2**16
    storage = FarFolder(tmp_path)
    assert read(hr.Parquet(storage, "column number 1499 of many")).tolist() == [1499]


def test_pickle_keeps_what_was_found_but_no_data(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": np.arange(100_000)}, row_group_size=50_000)
    reader = hr.Parquet(path)
    expected = read(reader)
    pickled = pickle.dumps(reader)
    assert len(pickled) < 20_000
    assert (read(pickle.loads(pickled)) == expected).all()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(hr.SampleNotFoundError, match=r"no\.parquet"):
        hr.Parquet(tmp_path / "no.parquet")
    with pytest.raises(hr.ArgumentError, match="existing folder"):
        hr.Parquet(tmp_path / "no")
    with pytest.raises(hr.ArgumentError, match=r"\.parquet or \.pq files"):
        hr.Parquet(tmp_path)
    with pytest.raises(hr.SampleNotFoundError, match=r"no\.parquet"):
        hr.Parquet(tmp_path, names=["no.parquet"])
    path = write(tmp_path / "a.parquet", {"x": [1]})
    reader = hr.Parquet(path)
    path.unlink()
    with pytest.raises(hr.SampleNotFoundError, match=r"sample 0 .*a\.parquet"):
        read(reader)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:5], lambda data: data[:-1], lambda data: b"?" * 100,
     lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1", lambda data: data[:-8] + bytes(4) + b"PAR1"],
    ids=["empty", "five bytes", "cut", "other", "footer too long", "no footer"],
)  # fmt: skip
def test_damaged_files_are_refused_at_once(tmp_path, damage):
    path = write(tmp_path / "a.parquet", {"x": [1, 2]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=r"a\.parquet' can't be read"):
        hr.Parquet(path)


def test_names_that_are_no_text_are_damage(tmp_path):
    path = write(tmp_path / "a.parquet", {"name": [1, 2]}, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"name", b"n\xf3me"))
    with pytest.raises(hr.SampleFormatError, match=r"a\.parquet'.*can't decode"):
        hr.Parquet(path)


def test_no_flipped_byte_of_a_footer_crashes(tmp_path):
    """In a process of its own, as pyarrow ends it rather than to raise some errors."""
    path = write(
        tmp_path / "a.parquet", {"x": np.arange(40), "y": lists(np.arange(80).reshape(40, 2))}
    )
    program = f"""
import os
import numpy as np
import headrace as hr
import pyarrow.parquet as pq

path = {os.fspath(path)!r}
with open(path, "rb") as file:
    good = file.read()
refused = 0
for at in range(len(good) - 8 - pq.read_metadata(path).serialized_size, len(good)):
    for bit in (0, 2):
        with open(path, "wb") as file:
            file.write(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
        try:
            hr.Loader(hr.Parquet(path, ["x", "y"]), 1, shuffle=False).batch(0, 1)
        except (hr.HeadraceError, MemoryError):
            refused += 1
print("refused", refused)
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[1]) > 100


def test_a_file_cut_after_it_was_opened_is_an_error(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": np.arange(1000)}, row_group_size=100)
    reader = hr.Parquet(path)
    os.truncate(path, path.stat().st_size // 2)
    assert read(reader, [5]).tolist() == [5]
    with pytest.raises(hr.StorageError) as caught:
        read(reader, [999])
    assert "while reading sample 999" in "".join(caught.value.__notes__)


def test_flipped_bytes_of_pages_with_checksums_are_found(tmp_path):
    values = np.random.default_rng(0).integers(2**62, size=400)
    options = {"row_group_size": 100, "compression": "none", "use_dictionary": False}
    path = write(tmp_path / "a.parquet", {"x": values}, write_page_checksum=True, **options)
    good = path.read_bytes()
    at = good.index(values[250:251].tobytes())
    path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    reader = hr.Parquet(path)
    assert (read(reader, [0, 399]) == values[[0, 399]]).all()
    said = "sample 201 .*row group 2.*(?i:crc)"
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        read(reader, [0, 201])
    assert caught.value.index == 201


def test_no_flipped_byte_crashes(tmp_path):
    """Errors, or the data; never others, as there are checksums."""
    rng = np.random.default_rng(0)
    x = rng.integers(1000, size=(60, 3))
    table = {"x": fixed_lists(x), "l": lists(x), "b": x[:, 0] > 500}
    path = write(tmp_path / "a.parquet", table, row_group_size=20, write_page_checksum=True)
    good = path.read_bytes()
    good_batch = read(hr.Parquet(path))
    pages = pq.read_metadata(path).serialized_size + 8
    found = 0
    for at in range(4, len(good) - pages, 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        try:
            batch = read(hr.Parquet(path))
        except (hr.SampleFormatError, MemoryError):
            found += 1
        else:  # in what is no page, or in a header where it does not matter
            assert all((batch[name] == good_batch[name]).all() for name in table)
    assert found > 50


def test_repr_names_the_file_and_the_spec(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": [1, 2]})
    said = f"Parquet({os.fspath(path)!r}, files=1, n=2, Spec(shape=(), dtype=dtype('int64')))"
    assert repr(hr.Parquet(path)) == said


@pytest.mark.parametrize("columns", ["no", ["x", "no"], {"a": "no"}])
def test_unknown_columns_are_named(tmp_path, columns):
    path = write(tmp_path / "a.parquet", {"x": [1, 2]})
    with pytest.raises(hr.ArgumentError, match=r"among 'x' of .*a\.parquet', but 'no' was given"):
        hr.Parquet(path, columns)
