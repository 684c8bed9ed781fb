"""Arrow: what columns and files may look like, and what is said of those that can't be read."""

import os
import pickle

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
from arrow_arrays import fixed_lists, lists
from process_table import needs_proc, open_files
from pyarrow import feather
from reading import read

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


def test_slices_of_tables_are_read_where_they_begin(tmp_path):
    x = np.arange(60).reshape(20, 3)
    table = pa.table({"x": fixed_lists(x), "l": lists(x), "b": fixed_lists(x % 2 == 0)})
    reader = hr.Arrow(write(tmp_path / "a.arrow", table.slice(5, 11)))
    batch = read(reader)
    assert (batch["x"] == x[5:16]).all()
    assert (batch["l"] == x[5:16]).all()
    assert (batch["b"] == (x[5:16] % 2 == 0)).all()


def test_bits_are_read_from_any_row_on(tmp_path):
    bits = np.random.default_rng(0).random((1000, 7)) < 0.5
    reader = hr.Arrow(write(tmp_path / "a.arrow", {"x": fixed_lists(bits)}, 99))
    indices = np.random.default_rng(1).integers(1000, size=300)
    assert (read(reader, indices) == bits[indices]).all()


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


@needs_proc
def test_more_files_than_there_are_handles_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace.readers.arrow.ipc.ipc_files._MOST_MAPS", 5)
    for number in range(100):
        write(tmp_path / f"{number:03}.arrow", {"x": [number]})
    reader = hr.Arrow(tmp_path)
    for _ in range(2):
        assert read(reader).tolist() == list(range(100))
        assert len(open_files(tmp_path)) <= 5


def test_urls_and_what_is_no_path_are_refused():
    with pytest.raises(hr.ArgumentError, match="Parquet, which is read from URLs"):
        hr.Arrow("s3://bucket/a.arrow")
    with pytest.raises(hr.ArgumentTypeError, match="a file or folder"):
        hr.Arrow(3)


@pytest.mark.parametrize("left", [0, 5, 100, 0.5, -9])
def test_damaged_streams_are_refused_at_once(tmp_path, left):
    path = write(tmp_path / "a.arrow", {"x": np.arange(1000)}, 100, new=pa.ipc.new_stream)
    data = path.read_bytes()  # whose last 8 bytes only say that it ends there
    path.write_bytes(data[: int(len(data) * left) if isinstance(left, float) else left])
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
