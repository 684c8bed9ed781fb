"""Folder: files of this machine, in whole and in part."""

import os
import pickle

import numpy as np
import pytest
from process_table import needs_proc, open_files

import headrace as hr
from headrace.storage import Folder, Request
from headrace.storage.local import folder as folder_module
from headrace.storage.local import io_uring
from headrace.testing import StorageContract


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    for name in ("a.x", "b.y", ".dot.x", "sub/c.x", "sub/.hidden/d.x"):
        (tmp_path / name).write_bytes(name.encode() * 10)
    (tmp_path / "empty").touch()
    return Folder(tmp_path)


class TestContract(StorageContract):
    @pytest.fixture(params=["together", "one by one"], autouse=True)
    def _way(self, request, monkeypatch):
        """Whether many are read in one system call, where that can be."""
        if request.param == "one by one":
            monkeypatch.setattr(folder_module, "ring_of_thread", lambda: None)

    def make_storage(self, folder, files):
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return Folder(folder)


def test_pickles_as_its_root(folder, tmp_path):
    assert folder.root == folder.local_path() == str(tmp_path)
    assert folder.location("sub/c.x") == folder.local_path("sub/c.x") == str(tmp_path / "sub/c.x")
    copy = pickle.loads(pickle.dumps(folder))
    assert repr(copy) == f"Folder({str(tmp_path)!r})"


def test_what_is_no_file(folder):
    with pytest.raises(hr.StorageError, match="sub"):
        list(folder.fetch([Request("sub")]))


def test_no_such_folder(tmp_path):
    with pytest.raises(hr.ArgumentError, match="an existing folder"):
        Folder(tmp_path / "nope")


def test_a_relative_path_that_is_not_there_tells_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hr.ArgumentError) as caught:
        Folder("nope")
    assert str(caught.value) == (
        "root must be an existing folder, but 'nope' was given. "
        f"Relative paths begin in {str(tmp_path)!r}."
    )


def test_a_link_back_is_followed_once(folder, tmp_path):
    if not hasattr(os, "symlink"):
        pytest.skip("this system has no symbolic links")
    (tmp_path / "sub" / "back").symlink_to(tmp_path)
    assert folder.names((".x",)) == ["a.x", "sub/c.x"]


@pytest.fixture(params=["together", "one by one"])
def many(request, tmp_path, monkeypatch):
    """A folder of files of 0 to 5000 bytes, and what is in them, read in each of the two ways."""
    if request.param == "one by one":
        monkeypatch.setattr(folder_module, "ring_of_thread", lambda: None)
    elif io_uring.ring_of_thread() is None:
        pytest.skip("this system has no io_uring, or forbids it")
    rng = np.random.default_rng(0)
    contents = {f"{i:03}.x": rng.bytes(17 * i) for i in range(300)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return Folder(tmp_path), contents


def assert_fetched(folder, requests, contents):
    found = {position: bytes(data) for position, data in folder.fetch(requests)}
    assert found == {
        position: contents[name][start:stop]
        for position, (name, start, stop) in enumerate(requests)
    }


@pytest.mark.parametrize("n", [1, 15, 16, 127, 128, 129, 300, 700])
def test_many_whole_files(many, n):
    folder, contents = many
    rng = np.random.default_rng(n)
    for _ in range(3):  # the first time nothing is known of their lengths
        assert_fetched(folder, [Request(f"{i:03}.x") for i in rng.integers(300, size=n)], contents)


@pytest.mark.parametrize("n", [1, 15, 16, 127, 128, 129, 700])
def test_many_parts_of_few_files(many, n):
    folder, contents = many
    rng = np.random.default_rng(n)
    for files in (1, 3, 200):
        bounds = np.sort(rng.integers(1700, size=(n, 2)), axis=1).tolist()
        names = np.sort(rng.integers(100, 100 + files, size=n))
        requests = [
            Request(f"{name:03}.x", *bound) for name, bound in zip(names, bounds, strict=True)
        ]
        assert_fetched(folder, requests, contents)


def test_parts_and_whole_files_at_once(many):
    folder, contents = many
    requests = [
        Request("200.x", 5 * i, 6 * i) if i % 3 else Request(f"{i:03}.x", i) for i in range(200)
    ]
    assert_fetched(folder, requests, contents)


def test_files_that_became_longer_or_shorter(many):
    folder, contents = many
    requests = [Request(f"{i:03}.x") for i in range(100)]
    assert_fetched(folder, requests, contents)
    rng = np.random.default_rng(1)
    for name, nbytes in {"005.x": 200_000, "006.x": 1900, "007.x": 0, "099.x": 1}.items():
        contents[name] = rng.bytes(nbytes)
        with open(folder.local_path(name), "wb") as file:
            file.write(contents[name])
    for _ in range(3):
        assert_fetched(folder, requests, contents)


def test_what_is_kept_is_not_written_to_again(many):
    folder, contents = many
    requests = [Request(f"{i:03}.x") for i in range(100, 300)]
    parts = [Request("299.x", i, i + 2000) for i in range(200)]
    for wanted in (requests, parts):
        kept = [dict(folder.fetch(wanted)) for _ in range(4)]
        for found in kept:
            for position, (name, start, stop) in enumerate(wanted):
                assert found[position] == contents[name][start:stop]


def test_one_bad_request_among_many_is_named(many):
    folder, _ = many
    whole = [Request(f"{i:03}.x") for i in range(60)]
    parts = [Request("200.x", i, i + 10) for i in range(60)]
    list(folder.fetch(whole))
    for requests, bad, error in (
        (whole, Request("nope.x"), hr.FileMissingError),
        (whole, Request("."), hr.StorageError),
        (parts, Request("200.x", 3000, 3401), hr.StorageError),
        (parts, Request("nope.x", 0, 1), hr.FileMissingError),
        (parts, Request("200.x", -1, 1), hr.StorageError),
    ):
        requests = [*requests[:40], bad, *requests[40:]]
        with pytest.raises(error) as raised:
            list(folder.fetch(requests))
        assert raised.value.position == 40
        assert bad.name in str(raised.value)


@needs_proc
def test_an_early_end_leaves_nothing_behind(many):
    folder, contents = many
    requests = [Request(f"{i:03}.x") for i in range(300)]
    for at in (0, 1, 130, 299):
        fetching = folder.fetch(requests)
        for _ in range(at + 1):
            next(fetching)
        fetching.close()
    assert_fetched(folder, requests, contents)
    assert open_files(folder.root) == []
