"""Folder: files of this machine, in whole and in part."""

import os
import pickle

import pytest

import headrace as hr
from headrace.storage import Folder, Request, Storage


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
