"""Each format from a real S3 server, also through faults: the batches are those in memory."""

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

import s3_server
from executor_fixtures import each_of
from fetching import remote
from readers_of_storages import FAR, READERS
from web_server import FaultProxy
from written import WRITTEN, expected

import headrace as hr
from headrace.readers import ArrayReader
from headrace.storage import Manifest

FAULTS = ("503", "flip", "cut", "reset", "short", "429", "wrong range")
pytestmark = pytest.mark.filterwarnings("ignore::headrace.ReadAmplificationWarning")
executor = each_of("Inline", "Threads", "Processes")


@pytest.fixture(scope="module", params=FAR)
def stored(request, s3, tmp_path_factory):
    """A format, of which six samples and their manifest are in a folder on the server."""
    folder = tmp_path_factory.mktemp("far")
    WRITTEN[request.param][0](folder)
    Manifest.of(folder, block_bytes=64).save(folder / "manifest.json")
    for file in folder.rglob("*"):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            s3_server.put(s3, f"far-{request.param}/{name}", file.read_bytes())
    return request.param


def every_other_time(name, before):
    """The plan of a proxy: every other request for an object meets a fault, each another one."""
    if name == "bucket" or before % 2:
        return None
    return FAULTS[(sum(name.encode()) + before // 2) % len(FAULTS)]


def is_same(batches, format_name):
    samples = hr.Loader(ArrayReader(expected(format_name)), batch_size=2, seed=3)
    return all(np.array_equal(a, b) for a, b in zip(batches, samples, strict=True))


def test_batches_are_those_in_memory(s3, stored, executor, tmp_path):
    cache = hr.Cache(tmp_path / "cache", max_bytes=2**26)
    with FaultProxy(s3, every_other_time) as proxy:
        options = {"manifest": "manifest.json", "cache": cache, "attempt_seconds": 5.0}
        reader = READERS[stored](remote(proxy.url, f"far-{stored}", **options))
        with hr.Loader(reader, batch_size=2, seed=3, executor=executor) as loader:
            assert is_same(list(loader), stored)
        assert sum(proxy.done[fault] for fault in FAULTS) > 1, "it met no faults"


def test_in_workers_of_pytorch(s3, stored):
    """They are forked from a process that has read from the server."""
    pytest.importorskip("torch", reason="needs headrace[torch]")
    reader = READERS[stored](remote(s3, f"far-{stored}"))
    loader = hr.Loader(reader, batch_size=2, seed=3)
    loader.batch(0, 0)
    taken = [batch.numpy() for batch in loader.to_torch(num_workers=2)]
    assert is_same(taken, stored)
