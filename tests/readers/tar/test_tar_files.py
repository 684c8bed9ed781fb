"""TarFiles: samples in tar shards."""

import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from far_folder import FarFolder
from picklable import load_npy
from reading import read
from written import npy, write_tar_of

import headrace as hr
from headrace.readers.access import Access, access_of
from headrace.readers.shared.sharded import shards as shared_shards
from headrace.storage import Request
from headrace.testing import ReaderContract


class TestContract(ReaderContract):
    def make_reader(self, folder, samples):
        half = len(samples) // 2
        for shard, first in enumerate((0, half)):
            part = enumerate(samples[first : first + half], first)
            members = {f"{index:06}.npy": npy(sample) for index, sample in part}
            write_tar_of(folder / f"shard-{shard:03}.tar", members)
        return self.open(folder)

    def open(self, folder):
        return hr.TarFiles(folder, "npy")


class TestContractWithAnIndexFile(TestContract):
    def open(self, folder):
        path = folder / "index.npz"
        hr.TarFiles(folder, "npy").save_index(path)
        return hr.TarFiles(folder, "npy", index=path)


class TestContractFarAway(TestContract):
    def open(self, folder):
        storage = FarFolder(folder)
        reader = hr.TarFiles(storage, ["npy"])
        storage.asked.clear()
        return reader


N = 23
IMAGES = np.random.default_rng(0).random((N, 3, 4)).astype(np.float32)


def members(indices, long_name=""):
    """Samples of an image, a class and what nobody asked for."""
    return {
        name: data
        for i in indices
        for name, data in {
            f"./part.{i % 2}/{long_name}{i:03}.image.npy": npy(IMAGES[i]),
            f"./part.{i % 2}/{long_name}{i:03}.CLS": f"{i}\n".encode(),
            f"./part.{i % 2}/{long_name}{i:03}.json": json.dumps({"half": i / 2}).encode(),
        }.items()
    }


@pytest.fixture
def shards(tmp_path):
    for shard in range(3):
        write_tar_of(
            tmp_path / f"train-{shard:02}.tar", members(range(N)[shard * 9 : shard * 9 + 9])
        )
    return tmp_path


def half(data):
    return np.float32(json.loads(data)["half"])


FIELDS = {"image.npy": load_npy, "cls": int, "json": half}


@pytest.mark.parametrize("storage", [str, FarFolder], ids=["near", "far"])
def test_a_sample_with_several_fields_is_a_dict(shards, storage):
    reader = hr.TarFiles(storage(shards), FIELDS)
    assert len(reader) == N
    assert reader.ids[:2] == ["./part.0/000", "./part.1/001"]
    assert access_of(reader) == Access()
    order = np.random.default_rng(1).integers(N, size=50)
    batch = read(reader, order)
    assert list(batch) == ["image.npy", "cls", "json"]
    assert (batch["image.npy"] == IMAGES[order]).all()
    assert (batch["cls"] == order).all()
    assert batch["json"].dtype == np.float32
    assert (batch["json"] == order / 2).all()


def test_a_single_shard_may_be_the_root(shards):
    reader = hr.TarFiles(shards / "train-01.tar", "cls")
    assert read(reader).tolist() == list(range(9, 18))
    same = hr.TarFiles(shards, "cls", shards="train-01.tar")
    assert reader.fingerprint() == same.fingerprint()
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*none\.tar'"):
        hr.TarFiles(shards / "none.tar", "cls")


def test_a_field_may_have_several_extensions(tmp_path):
    write_tar_of(tmp_path / "a.tar", {"1.id": b"1", "2.index": b"2", "3.id": b"3", "3.index": b"4"})
    reader = hr.TarFiles(tmp_path, {"index;id": int})
    assert read(reader).tolist() == [1, 2, 4]


def test_what_decodes_a_field_follows_from_the_end_of_its_extension(tmp_path):
    write_tar_of(tmp_path / "a.tar", {"1.mask.npy": npy(IMAGES[0]), "1.of.cls": b"3"})
    batch = read(hr.TarFiles(tmp_path, ["mask.npy;image.npy", "of.cls"]))
    assert (batch["mask.npy"] == IMAGES[:1]).all()
    assert batch["of.cls"].tolist() == [3]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_every_form_of_tar_is_read(tmp_path, form):
    long = "" if form == tarfile.USTAR_FORMAT else "é" + "long" * 60 + "/"
    write_tar_of(tmp_path / "a.tar", members(range(N), long), format=form)
    reader = hr.TarFiles(tmp_path, FIELDS)
    batch = read(reader)
    assert (batch["image.npy"] == IMAGES).all()
    assert batch["cls"].tolist() == list(range(N))
    assert reader.ids[3] == f"./part.1/{long}003"


def test_what_is_no_sample_is_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (
            ("__meta__", tarfile.REGTYPE), ("__x__/a.cls", tarfile.REGTYPE),
            ("folder.d", tarfile.DIRTYPE), ("a.cls", tarfile.REGTYPE), ("README", tarfile.REGTYPE),
            (".hidden.cls", tarfile.REGTYPE), ("a.link", tarfile.SYMTYPE),
            ("b.cls", tarfile.REGTYPE),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type = kind
            member.size = 2 * (kind == tarfile.REGTYPE)
            tar.addfile(member, io.BytesIO(b"17") if member.size else None)
    reader = hr.TarFiles(tmp_path, "cls")
    assert reader.ids == ["a", "b"]
    assert read(reader).tolist() == [17, 17]


@pytest.mark.fault("files of a sample that do not lie together", "read", "tar")
@pytest.mark.parametrize("storage", [str, FarFolder], ids=["near", "far"])
def test_files_of_a_sample_need_not_lie_together(tmp_path, storage):
    """As `tar` adds them that takes a folder as the file system lists it."""
    files = list(members(range(N)).items())
    together = hr.TarFiles(write_shards(tmp_path / "together", files), FIELDS)
    shuffled = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
    folder = write_shards(tmp_path / "apart", shuffled)
    apart = hr.TarFiles(storage(folder), FIELDS)
    assert sorted(apart.ids) == sorted(together.ids)
    order = [apart.ids.index(name) for name in together.ids]
    batch = read(apart, order)
    assert (batch["image.npy"] == IMAGES).all()
    assert batch["cls"].tolist() == list(range(N))
    apart.save_index(tmp_path / "index.npz")
    again = hr.TarFiles(folder, FIELDS, index=tmp_path / "index.npz")
    assert read(again, order)["json"].tolist() == batch["json"].tolist()


def write_shards(folder, files):
    folder.mkdir()
    write_tar_of(folder / "a.tar", files)
    return folder


def test_a_key_that_comes_again_with_all_its_files_is_another_sample(tmp_path):
    """As webdataset reads it."""
    names = ["a.cls", "a.id", "b.id", "b.cls", "a.id", "a.cls"]
    numbers = (b"%d" % number for number in range(1, 7))
    write_tar_of(tmp_path / "a.tar", list(zip(names, numbers, strict=True)))
    reader = hr.TarFiles(tmp_path, ["cls", "id"])
    assert reader.ids == ["a", "b", "a"]
    batch = read(reader)
    assert (batch["cls"].tolist(), batch["id"].tolist()) == ([1, 4, 6], [2, 3, 5])


# In a process of its own, as webdataset leaves files open.
WEBDATASET = """
import pathlib, sys
import numpy as np
import webdataset as wds

folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
with wds.ShardWriter(str(folder / "train-%06d.tar"), maxcount=7, verbose=0) as writer:
    for i, image in enumerate(images):
        writer.write({"__key__": f"some/{i:04}", "npy": image, "cls": i * 3})
shards = sorted(map(str, folder.glob("*.tar")))
samples = list(wds.WebDataset(shards, shardshuffle=False).decode())
np.savez(
    folder / "read.npz",
    npy=[sample["npy"] for sample in samples],
    cls=[sample["cls"] for sample in samples],
    keys=[sample["__key__"] for sample in samples],
)
"""


def test_as_webdataset_writes_and_reads(tmp_path):
    if importlib.util.find_spec("webdataset") is None:
        pytest.skip("compares with what webdataset reads")
    np.save(tmp_path / "images.npy", IMAGES)
    subprocess.run([sys.executable, "-c", WEBDATASET, tmp_path], check=True, timeout=300)
    theirs = np.load(tmp_path / "read.npz")
    reader = hr.TarFiles(tmp_path, ["npy", "cls"], shards="train-{000000..000003}.tar")
    assert reader.ids == theirs["keys"].tolist()
    batch = read(reader)
    assert (batch["npy"] == theirs["npy"]).all()
    assert (batch["npy"] == IMAGES).all()
    assert (batch["cls"] == theirs["cls"]).all()
    theirs.close()


def test_neighbours_are_read_together(shards):
    far = FarFolder(shards)
    reader = hr.TarFiles(far, FIELDS)
    far.asked.clear()
    read(reader, [9, 10, 11, 10, 2, 20])
    assert [request.name for request in far.asked] == [f"train-0{i}.tar" for i in range(3)]
    whole = sum((shards / request.name).stat().st_size for request in far.asked)
    assert sum(request.stop - request.start for request in far.asked) < whole


def test_what_is_read_together_is_bounded(tmp_path):
    large = np.random.default_rng(0).integers(256, size=(12, 2**21), dtype=np.uint8)
    write_tar_of(tmp_path / "a.tar", {f"{i:02}.npy": npy(row) for i, row in enumerate(large)})
    far = FarFolder(tmp_path)
    reader = hr.TarFiles(far, "npy")
    far.asked.clear()
    assert (read(reader) == large).all()
    assert len(far.asked) == 4
    assert max(request.stop - request.start for request in far.asked) <= 2**23
    far.asked.clear()
    read(reader, [0, 5, 6, 11])
    assert len(far.asked) == 3


def test_headers_far_away_are_read_in_large_pieces(shards, monkeypatch):
    far = FarFolder(shards)
    hr.TarFiles(far, "cls")
    scanning = sorted(request for request in far.asked if request.start == 0)
    assert scanning == [
        Request(f"train-0{i}.tar", 0, (shards / f"train-0{i}.tar").stat().st_size) for i in range(3)
    ]
    monkeypatch.setattr(shared_shards, "_READ_AHEAD_BYTES", 700)
    assert read(hr.TarFiles(far, "cls")).tolist() == list(range(N))


def test_an_index_of_another_shard_is_refused(shards, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "all.npz"
    hr.TarFiles(shards, "cls").save_index(path)
    shard = shards / "train-01.tar"
    size = shard.stat().st_size
    write_tar_of(shard, members(range(N)[17:8:-1]))
    assert shard.stat().st_size == size
    with pytest.raises(hr.SampleFormatError, match=r"sample 9 can't be read.*its header is not"):
        read(hr.TarFiles(shards, "cls", index=path))


def test_an_index_file_that_points_elsewhere_is_refused(shards, tmp_path):
    reader = hr.TarFiles(shards, "cls")
    for name, value in {
        "start": reader._index.start + 10**7,
        "first": reader._index.first[:-1],
        "extension": reader._index.extension + 9,
        "nbytes": reader._index.nbytes[:-1],
    }.items():
        reader._index._replace(**{name: value}).save(tmp_path / "index.npz")
        with pytest.raises(ValueError, match="do not fit together"):
            hr.TarFiles(shards, "cls", index=tmp_path / "index.npz")


def tar_of(mode, *names):
    """The bytes of a tar of empty files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return file.getvalue()


MEMBER = 512 + 512  # of 3 x 4 floats and their header


@pytest.mark.parametrize("storage", [str, FarFolder], ids=["near", "far"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: 3 * MEMBER + 600], "unexpected end of data"),
        (lambda data: data[: 3 * MEMBER], "no header and no mark of its end"),
        (lambda data: data[: 2 * MEMBER + 100], "no header and no mark of its end"),
        (lambda data: data[: 2 * MEMBER] + b"?" * MEMBER * 3, "no header and no mark of its end"),
        (lambda data: b"", "empty file"),
        (lambda data: b"?" * len(data), "can't be indexed"),
        (lambda data: tar_of("w:gz"), "compressed with gzip"),
        (lambda data: tar_of("w:bz2"), "compressed with bzip2"),
        (lambda data: tar_of("w", "a.cls", "a.cls"), "sample 'a' has two files with the exten"),
    ],
    ids=["in data", "between members", "in a header", "header", "emptied", "overwritten", "gzip",
         "bzip2", "twice"],
)  # fmt: skip
def test_a_damaged_shard_is_an_error(tmp_path, storage, damage, message):
    path = tmp_path / "a.tar"
    write_tar_of(path, {f"{i}.npy": npy(IMAGES[i]) for i in range(4)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=message) as caught:
        hr.TarFiles(storage(tmp_path), "npy")
    assert "a.tar" in str(caught.value)


def claiming(name, nbytes):
    """The header of a member of so many bytes, as GNU's tar writes what octal digits can't."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (nbytes % 256**12 | 1 << 95).to_bytes(12, "big")
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    return bytes(header)


@pytest.mark.parametrize("nbytes", [-(2**40), -513, -512, 2**40, 2**62, 2**63 - 100, 2**80])
@pytest.mark.parametrize("name", ["b.cls", ".b"])
def test_a_member_that_can_not_be_so_long_is_damage(tmp_path, name, nbytes):
    """Also if it is no sample; one that went back to itself would never end."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.cls"))
        start = file.getvalue()[:512]
    (tmp_path / "a.tar").write_bytes(start + claiming(name, nbytes) + bytes(1024))
    with pytest.raises(hr.SampleFormatError, match=r"a\.tar.*(of so many|end of data)"):
        hr.TarFiles(tmp_path, "cls")


def not_a_number(data):
    return {"a": data}


def failing(data):
    if data == b"2":
        raise KeyError("two")
    return int(data)


def lengthening(data):
    return np.zeros(1 + int(data), np.float32)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (failing, r"sample 2 can't be read: 'c' in .*a\.tar': 'cls': KeyError: 'two'"),
        (lengthening, r"sample 1 .*it has shape \(2,\) and dtype float32; expected are \(1,\)"),
        (not_a_number, "sample 0 .*it became Python objects"),
    ],
)
def test_a_sample_that_can_not_be_decoded_is_named(tmp_path, function, message):
    write_tar_of(tmp_path / "a.tar", {"a.cls": b"0", "b.cls": b"1", "c.cls": b"2", "d.cls": b"3"})
    with pytest.raises(hr.SampleFormatError, match=message) as caught:
        read(hr.TarFiles(tmp_path, {"cls": function}))
    assert caught.value.index == int(re.match(r"sample (\d)", str(caught.value))[1])


def test_a_sample_without_a_field_is_named(tmp_path):
    write_tar_of(tmp_path / "a.tar", {"a.cls": b"0", "a.id": b"0", "b.cls": b"1", "c.id": b"2"})
    reader = hr.TarFiles(tmp_path, ["cls", "id"])
    said = r"sample 1 .*no file with the extension 'id', but 'cls'; 1 of 3 samples have none"
    with pytest.raises(hr.SampleFormatError, match=said):
        read(reader, [0, 1])
    assert read(reader, [0, 0])["id"].tolist() == [0, 0]
    said = r"which are cls \(2\), id \(2\) in 3 samples, but 'npy' was given"
    with pytest.raises(hr.ArgumentError, match=said):
        hr.TarFiles(tmp_path, "npy")


def test_the_first_sample_may_lack_a_field(tmp_path):
    write_tar_of(tmp_path / "a.tar", {"0.cls": b"7", "1.id": b"3", "2.cls": b"8", "2.id": b"4"})
    files = hr.TarFiles(tmp_path, ["cls", "id"])
    out = {"cls": np.zeros(1, "i8"), "id": np.zeros(1, "i8")}
    files.read(np.array([2]), out)
    assert (out["cls"].tolist(), out["id"].tolist()) == ([8], [4])
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*no file with the extension 'id'"):
        files.read(np.array([0]), out)
    write_tar_of(tmp_path / "a.tar", {"0.cls": b"7", "1.id": b"3"})
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*no file with the extension 'id'"):
        hr.TarFiles(tmp_path, ["cls", "id"])


def test_damaged_npy_files_are_named(tmp_path):
    good = npy(IMAGES[0])
    bad = {"b": good[:-1], "c": b"", "d": good[:20], "e": b"?" * len(good), "f": npy(IMAGES[0].T)}
    write_tar_of(tmp_path / "a.tar", {"a.npy": good} | {f"{k}.npy": v for k, v in bad.items()})
    reader = hr.TarFiles(tmp_path, "npy")
    for index in range(1, 6):
        with pytest.raises(hr.SampleFormatError, match=rf"sample {index} can't be read"):
            read(reader, [0, index])


def test_a_root_without_samples(tmp_path):
    with pytest.raises(ValueError, match=r"root must contain \.tar files"):
        hr.TarFiles(tmp_path, "cls")
    write_tar_of(tmp_path / "a.tar", {"README": b"no extension"})
    with pytest.raises(ValueError, match="shards must hold samples"):
        hr.TarFiles(tmp_path, "cls")


def test_an_empty_shard_adds_nothing(shards):
    write_tar_of(shards / "train-01b.tar", {})
    assert read(hr.TarFiles(shards, "cls")).tolist() == list(range(N))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ("jpg", ValueError, "fields must say what decodes 'jpg'.*hr.ImageDecoder"),
        ([], ValueError, "one or more different extensions"),
        (["cls", "cls;id"], ValueError, "fields must say what decodes 'cls;id'"),
        ({"cls": int, "CLS;id": int}, ValueError, "one or more different extensions"),
        ({"cls;": int}, ValueError, "fields must be extensions"),
        ({"cls": 3}, TypeError, r"fields\['cls'\] must be a function"),
        (3, TypeError, "fields"),
    ],
    ids=str,
)
def test_fields_are_checked(shards, fields, error, message):
    with pytest.raises(error, match=message):
        hr.TarFiles(shards, fields)


def test_fingerprints_tell_fields_apart(shards):
    fields = ["cls", ["cls"], ["cls", "image.npy"], {"json": half}]
    assert len({hr.TarFiles(shards, each).fingerprint() for each in fields}) == 3
