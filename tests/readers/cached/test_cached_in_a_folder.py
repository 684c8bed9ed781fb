"""Samples that are kept in a folder: what another run takes, and what it does not."""

import errno
import fcntl
import os
import pickle

import numpy as np
import pytest
from cached_samples import SAMPLES, Logged, N, doubled, logged
from far_folder import FarFolder
from picklable import load_npy
from reading import read
from tfrecords import example, record
from written import WRITTEN

import headrace as hr
from headrace.readers.access import stamps_of
from headrace.readers.cached import file_rows, kept, layout
from headrace.readers.cached.key import key_of
from headrace.readers.cached.mapped import Mapped
from headrace.storage import Manifest
from headrace.testing.readers import with_frozen_buffers


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "samples"
    root.mkdir()
    for i, sample in enumerate(SAMPLES):
        np.save(root / f"{i:02}.npy", sample)
    return root


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def change(file, sample):
    """Another sample, and a time of last change that is surely another."""
    time = os.stat(file).st_mtime_ns
    np.save(file, sample)
    os.utime(file, ns=(time + 10**9, time + 10**9))


def stats(cached):
    done = cached.stats()
    return done.hits, done.misses, done.changed


def test_another_run_reads_nothing_again(log, folder):
    read(hr.Cached(Logged(log), folder), range(0, N, 2))
    read(hr.Cached(Logged(log), folder))
    again = hr.Cached(Logged(log), folder)
    assert np.array_equal(read(again), SAMPLES)
    assert logged(log) == list(range(N))
    assert stats(again) == (N, 0, 0)
    assert len(os.listdir(folder)) == 1


def test_a_changed_file_is_decoded_again(root, folder):
    read(hr.Cached(hr.NpyFiles(root), folder))
    change(root / "03.npy", SAMPLES[3] + 0.5)
    expected = SAMPLES.copy()
    expected[3] += 0.5
    for done in [(N - 1, 1, 1), (N, 0, 0)]:
        cached = hr.Cached(hr.NpyFiles(root), folder)
        assert np.array_equal(read(cached), expected)
        assert stats(cached) == done


def test_a_file_that_is_gone_is_an_error_as_without(root, folder):
    ids = hr.NpyFiles(root).ids
    read(hr.Cached(hr.NpyFiles(root, ids), folder))
    (root / "03.npy").unlink()
    cached = hr.Cached(hr.NpyFiles(root, ids), folder)
    with pytest.raises(hr.SampleNotFoundError) as caught:
        read(cached, [1, 3])
    assert caught.value.index == 3
    assert np.array_equal(read(cached, [1, 4]), SAMPLES[[1, 4]])


def test_samples_of_other_files_versions_and_options_are_others(root, tmp_path, folder):
    other = tmp_path / "other"
    other.mkdir()
    for i in range(N):
        np.save(other / f"{i:02}.npy", SAMPLES[i] + 100)
        times = os.stat(root / f"{i:02}.npy")
        os.utime(other / f"{i:02}.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    read(hr.Cached(hr.NpyFiles(root), folder))
    assert np.array_equal(read(hr.Cached(hr.NpyFiles(other), folder)), SAMPLES + 100)
    assert np.array_equal(
        read(hr.Cached(hr.NpyFiles(root, dtype="f8"), folder)), SAMPLES.astype("f8")
    )
    backwards = hr.Subset(hr.NpyFiles(root), slice(None, None, -1))
    assert np.array_equal(read(hr.Cached(backwards, folder)), SAMPLES[::-1])
    for version, stage in [("1", doubled), ("2", np.negative)]:
        cached = hr.Cached(hr.NpyFiles(root), folder, version=version, map=stage)
        assert np.array_equal(read(cached), [stage(sample) for sample in SAMPLES])
    assert len(os.listdir(folder)) == 6
    assert stats(hr.Cached(hr.NpyFiles(root), folder, version="1")) == (0, 0, 0)


def test_pixels_that_were_decoded_otherwise_are_others(tmp_path, folder):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(9, 9, 3), dtype=np.uint8)
    image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    for options in [{}, {"antialias": False}, {"interpolation": "lanczos"}]:
        images = hr.Images(tmp_path / "images", size=4, **options)
        for _ in range(2):
            assert np.array_equal(read(hr.Cached(images, folder)), read(images))


def damage(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(data)


@pytest.mark.parametrize(
    ("offset", "kept"),
    [(-3, N - 1), (0, 0), (4096, N - 1), (4096 + 8, N - 1), (30, 0)],
    ids=["a sample", "the magic", "a stamp", "a checksum", "the header"],
)
def test_what_is_damaged_is_decoded_again(root, folder, offset, kept):
    read(hr.Cached(hr.NpyFiles(root), folder))
    (file,) = folder.iterdir()
    damage(file, offset, b"\x55\xaa")
    for hits in (kept, N):
        cached = hr.Cached(hr.NpyFiles(root), folder)
        assert np.array_equal(read(cached), SAMPLES)
        assert stats(cached)[0] == hits


@pytest.mark.parametrize("nbytes", [3, 4096, 2**14 - 1, 2**14, 50_003, 150_528])
@pytest.mark.parametrize("start", [0, 3])
def test_no_damage_leaves_the_checksum_as_it_is(nbytes, start):
    rng = np.random.default_rng(nbytes)
    memory = rng.integers(256, size=start + nbytes, dtype=np.uint8)
    data = memory[start:]
    seen = {
        layout.checksum(7, [data]),
        layout.checksum(8, [data]),
        layout.checksum(7, [data, data]),
    }
    assert len(seen) == 3

    def is_seen(change):
        before = data.copy()
        change()
        value = layout.checksum(7, [data])
        is_changed = not np.array_equal(data, before)
        data[:] = before
        return is_changed and value in seen

    def flip(places):
        data[places] ^= 1 << rng.integers(8, dtype=np.uint8)

    assert layout.checksum(7, [data]) in seen
    for _ in range(100):
        assert not is_seen(lambda: flip(rng.integers(nbytes)))
        assert not is_seen(lambda: flip(rng.choice(nbytes, 2, replace=False)))
    pages = range(0, nbytes - 4095, 4096)
    for page in pages:  # not written, written to another place, of another sample
        assert not is_seen(lambda page=page: data[page : page + 4096].fill(0))
        assert not is_seen(lambda page=page: np.copyto(data, np.roll(data, -page)))
        assert not is_seen(lambda page=page: np.copyto(data[page:], data[page:][::-1]))
    assert not is_seen(lambda: np.copyto(data, np.roll(data, 8)))


@pytest.mark.parametrize("nbytes", [0, 10, 5000, 10**5])
def test_a_file_of_another_length_is_made_anew(root, folder, nbytes):
    read(hr.Cached(hr.NpyFiles(root), folder))
    (file,) = folder.iterdir()
    using = hr.Cached(hr.NpyFiles(root), folder)
    read(using, [0])
    file.rename(folder / "away")  # as those that use it can't have it cut short
    file.write_bytes((folder / "away").read_bytes()[:nbytes].ljust(nbytes, b"\0"))
    cached = hr.Cached(hr.NpyFiles(root), folder)
    assert np.array_equal(read(cached), SAMPLES)
    assert stats(cached) == (0, N, 0)
    assert np.array_equal(read(using), SAMPLES)


def test_files_may_go_while_the_folder_is_looked_at(root, folder):
    """As those do that another run deletes: a link that leads nowhere is listed, too."""
    folder.mkdir()
    (folder / "other.rows").symlink_to(folder / "gone")
    assert np.array_equal(read(hr.Cached(hr.NpyFiles(root), folder)), SAMPLES)


def test_the_folder_may_be_deleted_meanwhile(root, folder):
    cached = hr.Cached(hr.NpyFiles(root), folder)
    read(cached, [0, 1])
    (file,) = folder.iterdir()
    file.unlink()
    folder.rmdir()
    assert np.array_equal(read(cached), SAMPLES)
    assert np.array_equal(read(hr.Cached(hr.NpyFiles(root), folder)), SAMPLES)


def test_what_another_run_replaces_meanwhile_is_not_torn(root, folder, monkeypatch):
    cached = hr.Cached(hr.NpyFiles(root), folder)
    read(cached)
    copy = kept.take

    def replaced_meanwhile(arrays, indices, out, rows):
        copy(arrays, indices, out, rows)
        out[1] = -1  # half of another sample
        sample = layout.bytes_of(SAMPLES[None, 3] + 1, 0)
        other.write(3, sample, 77)

    (file,) = folder.iterdir()
    other = file_rows.FileRows(str(file), bytes.fromhex(file.stem), cached.spec, N)
    monkeypatch.setattr(kept, "take", replaced_meanwhile)
    assert np.array_equal(read(cached, [2, 3, 4]), SAMPLES[[2, 3, 4]])


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_full_disk_is_warned_of_once_and_samples_are_read(log, folder, monkeypatch, in_memory):
    cached = hr.Cached(Logged(log), None if in_memory else folder)
    read(cached, [0, 1])
    monkeypatch.setattr(layout, "write", full)
    monkeypatch.setattr(file_rows, "write", full)
    with pytest.warns(RuntimeWarning, match="can't be kept in .*No space left") as warned:
        both = [read(cached), read(cached)]
    assert all(np.array_equal(samples, SAMPLES) for samples in both)
    assert len(warned) == 1
    assert cached.stats().kept == 2


def test_memory_that_is_nearly_used_up_is_left_alone(log, monkeypatch):
    cached = hr.Cached(Logged(log))
    monkeypatch.setattr(kept.anonymous_file, "free", lambda: (1000, "", ""))
    with pytest.warns(RuntimeWarning, match="can't be kept in memory .*nearly used up"):
        assert np.array_equal(read(cached), SAMPLES)
    assert cached.stats().kept == 0


def test_a_folder_that_can_not_be_made_is_warned_of(log, folder, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "makedirs", refused)
    cached = hr.Cached(Logged(log), folder)
    with pytest.warns(RuntimeWarning, match="Permission denied"):
        assert np.array_equal(read(cached), SAMPLES)
    assert np.array_equal(read(cached), SAMPLES)
    assert stats(cached) == (0, 2 * N, 0)


def test_nobody_waits_for_a_process_that_holds_the_lock(root, folder, monkeypatch):
    monkeypatch.setattr(kept, "_PATIENCE_SECONDS", 0.0)
    cached = hr.Cached(hr.NpyFiles(root), folder)
    read(cached, [0, 1])
    (file,) = folder.iterdir()
    with open(file, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert np.array_equal(read(cached), SAMPLES)
        assert cached.stats().kept == 2
        fcntl.flock(held, fcntl.LOCK_UN)
    read(cached)
    assert cached.stats().kept == N


VIEWS = ["subset", "some", "concat", "windows", "targets", "packed", "cached"]


def views(root):
    """Readers of other readers, over the arrays in the folder."""
    files = hr.NpyFiles(root)
    lists = hr.Files(root, load_npy, suffixes=".npy", ragged=True)
    return {
        "subset": hr.Subset(files, [1, 0]),
        "some": hr.Subset(files, [3, 0, 1]),
        "concat": hr.Concat(SAMPLES[:1], files),
        "windows": hr.Windows(files, 2, targets=1),
        "targets": hr.Windows(np.arange(N), 2, targets=files),
        "packed": hr.Packed(lists, 2, split="never"),
        "cached": hr.Cached(files),
    }


def stamped(reader, files):
    """The stamps of the last sample and the first, before and after the files were changed."""
    last = np.array([len(reader) - 1, 0])
    before = stamps_of(reader, last)
    assert before.dtype == np.uint64
    assert (before != 0).all()
    assert np.array_equal(stamps_of(reader, last), before)
    for file in files:
        os.utime(file, ns=(0, os.stat(file).st_mtime_ns + 10**9))
    return before, stamps_of(pickle.loads(pickle.dumps(reader)), last)


@pytest.mark.parametrize("name", VIEWS)
def test_stamps_of_views_are_others_when_files_change(root, name):
    before, after = stamped(views(root)[name], root.iterdir())
    assert before[0] != after[0]


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"ragged"}))  # which is in memory
def test_stamps_of_each_format_are_others_when_files_change(tmp_path, name):
    write, _, options = WRITTEN[name]
    reader = hr.open(tmp_path / write(tmp_path), format=name, **options)
    before, after = stamped(reader, [path for path in tmp_path.rglob("*") if path.is_file()])
    assert (before != after).all()


def keys(reader):
    """Those of the reader before it was used, afterwards, and of copies: one, if all are equal."""
    before = key_of(reader, "")
    loader = hr.Loader(reader, 2, shuffle=False)
    for step in range(len(loader)):
        loader.batch(0, step)
    loader.state_dict()
    copies = pickle.loads(pickle.dumps(reader)), with_frozen_buffers(reader)
    return {before, key_of(reader, ""), *(key_of(copy, "") for copy in copies)}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_one_key(root, name):
    assert len(keys(views(root)[name])) == 1


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"ragged"}))  # which is in memory
def test_a_format_has_one_key(tmp_path, name):
    write, _, options = WRITTEN[name]
    assert len(keys(hr.open(tmp_path / write(tmp_path), format=name, **options))) == 1


def test_records_that_were_met_are_in_no_key(tmp_path):
    examples = [example({"x": np.arange(n)}) for n in (2, 2, 3, 3)]
    (tmp_path / "x.tfrecord").write_bytes(b"".join(map(record, examples)))
    assert len(keys(hr.TFRecords(tmp_path, ragged=True))) == 1


def test_a_key_tells_options_and_functions_that_name_themselves(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    encoded = hr.Images(tmp_path, decode=False)
    readers = [hr.Images(tmp_path, size=4), hr.Images(tmp_path, size=4, interpolation="box")]
    made = [hr.CenterCrop(4), hr.CenterCrop(4, short_side=5)]
    mapped = [Mapped(encoded, function, "1") for function in [*made, *made]]
    assert len({key_of(reader, "") for reader in [*readers, *mapped]}) == 4
    assert len({reader.fingerprint() for reader in mapped}) == 2
    assert hr.Cached(encoded, tmp_path / "kept", map=made[0]).spec.shape == (4, 4, 3)


def test_what_is_made_of_kept_samples_is_found_again(root, folder):
    for hits in (0, 2):
        inner = hr.Cached(hr.NpyFiles(root), version="1", map=lambda sample: sample + 1)
        cached = hr.Cached(hr.Subset(inner, [1, 0]), folder)
        assert np.array_equal(read(cached, [0, 1]), SAMPLES[[1, 0]] + 1)
        assert cached.stats().hits == hits


def test_stamps_of_other_files_stay_the_same(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    import pyarrow.parquet as pq

    for name in "ab":
        pq.write_table(pa.table({"x": range(4)}), tmp_path / f"{name}.parquet")
    before, after = stamped(hr.Parquet(tmp_path, "x"), [tmp_path / "b.parquet"])
    assert (before != after).tolist() == [True, False]


class Stamped(FarFolder):
    """Says of its files when they were changed, and what it was asked for."""

    def stamp(self, name):
        self.asked.append(name)
        return 1 + len(name)


def test_only_files_of_the_samples_are_looked_at_for_stamps(tmp_path):
    (tmp_path / "npy").mkdir()
    (tmp_path / "jsonl").mkdir()
    for number, name in enumerate(("a", "b", "ccc")):
        np.save(tmp_path / "npy" / f"{name}.npy", SAMPLES[: 2 + number])
        (tmp_path / "jsonl" / f"{name}.jsonl").write_text("1\n" * (2 + number))
    made = {hr.NpyShards: tmp_path / "npy", hr.JsonLines: tmp_path / "jsonl"}
    for reader, root in made.items():
        storage = Stamped(root)
        found = reader(storage)
        storage.asked.clear()
        suffix = root.name
        wanted = np.array([8, 0, 7, 1])  # of the third file and the first
        lengths = [1 + len(f"{name}.{suffix}") for name in ("ccc", "a", "ccc", "a")]
        assert stamps_of(found, wanted).tolist() == lengths
        assert storage.asked == [f"a.{suffix}", f"ccc.{suffix}"]
        assert stamps_of(found, wanted[:0]).tolist() == []


def test_a_manifest_tells_files_that_have_changed(root, folder):
    Manifest.of(root).save(root / "manifest.json")
    read(hr.Cached(hr.NpyFiles(hr.Verified(root, "manifest.json")), folder))
    times = os.stat(root / "03.npy")
    np.save(root / "03.npy", SAMPLES[3] + 1)
    os.utime(root / "03.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    Manifest.of(root).save(root / "manifest.json")
    cached = hr.Cached(hr.NpyFiles(hr.Verified(root, "manifest.json")), folder)
    assert np.array_equal(read(cached, [3, 4]), SAMPLES[[3, 4]] + np.array([1, 0])[:, None, None])
    assert stats(cached) == (1, 1, 1)
    gone = hr.Verified(root, "manifest.json")
    assert stamps_of(hr.NpyFiles(gone), np.array([0]))[0] > 1


def test_files_elsewhere_are_taken_not_to_change(root):
    assert stamps_of(hr.NpyFiles(FarFolder(root)), np.array([1, 2])).tolist() == [1, 1]
