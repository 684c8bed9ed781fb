"""Zarr: what arrays and groups may look like, and what is said of those that can't be read."""

import json
import os
import pickle
import shutil
import warnings

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")

from far_folder import FarFolder
from reading import read
from tfrecords import crc32c

import headrace as hr
from headrace.testing import ReaderContract

DTYPES = ("float32", "float64", "float16", "int64", "int8", "uint8", "bool", "complex64")


def split(samples):
    """Chunks of three samples that also split the samples."""
    return 3, *(max(1, -(-length // 2)) for length in samples.shape[1:])


class ZarrContract(ReaderContract):
    dtypes = DTYPES
    options: dict

    def make_reader(self, folder, samples):
        options = dict(self.options)
        options["chunks"] = split(samples)
        if "shards" in options:
            options["shards"] = tuple(2 * length for length in options["chunks"])
        zarr.create_array(folder / "x", data=samples, **options)
        return hr.Zarr(self.root(folder / "x"))

    def root(self, folder):
        return folder


class TestFormat3(ZarrContract):
    options = {}


class TestFormat2(ZarrContract):
    options = {"zarr_format": 2}


class TestShards(ZarrContract):
    options = {"shards": True}


class TestShardsBehindAStorage(TestShards):
    def root(self, folder):
        return FarFolder(folder)


class TestFormat2BehindAStorage(TestFormat2):
    def root(self, folder):
        return FarFolder(folder)


X = np.arange(10 * 6, dtype=np.float32).reshape(10, 2, 3)
KINDS = {
    "format 3": {},
    "format 2": {"zarr_format": 2},
    "shards": {"shards": (8, 2, 4)},
    "raw": {"compressors": None},
}
EVERY_KIND = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
EVERY_FORMAT = pytest.mark.parametrize("zarr_format", [2, 3])


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data.zarr"


def create(root, name=None, data=X, chunks=(4, 2, 2), **options):
    return zarr.create_array(root, name=name, data=data, chunks=chunks[: data.ndim], **options)


def group_of(root, zarr_format, **arrays):
    group = zarr.create_group(root, zarr_format=zarr_format)
    for name, array in arrays.items():
        create(root, name, array, zarr_format=zarr_format)
    return group


def test_a_choice_behind_a_storage_that_is_not_there_is_refused(root):
    group_of(root, 3, a=X, **{"g/x": X})
    storage = FarFolder(root)
    with pytest.raises(hr.ArgumentError, match="which can't be listed, but 'd' was given"):
        hr.Zarr(storage, ["a", "d"])
    with pytest.raises(hr.ArgumentError, match="name of an array, not of a group"):
        hr.Zarr(storage, ["a", "g"])


def test_an_array_has_no_others(root):
    group_of(root, 3, a=X)
    with pytest.raises(hr.ArgumentError, match=r"arrays must be left out, as .*/a' is an array"):
        hr.Zarr(root / "a", "a")


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has no such strings")
def test_strings_of_any_length_are_refused(root):
    array = np.array(["any", "string"], np.dtypes.StringDType())
    zarr.create_array(root, data=array, chunks=(2,))
    with pytest.raises(hr.ArgumentError, match="holds others, such as strings"):
        hr.Zarr(root)


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@EVERY_FORMAT
def test_a_group_behind_a_storage_needs_names_or_consolidated_metadata(root, zarr_format):
    group_of(root, zarr_format, x=X, y=np.arange(10))
    storage = FarFolder(root)
    with pytest.raises(hr.ArgumentError, match=r"can't be listed.*arrays=\['x', 'y'\]"):
        hr.Zarr(storage)
    assert (read(hr.Zarr(storage, ["y", "x"]), [3])["x"] == X[3]).all()
    zarr.consolidate_metadata(root, zarr_format=zarr_format)
    assert read(hr.Zarr(storage), [3])["y"].tolist() == [3]


@EVERY_KIND
@pytest.mark.parametrize("dtype", [">f4", ">i2", "complex128", "datetime64[s]"])
def test_every_kind_reads_every_dtype(root, options, dtype):
    if dtype.startswith("datetime") and int(zarr.__version__.split(".")[1]) < 1:
        pytest.skip("zarr knows no times before 3.1")
    array = np.arange(60).astype(dtype).reshape(10, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other libraries may not know the dtype
        create(root, data=array, **options)
        reader = hr.Zarr(root)
    assert reader.spec.dtype.isnative
    assert (read(reader, [9, 0, 4, 4]) == array[[9, 0, 4, 4]]).all()


def test_a_zip_file_is_read(tmp_path):
    path = tmp_path / "data.zarr.zip"
    store = zarr.storage.ZipStore(path, mode="w")
    create(store)
    store.close()
    reader = hr.Zarr(path)
    assert (read(reader) == X).all()
    assert (read(pickle.loads(pickle.dumps(reader))) == X).all()


def test_the_block_is_the_inner_chunk(root):
    for name, options in KINDS.items():
        create(root / name, **options)
        reader = hr.Zarr(root / name, cache_bytes=1000)
        assert (reader.block, reader.blocks_kept) == (4, 1000 // (4 * 24))
    create(root / "ones", chunks=(1, 2, 3))
    assert hr.Zarr(root / "ones").block == 1


@EVERY_KIND
@pytest.mark.parametrize("cache_bytes", [0, 100, 10**6])
def test_a_batch_fetches_each_chunk_once(root, options, cache_bytes):
    create(root, **options)
    storage = FarFolder(root)
    reader = hr.Zarr(storage, cache_bytes=cache_bytes)
    out = np.zeros((6, 2, 3), np.float32)
    indices = np.array([9, 0, 4, 1, 8, 0])
    storage.asked.clear()
    reader.read(indices, out)
    assert (out == X[indices]).all()
    assert len(storage.asked) == len(set(storage.asked)) > 0
    fetched = len(storage.asked)
    reader.read(indices, out)
    if cache_bytes == 10**6:
        assert len(storage.asked) == fetched


def test_a_shard_is_not_fetched_as_a_whole(root):
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(64, 1000), dtype=np.uint8)
    create(root, data=x, chunks=(4, 1000), shards=(64, 1000))
    storage = FarFolder(root)
    reader = hr.Zarr(storage)
    storage.asked.clear()
    reader.read(np.array([5]), np.zeros((1, 1000), np.uint8))
    asked = sum(request.stop - request.start for request in storage.asked)
    assert 4000 <= asked < 6000


@pytest.mark.fault("a chunk that is not there", "read", "zarr")
@EVERY_KIND
@pytest.mark.parametrize("wrap", [str, FarFolder], ids=["folder", "storage"])
def test_a_chunk_that_is_not_there_is_the_fill_value(root, options, wrap):
    array = zarr.create_array(
        root, shape=X.shape, dtype=X.dtype, chunks=(4, 2, 2), fill_value=7, **options
    )
    array[8:] = X[8:]
    expected = np.full_like(X, 7)
    expected[8:] = X[8:]
    assert (read(hr.Zarr(wrap(root))) == expected).all()


@pytest.mark.fault('a chunk that is not there, with `missing="error"`', "error", "zarr")
@EVERY_KIND
@pytest.mark.parametrize("wrap", [str, FarFolder], ids=["folder", "storage"])
def test_a_chunk_that_is_not_there_may_be_an_error(root, options, wrap):
    create(root, **options)
    reader = hr.Zarr(wrap(root), missing="error")
    assert (read(reader) == X).all()
    file = chunk_file(root, options)
    file.unlink()
    name = file.relative_to(root).as_posix()
    for again in (reader, pickle.loads(pickle.dumps(reader))):
        fresh = pickle.loads(pickle.dumps(again))  # which has kept no chunk
        with pytest.raises(hr.SampleNotFoundError, match=f"sample 3 .* '{name}' in") as caught:
            read(fresh, [9, 3])
        assert caught.value.index == 3
        assert (read(fresh, [9, 8]) == X[[9, 8]]).all()
    loader = hr.Loader(fresh, 10, shuffle=False, on_error="replace", max_bad_samples=8)
    with pytest.warns(hr.BadSampleWarning):
        (batch,) = list(loader)
    assert (batch[8:] == X[8:]).all()
    assert not (batch == 0).all((1, 2))[1:].any(), "a fill value in place of another sample"


@pytest.mark.parametrize("wrap", [str, FarFolder], ids=["folder", "storage"])
@pytest.mark.parametrize("at_start", [False, True], ids=["index at the end", "at the start"])
def test_a_chunk_that_is_not_there_within_a_shard_may_be_an_error(root, wrap, at_start):
    """Of a shard that zarr wrote, in whose index one chunk is marked as missing."""
    create(root, shards={"shape": (8, 2, 4), "index_location": "start" if at_start else "end"})
    reader = hr.Zarr(wrap(root), missing="error")
    assert (read(reader) == X).all()
    file = chunk_file(root, {"shards": True})
    data = bytearray(file.read_bytes())
    index = memoryview(data)[: 16 * 4] if at_start else memoryview(data)[-16 * 4 - 4 : -4]
    index[16 * 3 : 16 * 4] = b"\xff" * 16  # chunk (1, 0, 1)
    checksum = crc32c(bytes(index)).to_bytes(4, "little")
    data[16 * 4 : 16 * 4 + 4] = checksum if at_start else data[16 * 4 : 16 * 4 + 4]
    data[-4:] = data[-4:] if at_start else checksum
    file.write_bytes(data)
    fresh = pickle.loads(pickle.dumps(reader))  # which has kept no chunk
    said = r"sample 5 does not exist: there is no chunk \(1, 0, 1\) in the shard 'c/0/0/0'"
    with pytest.raises(hr.SampleNotFoundError, match=said) as caught:
        read(fresh, [9, 3, 5])
    assert caught.value.index == 5
    assert (read(fresh, [9, 3]) == X[[9, 3]]).all()
    assert not read(hr.Zarr(wrap(root)), [5])[0, :, 2].any()  # which zarr fills


def test_what_is_missing_must_be_one_of_two(root):
    create(root)
    chunk_file(root, {}).unlink()
    for missing in (None, "fill"):
        assert not read(hr.open(root, missing=missing), [3])[0, 0, 0]
    with pytest.raises(hr.SampleNotFoundError):
        read(hr.open(root, missing="error"), [3])
    with pytest.raises(hr.ArgumentError, match="missing must be 'fill' or 'error', but 'zero'"):
        hr.Zarr(root, missing="zero")


@pytest.mark.skipif(os.name != "posix", reason="files behave so on POSIX")
@pytest.mark.parametrize("instead", ["a folder", "a file in place of its folder"])
def test_what_is_there_and_no_chunk_is_not_the_fill_value(root, instead):
    create(root)
    file = chunk_file(root, {})
    if instead == "a folder":
        file.unlink()
        file.mkdir()
    else:
        shutil.rmtree(file.parent)
        file.parent.write_bytes(b"")
    with pytest.raises(hr.StorageError, match=r"c/0/0/[01].*directory") as caught:
        read(hr.Zarr(root), [9, 3])
    assert "headrace: while reading sample 3" in caught.value.__notes__
    assert (read(hr.Zarr(root), [9]) == X[9]).all()


def chunk_file(root, options):
    """The file of the first samples of the first chunks."""
    return root / ("0.0.0" if options.get("zarr_format") == 2 else "c/0/0/0")


@EVERY_KIND
@pytest.mark.parametrize("wrap", [str, FarFolder], ids=["folder", "storage"])
@pytest.mark.parametrize("damage", ["cut", "emptied"])
def test_a_damaged_chunk_is_an_error_that_names_file_and_sample(root, options, wrap, damage):
    create(root, **options)
    file = chunk_file(root, options)
    data = file.read_bytes()
    file.write_bytes(data[:-1] if damage == "cut" else b"")
    reader = hr.Zarr(wrap(root))
    name = file.relative_to(root).as_posix()
    with pytest.raises(hr.SampleFormatError, match=f"sample 3 .*'{name}'") as caught:
        read(reader, [9, 3])
    assert caught.value.index == 3
    assert (read(reader, [9, 8]) == X[[9, 8]]).all()


def test_a_flipped_byte_is_found_where_there_is_a_checksum(root):
    create(root, compressors=[zarr.codecs.ZstdCodec(checksum=True)])
    file = chunk_file(root, {})
    data = bytearray(file.read_bytes())
    data[-6] ^= 1
    file.write_bytes(data)
    with pytest.raises(hr.SampleFormatError, match="sample 0"):
        read(hr.Zarr(root), [9, 0])


class Failing(FarFolder):
    broken = None

    def fetch(self, requests):
        for position, request in enumerate(requests):
            if request.name == self.broken:
                raise hr.StorageError.at(position, f"{request} is out of reach")
        return super().fetch(requests)


def test_a_failing_storage_is_not_a_missing_chunk(root):
    create(root)
    storage = Failing(root)
    reader = hr.Zarr(storage)
    storage.broken = "c/1/0/0"
    with pytest.raises(hr.StorageError, match="'c/1/0/0' is out of reach") as caught:
        read(reader, [9, 5])
    assert "headrace: while reading sample 5" in caught.value.__notes__
    storage.broken = None
    assert (read(reader) == X).all()
    storage.broken = "zarr.json"
    with pytest.raises(hr.StorageError, match=r"'zarr\.json' is out of reach"):
        hr.Zarr(storage)


class Listed(FarFolder):
    """One that knows the size that each file must have, as with a manifest."""

    def __init__(self, root):
        super().__init__(root)
        self.sizes = {name: super(Listed, self).size(name) for name in self.names()}

    def size(self, name):
        return self.sizes[name] if name in self.sizes else super().size(name)


@pytest.mark.parametrize(("name", "sample"), [("format 3", 5), ("shards", 9)])
def test_a_chunk_that_must_be_there_but_is_not_is_an_error(root, name, sample):
    create(root, **KINDS[name])
    storage = Listed(root)
    (root / "c/1/0/0").unlink()
    with pytest.raises(hr.StorageError, match=r"though it should have \d+ bytes") as caught:
        read(hr.Zarr(storage), [1, sample])
    assert f"headrace: while reading sample {sample}" in caught.value.__notes__


def test_what_is_no_zarr_is_refused(root):
    with pytest.raises(hr.ArgumentError, match="root must be an existing folder"):
        hr.Zarr(root)
    root.mkdir()
    for wrap in (str, FarFolder):
        with pytest.raises(hr.SampleNotFoundError, match="no Zarr array or group"):
            hr.Zarr(wrap(root))
        (root / "zarr.json").write_text('{"zarr_format": 3, "node_type"')
        with pytest.raises(hr.SampleFormatError, match="can't be read"):
            hr.Zarr(wrap(root))
        (root / "zarr.json").unlink()


@pytest.mark.fault("a filter or codec that is not installed", "error", "zarr")
@EVERY_FORMAT
def test_a_codec_that_is_not_installed_is_told_at_once(root, zarr_format):
    create(root, zarr_format=zarr_format)
    file = root / ("zarr.json" if zarr_format == 3 else ".zarray")
    metadata = json.loads(file.read_text())
    if zarr_format == 3:
        metadata["codecs"][-1] = {"name": "strange", "configuration": {}}
    else:
        metadata["compressor"] = {"id": "strange"}
    file.write_text(json.dumps(metadata))
    with pytest.raises(hr.MissingExtraError, match=r"'strange'.*Install") as raised:
        hr.Zarr(root)
    assert str(root) in str(raised.value)
