"""NpyShards: several .npy files as one sequence of samples."""

import os
import pickle
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from far_folder import FarFolder
from process_table import needs_proc, open_files
from reading import read

import headrace as hr
from headrace.readers.npy import npy_shards
from headrace.readers.npy import ranges as npy_ranges
from headrace.storage import Folder
from headrace.testing import ReaderContract

NEAR_AND_FAR = pytest.mark.parametrize("wrap", [str, FarFolder], ids=["near", "far"])


def save(folder, parts):
    """The parts as files that begin with letters, as their samples one after the other."""
    for number, part in enumerate(parts):
        np.save(folder / f"{chr(ord('a') + number)}.npy", part)
    return np.concatenate(parts)


class TestContract(ReaderContract):
    """Unequal shards, one of them without samples."""

    root = staticmethod(str)

    def parts(self, samples):
        return np.split(samples, [3, 3, 4])

    def make_reader(self, folder, samples):
        save(folder, self.parts(samples))
        return hr.NpyShards(self.root(folder))


class TestContractInOtherLayouts(TestContract):
    def parts(self, samples):
        first, second, third = np.split(samples, [3, 5])
        swapped = second.astype(samples.dtype.newbyteorder("S"))
        return first, swapped, np.asfortranarray(third)


class TestContractOfMoreShardsThanAreMapped(TestContract):
    @pytest.fixture(autouse=True)
    def _two_maps(self, monkeypatch):
        monkeypatch.setattr(npy_shards, "_MOST_MAPS", 2)

    def parts(self, samples):
        return np.array_split(samples, 5)


class TestContractOfRowsCopiedAlone(TestContract):
    @pytest.fixture(autouse=True)
    def _all_alone(self, monkeypatch):
        monkeypatch.setattr(npy_shards, "_LEAST_COPIED_ALONE_BYTES", 0)


class TestContractFarAway(TestContract):
    root = FarFolder


class TestContractFarAwayInTheOtherByteOrder(TestContract):
    root = FarFolder

    def parts(self, samples):
        first, *others = np.split(samples, [3, 5])
        return first, *(part.astype(samples.dtype.newbyteorder("S")) for part in others)


def test_shards_come_in_sorted_order_or_as_named(tmp_path):
    (tmp_path / "deep").mkdir()
    for name, values in (("deep/b", [1, 2]), ("a", [0]), ("c-10", [3]), ("c-9", [4])):
        np.save(tmp_path / f"{name}.npy", values)
    assert read(hr.NpyShards(tmp_path)).tolist() == [0, 3, 4, 1, 2]
    assert read(hr.NpyShards(tmp_path, ["deep/b.npy", "a.npy"])).tolist() == [1, 2, 0]
    assert read(hr.NpyShards(Folder(tmp_path), ["a.npy", "a.npy"])).tolist() == [0, 0]


@NEAR_AND_FAR
@pytest.mark.parametrize("seed", range(5))
def test_any_lengths_and_indices(tmp_path, wrap, seed):
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, 300, 12))
    samples = save(tmp_path, np.split(rng.integers(0, 2**40, (300, 7)), cuts))
    reader = hr.NpyShards(wrap(tmp_path))
    assert np.array_equal(read(reader), samples)
    for size in (1, 5, 1000):
        indices = rng.integers(300, size=size)
        assert np.array_equal(read(reader, indices), samples[indices])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("a.npy", "names must be an iterable of names, not a single one"),
        ([], "names must be at least one name"),
        ({"a.npy"}, r"Pass sorted\(names\)"),
        (["../a.npy"], r"names\[0\] must be a name below root"),
        (["a.npy", 2.5], r"names\[1\] must be a str"),
    ],
)
def test_wrong_names_are_refused(tmp_path, names, said):
    save(tmp_path, [np.arange(3)])
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError), match=said):
        hr.NpyShards(tmp_path, names)


@NEAR_AND_FAR
def test_missing_file_is_named(tmp_path, wrap):
    save(tmp_path, [np.arange(3)])
    with pytest.raises(hr.SampleNotFoundError, match="there is no file") as caught:
        hr.NpyShards(wrap(tmp_path), ["a.npy", "b.npy"])
    assert str(tmp_path / "b.npy") in str(caught.value)


@NEAR_AND_FAR
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (np.zeros((3, 3)), r"shape \(3,\) and dtype float64; those of the first .* \(2,\)"),
        (np.zeros((3, 2), "f4"), r"dtype float32; those of the first file .*float64"),
        (np.float64(3), "no axis to run over the samples"),
        (np.array([[{}, None]], object), "never unpickled"),
    ],
)
def test_unlike_shards_are_refused_at_once(tmp_path, wrap, other, said):
    save(tmp_path, [np.zeros((4, 2))])
    np.save(tmp_path / "b.npy", other, allow_pickle=True)
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        hr.NpyShards(wrap(tmp_path))
    assert f"{tmp_path / 'b.npy'}' can't be read" in str(caught.value)


@NEAR_AND_FAR
def test_every_cut_of_a_shard_is_refused_at_once(tmp_path, wrap):
    save(tmp_path, [np.zeros((4, 2)), np.zeros((2, 2))])
    whole = (tmp_path / "b.npy").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "b.npy").write_bytes(whole[:size])
        with pytest.raises(hr.SampleFormatError, match="it ends "):
            hr.NpyShards(wrap(tmp_path))


@NEAR_AND_FAR
@pytest.mark.parametrize("dtype", ["S3", "U2"])
def test_samples_may_be_strings(tmp_path, wrap, dtype):
    """As a scalar of numpy's, a string has no more bytes than it needs."""
    stored = np.array(["a", "", "bc", "d"], dtype)
    np.save(tmp_path / "a.npy", stored[:2])
    np.save(tmp_path / "b.npy", stored[2:])
    shards = hr.NpyShards(wrap(tmp_path))
    for before in ("", "zz"):
        out = np.full(5, before, dtype)
        shards.read(np.array([2, 3, 0, 1, 2]), out)
        assert (out == stored[[2, 3, 0, 1, 2]]).all()


@NEAR_AND_FAR
def test_longer_header_than_usual_is_read(tmp_path, wrap):
    fields = [(f"field-{number:03}", "<i2") for number in range(300)]
    rows = np.zeros(4, fields)
    rows["field-007"] = range(4)
    save(tmp_path, [rows[:3], rows[3:]])
    got = read(hr.NpyShards(wrap(tmp_path)), [3, 1])
    assert got["field-007"].tolist() == [3, 1]


def test_fortran_order_is_refused_where_rows_are_fetched(tmp_path):
    save(tmp_path, [np.zeros((4, 2)), np.zeros((4, 2), order="F")])
    assert len(hr.NpyShards(tmp_path)) == 8
    with pytest.raises(hr.SampleFormatError, match=r"b\.npy.* in Fortran order.*ascontiguous"):
        hr.NpyShards(FarFolder(tmp_path))


def error_after(root, tmp_path, change):
    """What a reader raises for a sample in a file that changes after it was made."""
    samples = save(tmp_path, [np.arange(8.0).reshape(4, 2), np.arange(4.0).reshape(2, 2)])
    reader = hr.NpyShards(root)
    change(tmp_path / "b.npy")
    with pytest.raises(hr.HeadraceError) as caught:
        read(reader, [1, 5, 4])
    said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "sample 5" in said or "sample 4" in said
    assert "b.npy" in said
    assert np.array_equal(read(reader, [3, 0]), samples[[3, 0]])
    return caught.value


def cut(path):
    os.truncate(path, path.stat().st_size - 20)


def replace(path):
    np.save(path, np.zeros((8, 2), "f4"))


@pytest.mark.parametrize(
    ("wrap", "change", "error", "said"),
    [
        (str, os.unlink, hr.SampleNotFoundError, ""),
        (FarFolder, os.unlink, hr.SampleNotFoundError, ""),
        (str, cut, hr.SampleFormatError, "sample 5.* it ends after 140 bytes; .* promises 160"),
        (FarFolder, cut, hr.StorageError, ""),
        (str, replace, hr.SampleFormatError, "its header is another"),
    ],
)
def test_file_that_has_changed_before_its_first_use_is_named(tmp_path, wrap, change, error, said):
    raised = error_after(wrap(tmp_path), tmp_path, change)
    assert isinstance(raised, error)
    assert re.search(said, str(raised))


@pytest.mark.parametrize("kind", ["NpyShards(folder)", "NpyFile(folder + '/a.npy')"])
def test_mapped_file_that_is_cut_is_an_error_and_no_crash(tmp_path, kind):
    np.save(tmp_path / "a.npy", np.zeros((64, 4096)))
    script = f"""
        import os
        import numpy as np
        import headrace as hr

        folder = {str(tmp_path)!r}
        reader = hr.{kind}
        out = np.empty((1, 4096))
        reader.read(np.array([63]), out)
        os.truncate(folder + "/a.npy", 8192)
        try:
            reader.read(np.array([63]), out)
        except hr.SampleFormatError as error:
            assert error.index == 63
            assert "a.npy" in str(error) and "it ends after 8192 bytes" in str(error), error
            print("refused")
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@needs_proc
def test_thousands_of_shards_leave_file_descriptors_for_others(tmp_path):
    for number in range(400):
        np.save(tmp_path / f"{number:04}.npy", np.array([number]))

    reader = hr.NpyShards(tmp_path)
    assert open_files(tmp_path) == []
    for indices in (range(400), range(399, -1, -1), [5, 133, 5, 261, 133]):
        assert np.array_equal(read(reader, indices), list(indices))
        assert 3 <= len(open_files(tmp_path)) <= 128
    copy = pickle.loads(pickle.dumps(reader))
    del reader
    assert open_files(tmp_path) == []
    assert read(copy, [399]).tolist() == [399]


def test_neighbours_are_fetched_with_one_request(tmp_path):
    samples = save(tmp_path, [np.arange(1000).reshape(100, 10), np.arange(50).reshape(5, 10)])
    storage = FarFolder(tmp_path)
    reader = hr.NpyShards(storage)
    storage.asked.clear()
    indices = [103, 7, 5, 99, 6, 5]
    assert np.array_equal(read(reader, indices), samples[indices])
    begin = len((tmp_path / "a.npy").read_bytes()) - 8000
    assert storage.asked == [
        ("a.npy", begin + 5 * 80, begin + 100 * 80),  # what lies between is small
        ("b.npy", begin + 3 * 80, begin + 4 * 80),
    ]


def test_distant_and_large_ranges_are_fetched_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(npy_ranges, "_MOST_BYTES_BETWEEN", 80)
    monkeypatch.setattr(npy_ranges, "_MOST_BYTES_TOGETHER", 320)
    samples = save(tmp_path, [np.arange(1000).reshape(100, 10)])
    storage = FarFolder(tmp_path)
    reader = hr.NpyShards(storage)
    for indices, expected in (
        ([0, 2, 5], [(0, 3), (5, 6)]),
        ([9, 8, 7, 6, 5, 4, 3], [(3, 7), (7, 10)]),
        ([40, 40, 40], [(40, 41)]),
        ([], []),
    ):
        storage.asked.clear()
        assert np.array_equal(read(reader, indices), samples[indices])
        asked = [((start - 128) // 80, (stop - 128) // 80) for _, start, stop in storage.asked]
        assert asked == expected


class Liar(FarFolder):
    """A storage that breaks its promise: of samples, the last byte is missing."""

    def fetch(self, requests):
        for position, data in super().fetch(requests):
            yield position, data[:-1] if requests[position].start else data


def test_short_ranges_are_an_error(tmp_path):
    save(tmp_path, [np.arange(1000).reshape(100, 10)])
    with pytest.raises(hr.SampleFormatError, match=r"sample 7 .*a\.npy.* came as 79 bytes"):
        read(hr.NpyShards(Liar(tmp_path)), [7])


def test_in_memory_repr_path_and_fingerprint(tmp_path):
    save(tmp_path, [np.zeros((4, 2)), np.zeros((3, 2))])
    near, far = hr.NpyShards(tmp_path), hr.NpyShards(FarFolder(tmp_path))
    assert (near.in_memory, far.in_memory) == (True, False)
    assert repr(near) == (
        f"NpyShards({str(tmp_path)!r}, shards=2, n=7, Spec(shape=(2,), dtype=dtype('float64')))"
    )
    assert near.path(1) == str(tmp_path / "b.npy")
    assert far.path(1) == f"far:{tmp_path}/b.npy"
    assert near.fingerprint() == far.fingerprint()
    save(tmp_path, [np.zeros((3, 2)), np.zeros((4, 2))])
    assert hr.NpyShards(tmp_path).fingerprint() != near.fingerprint()
