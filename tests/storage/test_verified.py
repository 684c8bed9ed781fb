"""Verified: files compared with a manifest as they are read, in every format and any storage."""

import pickle

import numpy as np
import pytest
from far_folder import FarFolder
from readers_of_storages import READERS
from written import WRITTEN, N, expected

import headrace as hr
from headrace.storage import Folder, Manifest, Request
from headrace.testing import StorageContract

BLOCK_BYTES = 64  # so that the files of the tests have several


class TestContract(StorageContract):
    root = Folder

    def make_storage(self, folder, files):
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        manifest = Manifest.of(folder, files, block_bytes=BLOCK_BYTES)
        manifest.save(folder / "manifest.json")
        return hr.Verified(self.root(folder), "manifest.json")


class TestContractOfFarFiles(TestContract):
    root = FarFolder


def read_all(folder, format_name, **how):
    """All samples, read anew through a manifest that was made before."""
    reader = READERS[format_name](hr.Verified(folder, "manifest.json"))
    batch = hr.Loader(reader, N, shuffle=False, executor=hr.Inline(), **how).batch(0, 0)
    return np.stack(list(batch)) if isinstance(batch, hr.Ragged) else batch


@pytest.fixture
def files(tmp_path, format_name):
    """The files of six samples in the format, beside which their manifest lies."""
    WRITTEN[format_name][0](tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    Manifest.of(tmp_path, block_bytes=BLOCK_BYTES).save(tmp_path / "manifest.json")
    return files


@pytest.mark.fault("a flipped bit, where there is a manifest", "error", "every format")
def test_a_flipped_bit_is_found(tmp_path, files, format_name):
    good = read_all(tmp_path, format_name)
    if format_name != "images":
        assert good.tolist() == expected(format_name).tolist()
    found = 0
    for file in files:
        data = file.read_bytes()
        for at in np.linspace(0, len(data) - 1, 5, dtype=int):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            try:
                batch = read_all(tmp_path, format_name, on_error="replace", max_bad_samples=N)
            except hr.ChecksumError as error:
                batch, said = None, str(error)
            if batch is None:
                assert file.name in said
                found += 1
            else:  # nobody has read that
                assert batch.tolist() == good.tolist()
        file.write_bytes(data)
    assert found >= 3


@pytest.mark.fault("a file that is gone, where there is a manifest", "error", "every format")
def test_a_file_that_is_gone_is_found(tmp_path, files, format_name):
    for file in files:
        data = file.read_bytes()
        file.unlink()
        if "y" in file.parts:  # of an array that is not read
            read_all(tmp_path, format_name)
        else:
            with pytest.raises((hr.StorageError, hr.SampleNotFoundError)) as raised:
                read_all(tmp_path, format_name)
            assert file.name in str(raised.value)
        file.write_bytes(data)


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(bytes(range(200)))
        (tmp_path / "b.bin").write_bytes(bytes(100))
        Manifest.of(tmp_path, block_bytes=BLOCK_BYTES).save(tmp_path / "manifest.json")
        return tmp_path

    def test_a_part_is_read_in_whole_blocks_each_once(self, folder):
        far = FarFolder(folder)
        storage = hr.Verified(far, "manifest.json")
        far.asked.clear()
        requests = [Request("a.bin", *one) for one in [(1, 3), (130, 140), (0, 9), (60, 70)]]
        found = dict(storage.fetch(requests))
        for position, (_, start, stop) in enumerate(requests):
            assert bytes(found[position]) == bytes(range(start, stop))
        blocks = [(0, 64), (128, 192), (0, 128)]
        assert far.asked == [Request("a.bin", *block) for block in blocks]

    def test_damage_elsewhere_in_a_file_is_not_that_of_a_part(self, folder):
        data = bytearray(range(200))
        data[150] = 0
        (folder / "a.bin").write_bytes(data)
        storage = hr.Verified(folder, "manifest.json")
        assert [bytes(d) for _, d in storage.fetch([Request("a.bin", 3, 5)])] == [b"\3\4"]
        requests = [Request("b.bin"), Request("a.bin", 140, 145)]
        with pytest.raises(hr.ChecksumError, match=r"'a\.bin'.*CRC-32 .* \[128:192\]") as raised:
            list(storage.fetch(requests))
        assert raised.value.position == 1
        with pytest.raises(hr.ChecksumError, match="SHA-256"):
            list(storage.fetch([Request("a.bin")]))

    @pytest.mark.parametrize("change", [lambda data: data + b"x", lambda data: data[:-1]])
    def test_a_file_of_another_length_is_another(self, folder, change):
        (folder / "b.bin").write_bytes(change(bytes(100)))
        with pytest.raises(hr.StorageError, match=r"'b\.bin'.* 100 in the manifest"):
            list(hr.Verified(folder, "manifest.json").fetch([Request("b.bin")]))

    def test_what_the_manifest_does_not_name_is_not_read(self, folder):
        (folder / "c.bin").write_bytes(b"c")
        storage = hr.Verified(folder, "manifest.json")
        assert storage.names() == ["a.bin", "b.bin"]
        with pytest.raises(hr.FileMissingError, match=r"'c\.bin' in the manifest"):
            storage.size("c.bin")

    def test_its_pickle_does_not_grow_with_the_files(self, folder):
        sums = Manifest.of(folder)["b.bin"]
        Manifest({f"{i}": sums for i in range(9999)}).save(folder / "m")
        for kept in ("manifest.json", "m"):
            storage = hr.Verified(folder, kept)
            assert len(pickle.dumps(storage)) < 1000
        assert len(pickle.loads(pickle.dumps(storage)).names()) == 9999

    def test_a_path_is_that_of_a_file_that_was_compared(self, folder):
        storage = hr.Verified(folder, "manifest.json")
        assert storage.path("a.bin") == str(folder / "a.bin")
        (folder / "a.bin").write_bytes(bytes(200))
        with pytest.raises(hr.ChecksumError, match=r"a\.bin' is not the file"):
            storage.path("a.bin")
        with pytest.raises(hr.ArgumentError, match="of this machine"):
            hr.Verified(FarFolder(folder), "manifest.json").path("b.bin")

    def test_manifests_that_are_none(self, folder):
        (folder / "damaged.json").write_text("{")
        with pytest.raises(hr.StorageError, match="is damaged"):
            hr.Verified(folder, "damaged.json")
        with pytest.raises(hr.FileMissingError, match="nowhere"):
            hr.Verified(folder, "nowhere")
        with pytest.raises(hr.ArgumentTypeError, match="manifest must be the name of a file"):
            hr.Verified(folder, None)
