"""What the command line finds at a path, and what it says where that is not clear."""

import http.server
import threading

import pytest

import headrace as hr
from headrace.cli import opening


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.npy", "b/c.npy", "labels.json"], "npy-files"),
        (["shard-00000.npy", "shard-00001.npy", "manifest.json"], "npy-shards"),
        (["cat/1.JPG", "dog/2.png"], "images"),
        (["part-0.parquet", "_manifest.json"], "parquet"),
        (["zarr.json", "c/0"], "zarr"),
        ([".zarray", "0"], "zarr"),
        ([".zgroup", "x/.zarray"], "zarr"),
    ],
)
def test_a_folder_by_what_it_holds(tmp_path, names, expected):
    for name in names:
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert opening.guess_format(str(tmp_path / "folder")).name == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.npy", "npy"), ("x.H5", "hdf5"), ("x.feather", "arrow"), ("x.tar", "tar")],
)
def test_a_file_by_its_name(tmp_path, name, expected):
    (tmp_path / name).touch()
    assert opening.guess_format(str(tmp_path / name)).name == expected
    assert opening.guess_format(f"https://example.org/data/{name}").name == expected


@pytest.mark.parametrize("names", [["a.txt"], [], ["a.npy", "b.jpg"], ["a.h5"]])
def test_a_folder_that_is_not_clear(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(hr.ArgumentError, match=r"is not clear.*--format.*npy-files"):
        opening.guess_format(str(tmp_path))


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (418, hr.StorageError, "'manifest.json' .* HTTP status 418"),
        # So stores answer who asks for what is not there, but may not list what there is.
        (403, hr.ArgumentError, "is not clear, as its files can't be listed"),
    ],
)
def test_a_failure_does_not_count_as_nothing_there(status, error, message):
    pytest.importorskip("obstore", reason="needs headrace[remote]")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            with pytest.raises(error, match=message):
                opening.guess_format(f"http://127.0.0.1:{server.server_port}/x")
        finally:
            server.shutdown()
