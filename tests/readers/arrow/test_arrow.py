"""Arrow: what columns and files may look like, and what is said of those that can't be read."""

import os
import pickle

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
from arrow_arrays import fixed_lists, lists
from pyarrow import feather

import headrace as hr
from headrace.testing import ReaderContract

# Arrow has no complex numbers, and pyarrow makes no lists of no values.
DTYPES = ("float32", "float64", "float16", "int64", "int8", "uint8", "bool", "datetime64[s]")
SHAPES = ((3, 4), (5,), (), (1, 2, 1))


def write(path, columns, rows=None, compression=None, new=pa.ipc.new_file):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with new(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


class TestMapped(ReaderContract):
    dtypes = DTYPES
    shapes = SHAPES
    in_batches = False
    options: dict = {}
    stored = staticmethod(fixed_lists)

    def make_reader(self, folder, samples):
        columns = {"other": np.arange(len(samples)), "x": self.stored(samples)}
        rows = max(3, len(samples) // 4) if self.in_batches else None
        return hr.Arrow(write(folder / "all.arrow", columns, rows, **self.options), "x")


class TestMappedBatches(TestMapped):
    in_batches = True
    stored = staticmethod(lists)


class TestStream(TestMapped):
    in_batches = True
    options = {"new": pa.ipc.new_stream}


class TestCompressed(TestMapped):
    in_batches = True
    options = {"compression": "zstd"}


class TestSeveralFiles(ReaderContract):
    """Of all forms: a file, a stream, an empty one, and a compressed one."""

    dtypes = DTYPES
    shapes = SHAPES

    def make_reader(self, folder, samples):
        parts = [{"x": fixed_lists(part)} for part in np.split(samples, [3, 4, 4])]
        write(folder / "0.arrow", parts[0])
        write(folder / "1.arrow", parts[1], new=pa.ipc.new_stream)
        write(folder / "2.arrow", parts[2])
        write(folder / "3.feather", parts[3], 2, "lz4")
        return hr.Arrow(folder)


def read(reader, indices=None):
    indices = np.arange(len(reader)) if indices is None else np.array(indices, np.int64)
    spec = reader.spec
    if isinstance(spec, hr.Spec):
        out = np.empty((len(indices), *spec.shape), spec.dtype)
    else:
        out = {key: np.empty((len(indices), *part.shape), part.dtype) for key, part in spec.items()}
    reader.read(indices, out)
    return out


def test_columns_are_a_dict_or_one_array(tmp_path):
    path = write(tmp_path / "a.arrow", {"y": [1, 2, 3], "x": [0.5, 1.5, 2.5], "s": ["a", "b", "c"]})
    both = hr.Arrow(path, ["x", "y"])
    assert list(both.spec) == ["x", "y"]
    assert read(both, [2, 0])["y"].tolist() == [3, 1]
    assert read(hr.Arrow(path, "x"), [2, 0]).tolist() == [2.5, 0.5]
    assert read(hr.Arrow(path, {"image": "x"}))["image"].tolist() == [0.5, 1.5, 2.5]
    assert read(hr.Arrow(path, "y", dtype="float32"), [1]).dtype == np.float32
    with pytest.raises(hr.ArgumentError, match=r"column 's' is string.*columns=\['y', 'x'\]"):
        hr.Arrow(path)
    with pytest.raises(hr.ArgumentError, match="among 'y', 'x', 's'"):
        hr.Arrow(path, "no")


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2, 1]).dictionary_encode(), np.array([1, 2, 1])),
        (pa.array([0, 40, -3], pa.date32()), np.array([0, 40, -3], "M8[D]")),
        (pa.array([0, 40, -3], pa.timestamp("ns", "CET")), np.array([0, 40, -3], "M8[ns]")),
        (pa.array([b"ab", b"c\0", b"\0\0"], pa.binary(2)), np.array([b"ab", b"c\0", b""], "V2")),
        (pa.array([[True, False]] * 3, pa.list_(pa.bool_(), 2)), np.array([[True, False]] * 3)),
        (pa.array([[[1], [2]]] * 3), np.array([[[1], [2]]] * 3)),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(18).reshape(3, 2, 3).swapaxes(1, 2)),
         np.arange(18).reshape(3, 2, 3).swapaxes(1, 2)),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)  # fmt: skip
def test_types_become_their_dtypes_and_shapes(tmp_path, array, expected, compression):
    columns = {"x": array, "y": np.arange(3)}
    reader = hr.Arrow(write(tmp_path / "a.arrow", columns, 2, compression))
    assert reader.spec["x"] == hr.Spec(expected.shape[1:], expected.dtype)
    batch = read(reader, [2, 0, 1, 2])
    assert batch["x"].tobytes() == expected[[2, 0, 1, 2]].tobytes()
    assert batch["y"].tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_column_of_binaries_may_be_read_as_several_arrays(tmp_path, compression):
    x = np.arange(5, dtype="float32")
    array = pa.Array.from_buffers(pa.binary(4), 5, [None, pa.py_buffer(x.tobytes())])
    path = write(tmp_path / "a.arrow", {"x": array}, 2, compression)
    keys = {"float": "x", "int": "x"}
    batch = read(hr.Arrow(path, keys, dtype={"float": "float32", "int": "int32"}))
    assert (batch["float"] == x).all()
    assert (batch["int"] == x.view("int32")).all()


def test_slices_of_tables_are_read_where_they_begin(tmp_path):
    x = np.arange(60).reshape(20, 3)
    table = pa.table({"x": fixed_lists(x), "l": lists(x), "b": fixed_lists(x % 2 == 0)})
    reader = hr.Arrow(write(tmp_path / "a.arrow", table.slice(5, 11)))
    batch = read(reader)
    assert (batch["x"] == x[5:16]).all()
    assert (batch["l"] == x[5:16]).all()
    assert (batch["b"] == (x[5:16] % 2 == 0)).all()


def test_bits_are_read_from_any_place_on(tmp_path):
    bits = np.random.default_rng(0).random((1000, 7)) < 0.5
    reader = hr.Arrow(write(tmp_path / "a.arrow", {"x": fixed_lists(bits)}, 99))
    indices = np.random.default_rng(1).integers(1000, size=300)
    assert (read(reader, indices) == bits[indices]).all()


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_bad_value_is_an_error_of_its_sample_alone(tmp_path, compression):
    columns = {"x": [1, None, 3, 4, 5], "l": [[1, 2], [3, 4], [5, 6], [7], [8, None]]}
    reader = hr.Arrow(write(tmp_path / "a.arrow", columns, 4, compression))
    assert read(reader, [2, 0])["l"].tolist() == [[5, 6], [1, 2]]
    for index, said in ((1, "'x' is null"), (3, "'l' is a list of another"), (4, "'l' .*null")):
        with pytest.raises(hr.SampleFormatError, match=f"sample {index} .*column {said}") as caught:
            read(reader, [0, index])
        assert caught.value.index == index


def test_what_is_not_compressed_is_read_in_place(tmp_path):
    x = np.random.default_rng(0).random((100, 3))
    columns = {"x": fixed_lists(x), "y": pa.array([1, 2] * 50).dictionary_encode()}
    mapped = hr.Arrow(write(tmp_path / "a.arrow", columns, 40), "x", cache_bytes=0)
    assert mapped.in_memory
    assert mapped.block == 1
    before = pa.total_allocated_bytes()
    assert (read(mapped) == x).all()
    assert pa.total_allocated_bytes() - before < 1000
    encoded = hr.Arrow(tmp_path / "a.arrow", cache_bytes=3 * 40 * 8)
    assert not encoded.in_memory
    assert (encoded.block, encoded.blocks_kept) == (40, 3)
    feather.write_feather(
        pa.table({"x": columns["x"]}), tmp_path / "b.feather", "lz4", chunksize=25
    )
    packed = hr.Arrow(tmp_path / "b.feather", cache_bytes=2 * 25 * 24)
    assert (packed.block, packed.blocks_kept) == (25, 2)
    assert (read(packed) == x).all()


def test_files_are_sorted_or_in_the_order_of_names(tmp_path):
    for number, name in enumerate(["b.arrow", "a.arrow", "c.ipc", "ignored.txt"]):
        write(tmp_path / name, {"x": [10 * number, 10 * number + 1]})
    assert read(hr.Arrow(tmp_path)).tolist() == [10, 11, 0, 1, 20, 21]
    named = hr.Arrow(tmp_path, names=["c.ipc", "b.arrow"])
    assert read(named).tolist() == [20, 21, 0, 1]
    assert named.fingerprint() != hr.Arrow(tmp_path).fingerprint()


def test_files_of_different_columns_are_refused_naming_both(tmp_path):
    write(tmp_path / "a.arrow", {"x": pa.array([[1, 2]], pa.list_(pa.int32(), 2))})
    write(tmp_path / "b.arrow", {"x": pa.array([[1, 2, 3]], pa.list_(pa.int32(), 3))})
    with pytest.raises(hr.SampleFormatError, match=r"int32.*\[3\] in '.*b\.arrow'.*a\.arrow"):
        hr.Arrow(tmp_path)


def test_more_files_than_there_are_handles_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace.readers.arrow.ipc_files._MOST_MAPS", 5)
    for number in range(100):
        write(tmp_path / f"{number:03}.arrow", {"x": [number]})
    reader = hr.Arrow(tmp_path)
    before = open_files()
    for _ in range(2):
        assert read(reader).tolist() == list(range(100))
        assert open_files() <= before + 5


def open_files():
    place = "/proc/self/fd"
    return len(os.listdir(place)) if os.path.isdir(place) else 0


def test_missing_files_and_urls_are_refused(tmp_path):
    with pytest.raises(hr.SampleNotFoundError, match=r"no\.arrow"):
        hr.Arrow(tmp_path / "no.arrow")
    with pytest.raises(hr.ArgumentError, match=r"\.arrow, \.feather, \.ipc files"):
        hr.Arrow(tmp_path)
    with pytest.raises(hr.ArgumentError, match="Parquet, which is read from URLs"):
        hr.Arrow("s3://bucket/a.arrow")
    with pytest.raises(hr.ArgumentTypeError, match="a file or folder"):
        hr.Arrow(3)
    path = write(tmp_path / "a.arrow", {"x": [1]})
    reader = hr.Arrow(path)
    path.unlink()
    with pytest.raises(hr.SampleNotFoundError, match=r"sample 0 .*a\.arrow"):
        read(reader)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:5], lambda data: data[:-1], lambda data: b"?" * 100,
     lambda data: data[:100], lambda data: data[: len(data) // 2]],
    ids=["empty", "five bytes", "cut", "other", "cut in the schema", "cut in the data"],
)  # fmt: skip
@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_damaged_files_are_refused_at_once(tmp_path, damage, new):
    path = write(tmp_path / "a.arrow", {"x": np.arange(1000)}, 100, new=new)
    if new is pa.ipc.new_stream:  # whose last bytes only say that it ends there
        path.write_bytes(path.read_bytes()[:-8])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=r"a\.arrow' can't be read"):
        hr.Arrow(path)


def test_a_file_that_has_changed_is_an_error(tmp_path):
    path = write(tmp_path / "a.arrow", {"x": np.arange(1000)}, 100)
    pickled = pickle.dumps(hr.Arrow(path))
    size = path.stat().st_size
    os.truncate(path, size // 2)
    with pytest.raises(hr.SampleFormatError, match=f"sample 7 .*has {size // 2} bytes of {size}"):
        read(pickle.loads(pickled), [7])


def test_a_file_that_is_cut_while_it_is_mapped_is_an_error_and_no_crash(tmp_path):
    path = write(tmp_path / "a.arrow", {"x": np.arange(100_000)})
    reader = hr.Arrow(path)
    read(reader, [7])
    os.truncate(path, 4096)
    with pytest.raises(hr.SampleFormatError, match=r"sample 99999 .*cut to 4096 bytes"):
        read(reader, [99_999])


def test_other_forms_are_refused_with_a_remedy(tmp_path):
    columns = {"x": np.arange(1000)}
    write(tmp_path / "s.arrow", columns, 100, "lz4", pa.ipc.new_stream)
    with pytest.raises(hr.SampleFormatError, match=r"compressed stream.*pyarrow.ipc.new_file"):
        hr.Arrow(tmp_path / "s.arrow")
    (tmp_path / "f.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(hr.SampleFormatError, match=r"version 1 of Feather.*write_feather"):
        hr.Arrow(tmp_path / "f.feather")
    encoded = {"x": pa.array([1, 2]).dictionary_encode()}
    write(tmp_path / "d.arrow", encoded, new=pa.ipc.new_stream)
    with pytest.raises(hr.ArgumentError, match="dictionary-encoded in a stream, but 'x'"):
        hr.Arrow(tmp_path / "d.arrow")


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_no_flipped_byte_crashes(tmp_path, compression):
    x = np.random.default_rng(0).integers(1000, size=(60, 3))
    columns = {"x": fixed_lists(x), "l": lists(x), "b": x[:, 0] > 500,
               "d": pa.array(x[:, 0] % 5).dictionary_encode()}  # fmt: skip
    path = write(tmp_path / "a.arrow", columns, 20, compression)
    good = path.read_bytes()
    errors = 0
    for at in range(0, len(good), 11):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        try:
            batch = read(hr.Arrow(path, ["x", "l", "b", "d"]))
        except (hr.HeadraceError, MemoryError, OverflowError):
            errors += 1
        else:
            assert all(len(part) == 60 for part in batch.values())
        path.unlink()  # so that a map that is still there keeps its own bytes
    assert errors > 50


def test_repr_names_the_file_and_the_spec(tmp_path):
    path = write(tmp_path / "a.arrow", {"x": [1, 2]})
    said = f"Arrow({os.fspath(path)!r}, files=1, n=2, Spec(shape=(), dtype=dtype('int64')))"
    assert repr(hr.Arrow(path)) == said
