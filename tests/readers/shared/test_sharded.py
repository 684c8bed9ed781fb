"""Files with many samples each, tars, lines of JSON and TFRecords: their names and index files."""

import io
import os
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from far_folder import FarFolder
from reading import read
from tfrecords import record
from written import write_tar_of

import headrace as hr
from headrace.readers.access import stamps_of

N = 10


def write_tar(path, numbers):
    write_tar_of(path, {f"{number}.cls": b"%d" % number for number in numbers})


def write_lines(path, numbers):
    path.write_text("".join(f"{number}\n" for number in numbers))


def write_records(path, numbers):
    path.write_bytes(b"".join(record(b"%d" % number) for number in numbers))


class Kind(NamedTuple):
    """How a shard of numbers is written and read; and what spares that the first one is read."""

    write: Callable[..., None]
    suffix: str
    open: Callable[..., Any]
    spec: dict[str, Any] = {"spec": hr.Spec((), "int64")}


KINDS = {
    "tar": Kind(write_tar, "tar", lambda root, **more: hr.TarFiles(root, "cls", **more), {}),
    "jsonl": Kind(write_lines, "jsonl", hr.JsonLines),
    "tfrecord": Kind(
        write_records, "tfrecord", lambda root, **more: hr.TFRecords(root, decode=int, **more)
    ),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def shards(tmp_path, kind):
    """A folder of three shards with the numbers from 0 on."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard, numbers in enumerate(np.array_split(range(N), 3)):
        kind.write(folder / f"x-{shard:02}.{kind.suffix}", numbers)
    return folder


@pytest.fixture
def index(tmp_path, kind, shards):
    """Their index file, in a folder of its own."""
    (tmp_path / "index").mkdir()
    kind.open(shards).save_index(tmp_path / "index" / "all.npz")
    return tmp_path / "index" / "all.npz"


def test_shards_may_be_named(kind, shards):
    def numbers(*names):
        given = [f"{name}.{kind.suffix}" for name in names]
        return read(kind.open(shards, shards=given if len(given) > 1 else given[0])).tolist()

    assert numbers("x-02") == [7, 8, 9]
    assert numbers("x-02", "x-00") == [7, 8, 9, 0, 1, 2, 3]
    assert numbers("x-{01..02}") == [4, 5, 6, 7, 8, 9]
    assert numbers("x-{0..0}{2..2}") == [7, 8, 9]
    with pytest.raises(hr.ArgumentError, match="shards must be a pattern with ranges that go up"):
        numbers("x-{02..01}")
    with pytest.raises(hr.ArgumentError, match=r"shards\[0\] must be a name below root"):
        numbers("../x-02")
    with pytest.raises(FileNotFoundError, match=r"x-09\."):
        numbers("x-09")


def test_an_index_file_spares_reading_the_shards(kind, shards, index):
    made, far = kind.open(shards), FarFolder(shards)
    loaded = kind.open(far, index=index, **kind.spec)
    assert [request.start for request in far.asked] == [0] * (not kind.spec), "the first sample"
    assert sum(request.stop for request in far.asked) < 2000
    assert read(loaded).tolist() == list(range(N))
    assert loaded.fingerprint() == made.fingerprint()
    assert os.listdir(index.parent) == ["all.npz"]


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda path, kind: kind.write(path, range(1000)), {}, "index must be of the shards as th"),
        (lambda path, kind: path.unlink(), {}, r"x-01\."),
        (lambda path, kind: kind.write(path.with_stem("x-03"), [1]), {}, "be of the same shards"),
        (lambda path, kind: None, {"shards": "x-{00..01}"}, "index must be of the same shards"),
    ],
    ids=["longer", "gone", "one more", "fewer asked for"],
)
def test_an_index_of_other_shards_is_refused(kind, shards, index, change, options, said):
    change(shards / f"x-01.{kind.suffix}", kind)
    named = {name: f"{value}.{kind.suffix}" for name, value in options.items()}
    with pytest.raises((hr.ArgumentError, FileNotFoundError), match=said):
        kind.open(shards, index=index, **named)


def of_numpy(save):
    file = io.BytesIO()
    save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data.replace(b"x-01", b"x-0y", 1),
        lambda data: b"hello",
        lambda data: of_numpy(np.savez),
        lambda data: of_numpy(np.save),
        None,
    ],
    ids=["cut", "emptied", "flipped", "text", "another npz", "npy", "missing"],
)
def test_a_damaged_index_file_is_refused(kind, shards, index, damage):
    data = index.read_bytes()
    index.unlink()
    if damage is not None:
        index.write_bytes(damage(data))
    with pytest.raises(hr.ArgumentError, match=r"index must be .*save_index\(path\)"):
        kind.open(shards, index=index)


def test_an_index_of_another_format_is_refused(kind, shards, index):
    for other in KINDS.values():
        if other is not kind:
            with pytest.raises(hr.ArgumentError, match=r"index must be a file of save_index.*form"):
                other.open(FarFolder(shards), index=index)


def test_a_shard_that_is_cut_or_gone_later_is_an_error(kind, shards):
    reader = kind.open(shards)
    shard = shards / f"x-01.{kind.suffix}"
    os.truncate(shard, 1)
    with pytest.raises(hr.StorageError, match=r"x-01\.") as caught:
        read(reader, [0, 5])
    assert "headrace: while reading sample 5" in caught.value.__notes__
    shard.unlink()
    with pytest.raises(hr.SampleNotFoundError, match=r"sample 5 does not exist.*x-01\."):
        read(reader, [0, 5])


def test_fingerprints_and_stamps_tell_samples_apart(kind, shards):
    reader = kind.open(shards)
    names = [f"x-{{00..01}}.{kind.suffix}", f"x-{{01..02}}.{kind.suffix}"]
    others = [kind.open(shards, shards=name) for name in names]
    if kind.spec:
        others.append(kind.open(shards, version="2"))
    assert len({one.fingerprint() for one in (reader, *others)}) == 1 + len(others)
    assert pickle.loads(pickle.dumps(reader)).fingerprint() == reader.fingerprint()
    assert "n=10, shards=3" in repr(reader)
    before = stamps_of(reader, np.array([8, 2]))
    os.utime(shards / f"x-00.{kind.suffix}", ns=(0, 10**9))
    assert (stamps_of(reader, np.array([8, 2])) == before).tolist() == [True, False]
    kind.write(shards / f"x-00.{kind.suffix}", range(3))
    assert kind.open(shards).fingerprint() != reader.fingerprint()
