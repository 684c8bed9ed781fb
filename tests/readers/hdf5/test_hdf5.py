"""Hdf5: what a file may look like, and what is said of one that can't be read."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")

from reading import read

import headrace as hr
from headrace.readers.hdf5.layout import Deflated, Mapped, MappedChunks, ThroughH5py
from headrace.testing import ReaderContract

DTYPES = ("float32", "float64", "float16", "int64", "int8", "uint8", "bool", "complex64")


class Hdf5Contract(ReaderContract):
    dtypes = DTYPES

    def options(self, samples):
        """Those of most ways."""
        return {"chunks": split(samples), **self.more}

    def make_reader(self, folder, samples):
        with h5py.File(folder / "data.h5", "w") as file:
            options = self.options(samples)
            if "chunks" in options:
                options["maxshape"] = (None,) * samples.ndim  # some have axes shorter than a chunk
            file.create_dataset("x", data=samples, **options)
        reader = hr.Hdf5(folder / "data.h5")
        if samples.size:
            assert type(way(reader, "x")) is self.kind
        return reader


def way(reader, key):
    """How the dataset is read."""
    return reader._opened.get().data[key]


def split(samples):
    """Chunks of three samples that also split the samples."""
    return 3, *(max(1, -(-length // 2)) for length in samples.shape[1:])


class TestContiguous(Hdf5Contract):
    kind = Mapped

    def options(self, samples):
        return {}


class TestPlainChunks(Hdf5Contract):
    kind, more = MappedChunks, {}


class TestGzip(Hdf5Contract):
    kind = Deflated

    def options(self, samples):
        return {"chunks": (3, *(max(1, n) for n in samples.shape[1:])), "compression": "gzip"}


class TestShuffledGzipOfSplitSamples(Hdf5Contract):
    kind, more = Deflated, {"compression": "gzip", "shuffle": True}


class TestLzf(Hdf5Contract):
    kind, more = ThroughH5py, {"compression": "lzf", "fletcher32": True}


X = np.arange(10 * 6, dtype=np.float32).reshape(10, 2, 3)
WAYS = {
    "contiguous": {},
    "chunks": {"chunks": (4, 2, 2)},
    "gzip": {"chunks": (4, 2, 2), "compression": "gzip"},
    "shuffled": {"chunks": (4, 2, 3), "compression": "gzip", "shuffle": True},
    "checksums": {"chunks": (4, 2, 3), "compression": "gzip", "fletcher32": True},
    "chunks of one sample": {"chunks": (1, 2, 3), "compression": "lzf"},
}
EVERY_WAY = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.h5"


def write(path, /, mode="w", **arrays):
    with h5py.File(path, mode) as file:
        for name, array in arrays.items():
            file[name] = array


def stored(path, data=X, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=data, **options)
    return path


def test_what_has_no_axes_is_passed_over(path):
    write(path, images=X, **{"more/x": X[:, 0], "other/strings": ["any", "string"]})
    with h5py.File(path, "a") as file:
        file["more/scalar"] = 3
        file["more/nothing"] = h5py.Empty("f4")
    assert (read(hr.Hdf5(path, "more"), [3]) == X[[3], 0]).all()
    assert hr.Hdf5(path, "more").spec == hr.Hdf5(path, "/more/x").spec
    with pytest.raises(hr.ArgumentError, match="but 'more/scalar' was given"):
        hr.Hdf5(path, "more/scalar")
    with pytest.raises(hr.ArgumentError, match=r"'other/strings' in .* holds others, such as str"):
        hr.Hdf5(path)


@EVERY_WAY
@pytest.mark.parametrize(
    "dtype", [">f4", ">i2", "S3", [("a", "i1"), ("b", ">f8", (2,))], "complex128"], ids=str
)
def test_every_way_reads_every_dtype(path, options, dtype):
    array = np.zeros((10, 2, 3), dtype)
    flat = array.reshape(-1)
    if array.dtype.names:
        flat["a"], flat["b"] = np.arange(60), np.arange(120).reshape(60, 2)
    else:
        flat[:] = np.arange(60).astype(dtype)
    assert (
        read(hr.Hdf5(stored(path, array, **options)), [9, 0, 4, 4]) == array[[9, 0, 4, 4]]
    ).all()


def test_enums_and_arrays_as_elements(path):
    with h5py.File(path, "w") as file:
        enum = h5py.enum_dtype({"CAT": 0, "DOG": 1}, basetype="i1")
        file.create_dataset("enum", data=np.arange(10) % 2, dtype=enum)
        pairs = file.create_dataset("pairs", (10, 3), "(2,)f4")
        pairs[...] = np.arange(60).reshape(10, 3, 2)
    assert read(hr.Hdf5(path, "enum")).tolist() == [0, 1] * 5
    assert read(hr.Hdf5(path, "pairs"), [3]).tolist() == [[[18, 19], [20, 21], [22, 23]]]


@EVERY_WAY
def test_what_was_never_written_is_the_fill_value(path, options):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", X.shape, X.dtype, fillvalue=7, **options)
        if options:
            dataset[4:8] = X[4:8]
    expected = np.full_like(X, 7)
    if options:
        expected[4:8] = X[4:8]
    assert (read(hr.Hdf5(path)) == expected).all()


@pytest.mark.parametrize("filters", ["gzip", "shuffled"])
def test_a_chunk_that_a_filter_left_out_is_read(path, filters):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", X.shape, X.dtype, **WAYS["shuffled"])
        dataset[4:] = X[4:]
        dataset.id.write_direct_chunk((0, 0, 0), X[:4].tobytes(), filter_mask=3)
    assert (read(hr.Hdf5(path)) == X).all()


def test_chunks_at_the_edge_may_be_left_unfiltered(path):
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((4, 2, 2))
    create.set_deflate(4)
    # h5py has no name for it, but the library that it is linked with has.
    set_chunk_opts = ctypes.CDLL(h5py.h5p.__file__).H5Pset_chunk_opts
    assert set_chunk_opts(ctypes.c_int64(create.id), ctypes.c_uint(2)) >= 0
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(X.shape)
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.py_create(X.dtype), space, create)
        h5py.Dataset(made)[...] = X
    assert (read(hr.Hdf5(path)) == X).all()


@EVERY_WAY
def test_a_user_block_does_not_matter(path, options):
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=X, **options)
    assert (read(hr.Hdf5(path)) == X).all()


@pytest.mark.parametrize("name", ["chunks", "gzip"])
@pytest.mark.parametrize("part", [np.s_[:], np.s_[:, :1]], ids=["all", "part"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)], ids=str)
def test_a_dataset_may_grow_along_any_axis(path, axes, part, name):
    x = np.arange(1, 1 + 6 * 6 * 5, dtype="int16").reshape(6, 6, 5)
    expected = np.zeros_like(x)
    expected[part] = x[part]
    maxshape = [None if axis in axes else n for axis, n in enumerate(x.shape)]
    options = WAYS[name] | {"chunks": (1, 2, 2), "maxshape": maxshape}
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("x", x.shape, x.dtype, **options)[part] = x[part]
    assert (read(hr.Hdf5(path)) == expected).all()


def test_data_in_other_files_are_read(path, tmp_path):
    for name, options in WAYS.items():
        stored(tmp_path / "other.h5", **options)
        layout = h5py.VirtualLayout((10, 2, 3), "f4")
        layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "x", X.shape)
        with h5py.File(path, "w") as file:
            file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
            file.create_virtual_dataset("virtual", layout)
            raw = file.create_dataset("raw", X.shape, X.dtype, external=str(tmp_path / "raw.bin"))
            raw[...] = X
        for dataset in ("link", "virtual", "raw"):
            assert (read(hr.Hdf5(path, dataset), [8, 1]) == X[[8, 1]]).all(), (name, dataset)


def test_the_block_is_the_chunk_that_must_be_decoded(path):
    with h5py.File(path, "w") as file:
        for name, options in WAYS.items():
            file.create_dataset(name, data=X, **options)
    expected = {"contiguous": 1, "chunks": 1, "chunks of one sample": 1}
    for name in WAYS:
        reader = hr.Hdf5(path, name, cache_bytes=1000)
        assert reader.block == expected.get(name, 4)
        assert reader.in_memory == (name in ("contiguous", "chunks"))
        if reader.block == 4:
            assert reader.blocks_kept == 1000 // (4 * 24)
    assert hr.Hdf5(path).block == 4
    assert not hr.Hdf5(path).in_memory


def test_labels_in_one_chunk_do_not_make_all_samples_one_block(path):
    n = 40
    with h5py.File(path, "w") as file:
        # No chunk of it is written, so it takes no room.
        file.create_dataset("x", (n, 2**20), "u1", chunks=(4, 2**20), compression="gzip")
        file.create_dataset("y", data=np.arange(n), chunks=(n,), compression="gzip")
    reader = hr.Hdf5(path, cache_bytes=2**23)
    assert (reader.block, reader.blocks_kept) == (4, 2)
    with pytest.warns(hr.ReadAmplificationWarning, match=r"block=4"):
        hr.Loader(reader, 2)
    out = {"x": np.ones((3, 2**20), "u1"), "y": np.zeros(3, "i8")}
    reader.read(np.array([39, 0, 7]), out)
    assert out["y"].tolist() == [39, 0, 7]
    assert not out["x"].any()


@pytest.mark.parametrize("name", ["gzip", "shuffled", "checksums"])
def test_a_batch_decodes_each_chunk_once(path, monkeypatch, name):
    reader = hr.Hdf5(stored(path, **WAYS[name]), cache_bytes=0)
    kind, loaded = type(way(reader, "x")), []
    load = kind.load
    monkeypatch.setattr(kind, "load", lambda self, block: loaded.append(block) or load(self, block))
    out = np.zeros((6, 2, 3), np.float32)
    indices = np.array([9, 0, 4, 1, 8, 0])
    reader.read(indices, out)
    assert (out == X[indices]).all()
    assert loaded == [0, 1, 2]


def flipped(path, what):
    """Flips a bit in the middle of the first chunk of dataset x."""
    with h5py.File(path, "r") as file:
        info = file["x"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[info.byte_offset + what % info.size] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["gzip", "shuffled", "checksums"])
@pytest.mark.parametrize("at", [0, 20, -1, -3])
def test_a_damaged_chunk_is_an_error_that_names_file_and_sample(path, name, at):
    rng = np.random.default_rng(0)
    x = rng.integers(1000, size=(10, 4, 50))
    flipped(stored(path, x, **WAYS[name] | {"chunks": (4, 4, 50)}), at)
    reader = hr.Hdf5(path)
    with pytest.raises(hr.SampleFormatError, match=r"sample 3 .*data\.h5', dataset 'x'") as caught:
        read(reader, [7, 3, 9])
    assert caught.value.index == 3
    assert (read(reader, [7, 9, 4]) == x[[7, 9, 4]]).all()


def test_a_dtype_that_numpy_lacks_is_refused(path):
    with h5py.File(path, "w") as file:
        nine_bytes = h5py.h5t.STD_I64LE.copy()
        nine_bytes.set_size(9)
        h5py.h5d.create(file.id, b"x", nine_bytes, h5py.h5s.create_simple((3,)))
    with pytest.raises(hr.SampleFormatError, match=r"data\.h5' can't be read: .*<i9"):
        hr.Hdf5(path)


def test_damage_in_the_index_of_chunks_never_raises_anything_else(path):
    x = np.arange(96).reshape(24, 4)
    data = stored(path, x, chunks=(4, 2)).read_bytes()
    begin = data.index(b"TREE\x01")
    refused = 0
    for at in range(begin, begin + 100):
        path.unlink()
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :])
        try:
            read(hr.Hdf5(path))
        except hr.SampleFormatError:
            refused += 1
    assert refused


@EVERY_WAY
def test_a_file_that_is_cut_while_it_is_open_is_an_error(path, options):
    reader = hr.Hdf5(stored(path, **options), cache_bytes=0)
    data = path.read_bytes()
    os.truncate(path, len(data) // 2)
    with pytest.raises(hr.SampleFormatError, match=r"data\.h5'.* it has become shorter"):
        read(reader)
    path.write_bytes(data)
    assert (read(reader) == X).all()
    path.unlink()  # but what is open stays
    assert (read(reader) == X).all()


@EVERY_WAY
def test_a_file_behind_a_link_that_is_cut_while_it_is_open_is_an_error(path, options):
    target = stored(path.with_name("target.h5"), **options)
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink("target.h5", "x")
    reader = hr.Hdf5(path, "x", cache_bytes=0)
    assert (read(reader) == X).all()
    os.truncate(target, 100)
    with pytest.raises(hr.SampleFormatError, match=r"target\.h5'.* it has become shorter"):
        read(reader)


@pytest.mark.parametrize("content", [b"", b"not HDF5" * 100])
def test_what_is_no_hdf5_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(hr.SampleFormatError, match=r"data\.h5' can't be read"):
        hr.Hdf5(path)


def test_a_file_that_is_not_there_or_far_away(path):
    with pytest.raises(hr.SampleNotFoundError, match=r"data\.h5"):
        hr.Hdf5(path)
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        hr.Hdf5(path)
    with pytest.raises(hr.ArgumentError, match="path must be a file of this machine"):
        hr.Hdf5("s3://bucket/data.h5")


def write_through_a_filter(path, number, name=b""):
    """Two datasets: of chunks of a filter that is not here, and of none."""
    with h5py.File(path, "w") as file:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((2, 2))
        layout.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((4, 2))
        stored = h5py.h5d.create(file.id, name or b"x", h5py.h5t.NATIVE_UINT8, space, layout)
        stored.write_direct_chunk((0, 0), b"any bytes")
        h5py.h5d.create(file.id, b"unwritten", h5py.h5t.NATIVE_UINT8, space, layout)
        file["y"] = np.arange(4)


@pytest.mark.fault("a filter or codec that is not installed", "error", "hdf5")
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (32015, r"the HDF5 filter 32015 \(Zstandard\), .* pip install hdf5plugin"),
        (32999, r"the HDF5 filter 32999 \(of no name\), .* HDF5_PLUGIN_PATH"),
    ],
)
def test_a_filter_that_is_not_installed_is_told_at_once(path, number, said):
    if h5py.h5z.filter_avail(number):
        pytest.skip("this filter is installed")
    write_through_a_filter(path, number)
    with pytest.raises(hr.MissingExtraError, match=f"dataset 'x' needs {said}"):
        hr.Hdf5(path, "x")
    assert read(hr.Hdf5(path, "y")).tolist() == [0, 1, 2, 3]
    assert not read(hr.Hdf5(path, "unwritten")).any(), "nothing went through the filter there"


OPEN_FOR_WRITING = """
import h5py, sys
with h5py.File(sys.argv[1], "r+", libver=sys.argv[2]) as file:
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["earliest", "latest"])
def written_elsewhere(request, path):
    """A file that another process has open for writing, in an old or a new format; and that one."""
    with h5py.File(path, "w", libver=request.param) as file:
        file["x"] = np.arange(3)
    command = [sys.executable, "-c", OPEN_FOR_WRITING, path, request.param]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdout.readline() == b"open\n"
            yield path, process
        finally:
            process.kill()


@pytest.mark.fault("a file that is open for writing elsewhere", "error", "hdf5")
def test_a_file_that_is_open_for_writing_elsewhere(written_elsewhere):
    path, process = written_elsewhere
    with pytest.raises(hr.StorageError, match=r"Close it there.*HDF5_USE_FILE_LOCKING") as raised:
        hr.Hdf5(path)
    assert str(path) in str(raised.value)
    process.communicate()
    assert read(hr.Hdf5(path)).tolist() == [0, 1, 2]


def test_a_file_whose_writer_was_killed(written_elsewhere):
    """In the new format a mark stays in it; in the old one nobody knows."""
    path, process = written_elsewhere
    process.kill()
    process.wait()
    if path.read_bytes()[8] < 3:  # the version of its superblock
        assert read(hr.Hdf5(path)).tolist() == [0, 1, 2]
        return
    with pytest.raises(hr.StorageError, match=r"was killed.*h5clear --status") as raised:
        hr.Hdf5(path)
    assert str(path) in str(raised.value)
