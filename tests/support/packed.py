"""Samples to pack, and what is packed, read without headrace."""

import hashlib

import numpy as np
import pytest

from headrace.packing import Shape
from headrace.storage.manifest import Manifest

SMALL = Shape(batch_bytes=96, shard_bytes=200, block_bytes=48)


class Interrupted(Exception):
    pass


def interrupt_at(count):
    """As what is told of the progress of packing: raises after so many samples."""

    def progress(samples):
        if samples >= count:
            raise Interrupted

    return progress


@pytest.fixture
def samples():
    return np.random.default_rng(0).normal(size=(25, 3, 4)).astype(np.float32)


@pytest.fixture
def source(tmp_path, samples):
    """A folder with a file for each of the samples."""
    root = tmp_path / "source"
    root.mkdir()
    for index, sample in enumerate(samples):
        np.save(root / f"id-{index:02}.npy", sample)
    return root


def needed(name):
    """Skips the test where the format of the target needs a library that is not there."""
    if name.endswith(".zarr"):
        pytest.importorskip("zarr", reason="needs headrace[zarr]")
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="needs headrace[arrow]")


def columns_in(path):
    """The columns of a packed target, read by the format's own library."""
    if path.suffix == ".npy":
        return {"sample": np.load(path)}
    if path.suffix == ".zarr":
        import zarr

        opened = zarr.open(str(path), mode="r")
        if isinstance(opened, zarr.Array):
            return {"sample": opened[...]}
        return {name: opened[name][...] for name in opened.array_keys()}
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return {name: np.array(table[name].to_pylist()) for name in table.column_names}
    return {"sample": np.concatenate([np.load(file) for file in sorted(path.glob("*.npy"))])}


def assert_manifests_hold(target):
    """Each file of the target and with it is in a manifest, with its checksums."""
    found = {}
    for manifest in [
        target.with_name(target.name + ".manifest.json"),
        target / "manifest.json",
        target / "_manifest.json",
    ]:
        if manifest.exists():
            found |= {
                manifest.parent / name: sums for name, sums in Manifest.load(manifest).items()
            }
    for path, sums in found.items():
        data = path.read_bytes()
        assert (sums.bytes, sums.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    files = target.rglob("*") if target.is_dir() else [target]
    expected = {path for path in files if path.is_file() and "manifest" not in path.name}
    assert expected <= found.keys()
