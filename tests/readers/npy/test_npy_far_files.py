"""NpyFiles in a storage that is not a folder of this machine: whole files, fetched by the batch."""

import os
import re

import numpy as np
import pytest
from far_folder import FarFolder
from reading import read

import headrace as hr
from headrace.storage import Folder
from headrace.testing import ReaderContract

SAMPLE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class TestContract(ReaderContract):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        return hr.NpyFiles(FarFolder(folder))

    def sample_file(self, folder, index):
        return folder / f"sample-{index:05}.npy"


class TestContractOfMixedLayouts(TestContract):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            dtype = sample.dtype.newbyteorder("<>"[index % 2])
            stored = sample.astype(dtype, order="CF"[index // 2 % 2])
            with self.sample_file(folder, index).open("wb") as file:
                np.lib.format.write_array(file, stored, version=(1 + index % 3, 0))
        return hr.NpyFiles(FarFolder(folder))


def test_a_batch_is_asked_for_at_once(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", SAMPLE)
    storage = FarFolder(tmp_path)
    reader = hr.NpyFiles(storage)
    storage.asked.clear()
    read(reader, [2, 0, 0])
    assert [tuple(request) for request in storage.asked] == [
        ("c.npy", 0, None), ("a.npy", 0, None), ("a.npy", 0, None)
    ]  # fmt: skip


def test_ids_path_repr_and_fingerprint(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", SAMPLE)
    far = hr.NpyFiles(FarFolder(tmp_path), ["b", "a"])
    assert far.ids == ["b", "a"]
    assert far.path(0) == f"far:{tmp_path}/b.npy"
    assert repr(far) == f"NpyFiles('far:{tmp_path}', n=2, shape=(2, 3, 4), dtype=float32)"
    assert far.fingerprint() == hr.NpyFiles(tmp_path, ["b", "a"]).fingerprint()


def test_a_folder_given_as_a_storage_is_the_folder(tmp_path):
    np.save(tmp_path / "a.npy", SAMPLE)
    reader = hr.NpyFiles(Folder(tmp_path))
    assert repr(reader) == repr(hr.NpyFiles(tmp_path))
    assert reader.path(0) == str(tmp_path / "a.npy")
    assert np.array_equal(read(reader), [SAMPLE])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((2, 2), "f4"), r"its shape is \(2, 2\); expected is \(2, 3, 4\)"),
        (SAMPLE.astype("f8"), "its dtype is float64; expected is float32"),
        (np.array([None, {}], object), "it holds pickled Python objects"),
        (b"PK\3\4 and so on", "it begins with"),
    ],
)
def test_bad_file_is_named(tmp_path, content, said):
    np.save(tmp_path / "a.npy", SAMPLE)
    if isinstance(content, bytes):
        (tmp_path / "b.npy").write_bytes(content)
    else:
        np.save(tmp_path / "b.npy", content, allow_pickle=True)
    with pytest.raises(hr.SampleFormatError, match=f"'far:.*b.npy': {said}") as caught:
        read(hr.NpyFiles(FarFolder(tmp_path)))
    assert caught.value.index == 1


def test_every_cut_is_found_at_once_in_the_first_file_and_later_in_others(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", SAMPLE)
    reader = hr.NpyFiles(FarFolder(tmp_path))
    whole = (tmp_path / "b.npy").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "b.npy").write_bytes(whole[:size])
        with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*far:.*b\.npy': it ends"):
            read(reader)
        with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*b\.npy': it ends"):
            hr.NpyFiles(FarFolder(tmp_path), ["b"])


def test_what_the_storage_raises_names_the_sample(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", SAMPLE)
    reader = hr.NpyFiles(FarFolder(tmp_path))
    os.unlink(tmp_path / "b.npy")
    with pytest.raises(hr.SampleNotFoundError, match="sample 1 does not exist") as caught:
        read(reader)
    assert caught.value.index == 1
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(hr.StorageError) as other:
        read(reader)
    assert re.search(r"b\.npy", str(other.value))
    assert "sample 1" in "\n".join(other.value.__notes__)
