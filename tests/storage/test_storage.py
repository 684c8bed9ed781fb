"""Storages of others: what readers ask of one, and what is said of one that lacks it."""

import pytest
from far_folder import FarFolder

import headrace as hr
from headrace.storage.local.folder import Folder
from headrace.storage.opening import open_storage
from headrace.storage.storage import Storage
from headrace.testing import StorageContract


class TestFarFolder(StorageContract):
    """The storage that tests of readers take for one far away."""

    def make_storage(self, folder, files):
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return FarFolder(folder)


class OfBefore:
    """A storage that was written before there were `location`, `local_path` and `sizes`."""

    root = "of before"

    def fetch(self, requests):
        yield from ()

    def size(self, name):
        return 0

    def names(self, suffixes=("",)):
        return []


def test_a_storage_that_lacks_something_is_told_what():
    with pytest.raises(hr.ArgumentTypeError) as raised:
        open_storage(OfBefore())
    assert "a OfBefore was given" in str(raised.value)
    assert "It has no location and no local_path and no sizes." in str(raised.value)
    with pytest.raises(hr.ArgumentTypeError, match="no local_path"):
        hr.NpyFiles(OfBefore(), ["a"])


@pytest.mark.parametrize(
    "root", [None, 3, b"folder", object()], ids=lambda root: type(root).__name__
)
def test_what_is_no_root_at_all(root):
    with pytest.raises(hr.ArgumentTypeError, match="root must be a folder, a URL, or a headrace"):
        open_storage(root)


def test_what_is_asked_of_a_storage_is_all_of_its_protocol(tmp_path):
    """What the message of a lacking one goes by."""
    from headrace.storage import opening

    asked = {name for name in vars(Storage) if not name.startswith("_")}
    assert set(opening._METHODS) == asked
    assert isinstance(open_storage(str(tmp_path)), Folder)
    assert isinstance(open_storage(tmp_path), Folder)


def test_a_storage_of_files_of_this_machine_is_read_as_a_folder(tmp_path):
    """Also one that is no `Folder`: readers ask it where its files lie."""
    import numpy as np

    class Wrapped(FarFolder):
        def local_path(self, name=""):
            return self._folder.local_path(name)

    samples = np.arange(60, dtype=np.float32).reshape(20, 3)
    for index, sample in enumerate(samples):
        np.save(tmp_path / f"{index:02}.npy", sample)
    storage = Wrapped(tmp_path)
    out = np.empty_like(samples)
    hr.NpyFiles(storage).read(np.arange(20), out)
    assert (out == samples).all()
    assert storage.asked == [], "its bytes need not be fetched"
    np.save(tmp_path / "all.npy", samples)
    shards = hr.NpyShards(storage, ["all.npy"])
    assert shards.in_memory
    storage.asked.clear()
    shards.read(np.arange(20), out)
    assert (out == samples).all()
    assert storage.asked == []
