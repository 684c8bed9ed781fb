"""Each format from a real S3 server, also through faults: the batches are those in memory."""

import io
import tarfile

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

import s3_server
from web_server import FaultProxy

import headrace as hr
from headrace.readers import ArrayReader
from headrace.storage import Manifest

N = 48
FAULTS = ("503", "flip", "cut", "reset", "short", "429", "wrong range")


def write_npy_files(folder, samples):
    for index, sample in enumerate(samples):
        np.save(folder / f"{index:03}.npy", sample)
    return hr.NpyFiles


def write_npz_files(folder, samples):
    for index, sample in enumerate(samples):
        np.savez_compressed(folder / f"{index:03}.npz", x=sample)
    return hr.NpzFiles


def write_npy_shards(folder, samples):
    for number, part in enumerate(np.array_split(samples, 3)):
        np.save(folder / f"{number}.npy", part)
    return hr.NpyShards


def write_images(folder, samples):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    for index, sample in enumerate(samples):
        image.fromarray(sample).save(folder / f"{index:03}.png")
    return lambda root: hr.Images(root, size=samples.shape[1:3])


def write_tar(folder, samples):
    for number, part in enumerate(np.array_split(np.arange(N), 2)):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for index in part:
                file = io.BytesIO()
                np.save(file, samples[index])
                member = tarfile.TarInfo(f"{index:03}.npy")
                member.size = len(file.getvalue())
                file.seek(0)
                tar.addfile(member, file)
    return lambda root: hr.TarFiles(root, "npy")


def write_zarr(folder, samples):
    zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    zarr.create_array(
        str(folder),
        name="x",
        data=samples,
        chunks=(4, *samples.shape[1:]),
        shards=(16, *samples.shape[1:]),
    )
    return lambda root: hr.Zarr(root, "x")


def write_parquet(folder, samples):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    import pyarrow.parquet as pq

    rows = pa.Array.from_buffers(
        pa.binary(samples[0].nbytes), N, [None, pa.py_buffer(samples.tobytes())]
    )
    pq.write_table(pa.table({"x": rows}), folder / "x.parquet", row_group_size=8)
    return lambda root: hr.Parquet(root, dtype=("uint8", samples.shape[1:]))


WRITERS = {
    name.removeprefix("write_"): function
    for name, function in list(globals().items())
    if name.startswith("write_")
}


@pytest.fixture(scope="module", params=WRITERS)
def stored(request, s3, tmp_path_factory):
    """The samples, how to make their reader of a root, and the name of the folder on the server."""
    samples = np.random.default_rng(2).integers(256, size=(N, 12, 10, 3), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("far")
    make_reader = WRITERS[request.param](folder, samples)
    Manifest.of(folder, block_bytes=4096).save(folder / "manifest.json")
    for file in folder.rglob("*"):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            s3_server.put(s3, f"far-{request.param}/{name}", file.read_bytes())
    return samples, make_reader, f"far-{request.param}"


def remote(address, folder, **arguments):
    options = {"endpoint": address, "skip_signature": True}
    patience = {"deadline_seconds": 300.0, "attempt_seconds": 5.0}
    return hr.Remote(f"s3://bucket/{folder}", options=options, **patience, **arguments)


def every_other_time(name, before):
    """The plan of a proxy: every other request for an object meets a fault, each another one."""
    if name == "bucket" or before % 2:
        return None
    return FAULTS[(sum(name.encode()) + before // 2) % len(FAULTS)]


def is_same(batches, samples):
    expected = hr.Loader(ArrayReader(samples), batch_size=8, seed=3)
    return all(np.array_equal(a, b) for a, b in zip(batches, expected, strict=True))


@pytest.mark.parametrize(
    "executor", [hr.Inline(), hr.Threads(2), hr.Processes(2)], ids=lambda e: type(e).__name__
)
@pytest.mark.filterwarnings("ignore::headrace.ReadAmplificationWarning")
def test_batches_are_those_in_memory(s3, stored, executor, tmp_path):
    samples, make_reader, folder = stored
    with FaultProxy(s3, every_other_time) as proxy:
        cache = hr.Cache(tmp_path / "cache", max_bytes=2**26)
        root = remote(proxy.url, folder, manifest="manifest.json", cache=cache)
        with hr.Loader(make_reader(root), batch_size=8, seed=3, executor=executor) as loader:
            assert is_same(list(loader), samples)
        assert sum(proxy.done.values()) > 3, "it met no faults"


@pytest.mark.filterwarnings("ignore::headrace.ReadAmplificationWarning")
def test_in_workers_of_pytorch(s3, stored):
    """They are forked from a process that has read from the server."""
    pytest.importorskip("torch", reason="needs headrace[torch]")
    samples, make_reader, folder = stored
    loader = hr.Loader(make_reader(remote(s3, folder)), batch_size=8, seed=3)
    loader.batch(0, 0)
    taken = [batch.numpy() for batch in loader.to_torch(num_workers=2)]
    assert is_same(taken, samples)
