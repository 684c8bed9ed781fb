"""Folder: files of this machine, in whole and in part."""

import os
import pickle
import threading

import numpy as np
import pytest

import headrace as hr
from headrace.storage import Folder, Request, Storage
from headrace.storage.local import folder as folder_module
from headrace.storage.local import io_uring


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    for name in ("a.x", "b.y", ".dot.x", "sub/c.x", "sub/.hidden/d.x"):
        (tmp_path / name).write_bytes(name.encode() * 10)
    (tmp_path / "empty").touch()
    return Folder(tmp_path)


def test_is_a_storage_that_pickles_as_its_root(folder, tmp_path):
    assert isinstance(folder, Storage)
    assert folder.root == str(tmp_path)
    copy = pickle.loads(pickle.dumps(folder))
    assert copy.root == folder.root
    assert repr(copy) == f"Folder({str(tmp_path)!r})"


def test_names_are_sorted_and_leave_out_what_is_hidden(folder):
    assert folder.names() == ["a.x", "b.y", "empty", "sub/c.x"]
    assert folder.names((".x",)) == ["a.x", "sub/c.x"]
    assert folder.names((".y", "pty")) == ["b.y", "empty"]


def test_whole_files_and_parts(folder):
    data = b"sub/c.x" * 10
    requests = [
        Request("sub/c.x", *bounds)
        for bounds in ((0, None), (3, 9), (60, None), (70, 70), (70, None), (80, None))
    ] + [Request("empty")]
    found = dict(folder.fetch(requests))
    assert [bytes(found[i]) for i in range(7)] == [
        data, data[3:9], data[60:], b"", b"", b"", b""
    ]  # fmt: skip
    assert folder.size("sub/c.x") == 70


def test_missing_files_name_the_request(folder):
    with pytest.raises(hr.FileMissingError, match="nope") as raised:
        list(folder.fetch([Request("a.x"), Request("nope")]))
    assert raised.value.position == 1
    assert isinstance(raised.value, FileNotFoundError)
    with pytest.raises(hr.FileMissingError):
        folder.size("nope")


def test_a_range_past_the_end(folder):
    with pytest.raises(hr.StorageError, match=r"'a.x', bytes \[0:31\].* 30 bytes") as raised:
        list(folder.fetch([Request("b.y"), Request("a.x", 0, 31)]))
    assert raised.value.position == 1


def test_what_is_no_file(folder):
    with pytest.raises(hr.StorageError, match="sub"):
        list(folder.fetch([Request("sub")]))


def test_no_such_folder(tmp_path):
    with pytest.raises(hr.ArgumentError, match="an existing folder"):
        Folder(tmp_path / "nope")


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


def test_an_early_end_leaves_nothing_behind(many):
    folder, contents = many
    requests = [Request(f"{i:03}.x") for i in range(300)]
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for at in (0, 1, 130, 299):
        fetching = folder.fetch(requests)
        for _ in range(at + 1):
            next(fetching)
        fetching.close()
    assert_fetched(folder, requests, contents)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before + 1 + 2  # a ring and its memory maps


def test_threads_read_at_once(many):
    folder, contents = many
    failures = []

    def read(seed):
        try:
            rng = np.random.default_rng(seed)
            for _ in range(20):
                chosen = rng.integers(300, size=100)
                assert_fetched(folder, [Request(f"{i:03}.x") for i in chosen], contents)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
