"""Parquet: what columns and files may look like, and what is said of those that can't be read."""

import os
import subprocess
import sys

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
import pyarrow.parquet as pq
from arrow_arrays import fixed_lists, lists
from far_folder import FarFolder
from reading import read

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


@pytest.mark.parametrize("end", [b"\xff\xff\xff\x7fPAR1", bytes(4) + b"PAR1"])
def test_a_footer_of_an_impossible_size_is_refused_at_once(tmp_path, end):
    path = write(tmp_path / "a.parquet", {"x": [1, 2]})
    path.write_bytes(path.read_bytes()[:-8] + end)
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
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
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


def compression_of_y(file):
    """What the footer says, if it is one."""
    try:
        return pq.read_metadata(file).row_group(0).column(1).compression
    except (pa.ArrowException, OSError):
        return None


@pytest.mark.fault("a filter or codec that is not installed", "error", "parquet")
def test_a_codec_that_is_not_installed_is_no_damage(tmp_path):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": np.arange(9), "y": np.arange(9)}), file, compression="snappy")
    data = bytearray(file.read_bytes())
    snappy, lzo = b"\x15\x02", b"\x15\x06"  # a field of the footer
    at = 0
    while compression_of_y(file) != "LZO":
        at = data.index(snappy, at + 1)
        file.write_bytes(data[:at] + lzo + data[at + 2 :])
    loader = hr.Loader(hr.Parquet(file), 3, on_error="replace", max_bad_samples=9)
    with pytest.raises(hr.MissingExtraError, match=r"LZO .*Install a pyarrow") as raised:
        loader.batch(0, 0)
    assert str(file) in str(raised.value)
    assert read(hr.Parquet(file, "x")).tolist() == list(range(9))
