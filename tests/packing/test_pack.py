"""`headrace.packing.pack`: what it writes, what it refuses, and how it goes on."""

import json
import os

import numpy as np
import pytest
from other_python import printed_by
from packed import (
    SMALL,
    Interrupted,
    assert_manifests_hold,
    columns_in,
    interrupt_at,
    needed,
)
from process_table import needs_proc

import headrace as hr
from headrace.packing import Shape, pack
from headrace.readers.array import ArrayReader


@pytest.mark.parametrize("name", ["x.npy", "x", "x.zarr", "x.parquet"])
@pytest.mark.parametrize("shape", [Shape(), SMALL, Shape(block_bytes=1, compressed=False)])
def test_each_format_holds_the_samples_in_order(tmp_path, samples, source, name, shape):
    needed(name)
    reader = hr.NpyFiles(source)
    packed = pack(reader, tmp_path / name, shape=shape, texts={"ids": reader.ids})
    assert packed.samples == 25
    columns = columns_in(tmp_path / name)
    assert list(columns) == ["sample"]
    assert columns["sample"].tolist() == samples.tolist()
    ids = tmp_path / ("x.ids.json" if name == "x.npy" else f"{name}.ids.json")
    assert json.loads(ids.read_text()) == [f"id-{index:02}" for index in range(25)]
    assert_manifests_hold(tmp_path / name)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["x.npy", "x", "x.zarr", "x.parquet"])
def test_labels_are_stored_with_the_samples(tmp_path, samples, source, name):
    needed(name)
    labels = hr.Labels(np.arange(25) % 7)
    pack(hr.NpyFiles(source), tmp_path / name, labels=labels, shape=SMALL)
    columns = columns_in(tmp_path / name)
    stored = columns["label"] if "label" in columns else np.load(tmp_path / "x.labels.npy")
    assert stored.tolist() == [index % 7 for index in range(25)]
    assert columns["sample"].tolist() == samples.tolist()
    assert_manifests_hold(tmp_path / name)


@pytest.mark.parametrize(
    "dtype", ["uint8", "bool", "int64", "float16", "float64", "S5", "datetime64[us]", "complex64"]
)
@pytest.mark.parametrize("name", ["x.npy", "x.zarr", "x.parquet"])
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_dtypes(tmp_path, dtype, name):
    needed(name)
    rows = np.arange(24).reshape(6, 2, 2).astype(dtype)
    if (name, dtype) == ("x.parquet", "complex64"):
        with pytest.raises(hr.ArgumentError, match=r"complex64.*Pack to \.npy"):
            pack(ArrayReader(rows), tmp_path / name)
        return
    pack(ArrayReader(rows), tmp_path / name, shape=SMALL)
    stored = columns_in(tmp_path / name)["sample"]
    if name == "x.parquet" and dtype == "S5":
        stored = np.array([one.rstrip(b"\0") for one in stored.reshape(-1)]).reshape(rows.shape)
    assert stored.tolist() == rows.tolist()


@pytest.mark.parametrize("name", ["x.zarr", "x.parquet"])
@pytest.mark.parametrize(
    "rows", [np.zeros(6, "f4,i2"), np.zeros((6, 0)), np.zeros((6, 3, 0)), np.full(6, "a")]
)
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_what_a_format_can_not_hold_is_refused_at_once(tmp_path, rows, name):
    needed(name)
    if (name, rows.dtype.kind) == ("x.zarr", "U"):
        pack(ArrayReader(rows), tmp_path / name)
        assert columns_in(tmp_path / name)["sample"].tolist() == rows.tolist()
        return
    with pytest.raises(hr.ArgumentError, match=r"can't hold 'sample'.*Pack to \.npy"):
        pack(ArrayReader(rows), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_byte_takes_no_four_in_parquet(tmp_path):
    needed("x.parquet")
    rows = np.random.default_rng(0).integers(0, 256, (4, 100, 200), np.uint8)
    for dtype in ("uint8", "int8"):
        target = tmp_path / f"{dtype}.parquet"
        packed = pack(ArrayReader(rows.view(dtype)), target, shape=Shape(compressed=False))
        assert packed.nbytes < 1.5 * rows.nbytes
        assert (columns_in(target)["sample"] == rows.view(dtype)).all()


def test_a_dangling_link_is_replaced_by_force(tmp_path, source):
    (tmp_path / "x").symlink_to("nowhere")
    packed = pack(hr.NpyFiles(source), tmp_path / "x", force=True)
    assert len(hr.NpyShards(packed.target)) == 25
    assert sorted(os.listdir(tmp_path)) == ["source", "x"]


class TestForce:
    def test_replaces_the_target_and_what_belonged_to_it(self, tmp_path, samples, source):
        (tmp_path / "x.mine.json").write_text("precious")
        labels = hr.Labels(np.arange(25))
        pack(hr.NpyFiles(source), tmp_path / "x.npy", labels=labels, texts={"ids": ["a"]})
        assert (tmp_path / "x.labels.npy").exists()
        pack(ArrayReader(samples[:3]), tmp_path / "x.npy", force=True)
        assert (np.load(tmp_path / "x.npy") == samples[:3]).all()
        # Labels of other samples would be wrong ones.
        expected = ["source", "x.mine.json", "x.npy", "x.npy.manifest.json"]
        assert sorted(os.listdir(tmp_path)) == expected

    @pytest.mark.parametrize("name", ["..", "", "precious", "x.npy/../precious"])
    def test_but_not_what_a_manifest_of_others_names(self, tmp_path, samples, name):
        (tmp_path / "x.npy").touch()
        (tmp_path / "precious").touch()
        empty = {"bytes": 0, "sha256": "", "block_bytes": 1, "crc32": []}
        manifest = {"format": 1, "files": {name: empty}}
        (tmp_path / "x.npy.manifest.json").write_text(json.dumps(manifest))
        pack(ArrayReader(samples), tmp_path / "x.npy", force=True)
        assert sorted(os.listdir(tmp_path)) == ["precious", "x.npy", "x.npy.manifest.json"]

    def test_replaces_a_folder(self, tmp_path, samples):
        pack(ArrayReader(samples), tmp_path / "x", shape=SMALL)
        pack(ArrayReader(samples[:3]), tmp_path / "x", shape=SMALL, force=True)
        assert (columns_in(tmp_path / "x")["sample"] == samples[:3]).all()


def test_two_at_once_are_refused(tmp_path, samples):
    pytest.importorskip("fcntl", reason="needs a system with flock")
    refusals = []

    def pack_too(count):
        with pytest.raises(hr.ArgumentError, match="another one is at work") as caught:
            pack(ArrayReader(samples), tmp_path / "x.npy")
        refusals.append(caught.value)

    pack(ArrayReader(samples), tmp_path / "x.npy", progress=pack_too)
    assert refusals
    assert (np.load(tmp_path / "x.npy") == samples).all()


def test_more_than_the_disk_has_is_refused_at_once(tmp_path):
    class Vast:
        spec = hr.Spec((2**40,), np.dtype(np.uint8))

        def __len__(self):
            return 2**20

        def read(self, indices, out):
            raise AssertionError("nothing should be read")

    with pytest.raises(hr.StorageError, match=r"it takes \d+ bytes more, and \d+ are free"):
        pack(Vast(), tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


@needs_proc
def test_memory_is_bounded(tmp_path):
    script = """
import sys
import numpy as np
import headrace as hr
from headrace.packing import pack
from pathlib import Path

class Rows:
    spec = hr.Spec((2**20,), np.dtype(np.uint8))
    def __len__(self):
        return 512
    def read(self, indices, out):
        out[...] = (indices % 251)[:, None]

def peak():  # not ru_maxrss, which a process inherits from the one that started it
    with open("/proc/self/status") as status:
        return 1024 * int(status.read().split("VmHWM:")[1].split()[0])

before = peak()
pack(Rows(), Path(sys.argv[1]), workers=2)
print(peak() - before)
"""
    printed = printed_by(script, tmp_path / "x.npy")
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert (rows[:, -1] == np.arange(512) % 251).all()
    assert int(printed) < rows.nbytes // 2


def test_a_subset_is_a_source_and_another_one_does_not_go_on_with_it(tmp_path):
    rows = np.arange(40.0).reshape(20, 2)
    subset = hr.Subset((rows, np.arange(20)), [3, 1, 7])
    packed = pack(subset, tmp_path / "x.npy", label_field="1")
    assert packed.samples == 3
    assert np.array_equal(np.load(tmp_path / "x.npy"), rows[[3, 1, 7]])
    assert np.load(tmp_path / "x.labels.npy").tolist() == [3, 1, 7]

    with pytest.raises(Interrupted):
        pack(hr.Subset(rows, [3, 1, 7]), tmp_path / "y.npy", progress=interrupt_at(0))
    with pytest.raises(hr.ArgumentError, match="has another source"):
        pack(hr.Subset(rows, [3, 1, 8]), tmp_path / "y.npy")
    assert pack(hr.Subset(rows, [3, 1, 7]), tmp_path / "y.npy").samples == 3
