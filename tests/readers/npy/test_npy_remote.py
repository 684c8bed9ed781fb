"""The .npy and .npz readers behind a URL, from a web server on loopback."""

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from reading import read
from web_server import FaultProxy, FileServer

import headrace as hr
from headrace.testing import ReaderContract


@pytest.fixture
def server(tmp_path):
    with FileServer(tmp_path) as server:
        yield server


class BehindAUrl(ReaderContract):
    dtypes = ("float32", "int8")
    shapes = ((3, 4), ())

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    def url(self, folder):
        return f"{self.server.url}/{folder.relative_to(self.server.folder)}"


class TestNpyFiles(BehindAUrl):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        return hr.NpyFiles(self.url(folder), [f"{index:05}" for index in range(len(samples))])

    def sample_file(self, folder, index):
        return folder / f"{index:05}.npy"


class TestNpzFiles(BehindAUrl):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.savez_compressed(self.sample_file(folder, index), sample)
        return hr.NpzFiles(self.url(folder), [f"{index:05}" for index in range(len(samples))])

    def sample_file(self, folder, index):
        return folder / f"{index:05}.npz"


class TestNpyShards(BehindAUrl):
    def make_reader(self, folder, samples):
        np.save(folder / "a.npy", samples[:3])
        np.save(folder / "b.npy", samples[3:])
        return hr.NpyShards(self.url(folder), ["a.npy", "b.npy"])


class TestNpyFile(BehindAUrl):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", samples)
        return hr.NpyFile(f"{self.url(folder)}/all.npy")


def test_url_of_one_file(server, tmp_path):
    np.save(tmp_path / "big.npy", np.arange(6).reshape(3, 2))
    reader = hr.NpyFile(f"{server.url}/big.npy")
    assert (len(reader), reader.in_memory) == (3, False)
    assert read(reader, [2, 0]).tolist() == [[4, 5], [0, 1]]
    assert repr(reader).startswith(f"NpyFile('{server.url}/big.npy', n=3, ")
    with pytest.raises(hr.SampleNotFoundError, match=r"other\.npy"):
        hr.NpyFile(f"{server.url}/other.npy")


@pytest.mark.parametrize("url", ["http://localhost", "http://localhost/", "s3://bucket"])
def test_url_without_a_file_is_refused(url):
    with pytest.raises(hr.ArgumentError, match="the given URL names none"):
        hr.NpyFile(url)


def test_ids_are_asked_for_where_a_server_can_not_list(server, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(hr.HeadraceError, match="ids"):
        hr.NpyFiles(server.url)


@pytest.mark.parametrize("executor", [hr.Inline(), hr.Threads(2), hr.Processes(2)], ids=repr)
@pytest.mark.parametrize("kind", ["files", "npz", "shards", "file"])
def test_batches_are_right_through_a_server_that_fails_at_times(server, tmp_path, executor, kind):
    samples = np.arange(64 * 50, dtype=np.int32).reshape(64, 50)
    for index, sample in enumerate(samples):
        np.save(tmp_path / f"{index}.npy", sample)
        np.savez(tmp_path / f"{index}.npz", sample)
    np.save(tmp_path / "big.npy", samples)

    def plan(name, before):
        return None if before % 2 else ("503", "cut", "reset", "429")[len(name) % 4]

    with FaultProxy(server.url, plan) as proxy:
        make = {
            "files": lambda: hr.NpyFiles(proxy.url, range(64)),
            "npz": lambda: hr.NpzFiles(proxy.url, range(64)),
            "shards": lambda: hr.NpyShards(proxy.url, ["big.npy"]),
            "file": lambda: hr.NpyFile(f"{proxy.url}/big.npy"),
        }[kind]
        expected = [batch.tolist() for batch in hr.Loader(samples, batch_size=16, seed=2)]
        with hr.Loader(make(), batch_size=16, seed=2, executor=executor) as loader:
            assert [batch.tolist() for batch in loader] == expected
        assert sum(proxy.done.values()) > proxy.done[None] > 0
