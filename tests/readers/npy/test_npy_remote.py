"""The .npy and .npz readers behind a URL, from a web server on loopback."""

import pickle

import numpy as np
import pytest

pytest.importorskip("obstore", reason="needs headrace[remote]")

from reading import read
from web_server import FileServer

import headrace as hr


@pytest.fixture
def server(tmp_path):
    with FileServer(tmp_path) as server:
        yield server


def test_url_of_one_file(server, tmp_path):
    np.save(tmp_path / "big.npy", np.arange(6).reshape(3, 2))
    reader = hr.NpyFile(f"{server.url}/big.npy")
    assert (len(reader), reader.in_memory) == (3, False)
    for one in (reader, pickle.loads(pickle.dumps(reader))):
        assert read(one, [2, 0]).tolist() == [[4, 5], [0, 1]]
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
