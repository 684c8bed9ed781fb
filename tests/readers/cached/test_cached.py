"""Cached: the same samples as the source's, each read once."""

import json
import pickle

import numpy as np
import pytest
from cached_samples import SAMPLES, Logged, N, doubled, logged
from one_file_each import OneFileEach
from reading import read
from scenes import BOXES, IMAGES, SIZES, Scenes

import headrace as hr
from headrace.readers.access import Access, access_of, fingerprint_of, ids_of
from headrace.readers.source import readers_of


def npy_files(folder, samples):
    for i, sample in enumerate(samples):
        np.save(folder / f"{i}.npy", sample)
    return hr.NpyFiles(folder, ids=range(len(samples)))


class TestContractInMemory(OneFileEach):
    def save(self, path, sample, index):
        np.save(path, sample)

    def open(self, root, samples):
        return hr.Cached(hr.NpyFiles(root))


class TestContractInAFolder(TestContractInMemory):
    def open(self, root, samples):
        return hr.Cached(hr.NpyFiles(root), f"{root}-kept")


class TestContractOfHalfOfTheSamples(TestContractInMemory):
    """After a map, as no file is read again."""

    def open(self, root, samples):
        files = hr.NpyFiles(root)
        room = len(samples) // 2 * (files.spec.nbytes + 16)
        return hr.Cached(files, max_bytes=room, map=np.copy)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture(params=["memory", "folder"])
def folder(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "kept"


def test_a_sample_is_read_once(log, folder):
    cached = hr.Cached(Logged(log), folder)
    for _ in range(3):
        assert np.array_equal(read(cached), SAMPLES)
    assert logged(log) == list(range(N))
    stats = cached.stats()
    assert (stats.hits, stats.misses, stats.changed, stats.kept) == (2 * N, N, 0, N)
    assert stats.bytes == stats.max_bytes == N * (24 + 16)


def test_what_does_not_fit_is_read_each_time_and_nothing_evicted(log, folder):
    cached = hr.Cached(Logged(log), folder, max_bytes=10 * (24 + 16) + 39)
    for _ in range(2):
        assert np.array_equal(read(cached), SAMPLES)
        assert np.array_equal(read(cached, [20, 3, 20, 9]), SAMPLES[[20, 3, 20, 9]])
    assert cached.stats().kept == 10
    assert cached.stats().bytes <= cached.max_bytes
    read_once = sorted([*range(10), *[*range(10, N), 20, 20] * 2])
    assert logged(log) == read_once


def test_nothing_is_kept_without_room(log, folder):
    cached = hr.Cached(Logged(log), folder, max_bytes=0)
    assert np.array_equal(read(cached), SAMPLES)
    assert np.array_equal(read(cached), SAMPLES)
    assert cached.stats().kept == 0


@pytest.mark.parametrize("filled", [[], [5, 2, 11], range(N)], ids=["cold", "half", "filled"])
def test_batches_are_those_of_the_source(log, folder, filled):
    cached = hr.Cached(Logged(log), folder)
    read(cached, filled)
    options = {"batch_size": 5, "seed": 3, "tail": "partial", "executor": hr.Inline()}
    ours, theirs = hr.Loader(cached, **options), hr.Loader(Logged(log), **options)
    for _ in range(2):
        assert [b.tobytes() for b in ours] == [b.tobytes() for b in theirs]
    assert ours.state_dict() == theirs.state_dict()
    ours.load_state_dict(theirs.state_dict())


def test_parts_in_memory_are_not_kept_again(log):
    labels = hr.Labels(np.arange(N))
    cached = hr.Cached({"x": Logged(log), "y": labels})
    assert readers_of(cached)["y"] is labels
    batch = hr.Loader(cached, N, shuffle=False).batch(0, 0)
    assert np.array_equal(batch["x"], SAMPLES)
    assert np.array_equal(batch["x"], read(cached)["x"])
    assert batch["y"].tolist() == list(range(N))
    assert cached.stats().kept == N
    assert hr.Cached(np.arange(3)).stats() == type(cached.stats())(0, 0, 0, 0, 0, 0)


def test_samples_of_several_arrays_stay_what_they_are(folder):
    cached = hr.Cached((Scenes(), SIZES), folder)
    for _ in range(2):
        batch = read(cached, [5, 3])
        assert np.array_equal(batch[0]["image"], IMAGES[[5, 3]])
        assert np.array_equal(batch[0]["truth"][0], BOXES[[5, 3]])
        assert batch[0]["truth"][1].tolist() == batch[1].tolist() == [5, 3]
    assert cached.stats().hits == 2


def test_a_map_is_called_once_for_each_sample(log, folder):
    calls = []

    def stage(sample):
        calls.append(int(sample[1]))
        return {"x": sample[0].mean(axis=1), "y": (sample[1] % 3, np.float32(0.5))}

    cached = hr.Cached((Logged(log), np.arange(N)), folder, version="1", map=stage)
    calls.clear()  # of the first sample, when it was made
    for _ in range(2):
        batch = read(cached)
        assert np.array_equal(batch["x"], SAMPLES.mean(axis=2))
        assert batch["y"][0].tolist() == [i % 3 for i in range(N)]
        assert batch["y"][1].dtype == np.float32
    assert calls == list(range(N))


def test_what_a_map_makes_has_the_byte_order_of_the_machine():
    cached = hr.Cached(np.arange(3.0), map=lambda x: np.array([x], ">f4"))
    assert cached.spec == hr.Spec((1,), np.dtype("float32"))
    assert read(cached).tolist() == [[0], [1], [2]]


def test_an_error_in_a_map_names_the_sample(log):
    def fails(sample):
        if sample[0, 0] == SAMPLES[7, 0, 0]:
            raise KeyError("seven")
        return sample

    cached = hr.Cached(Logged(log), map=fails)
    with pytest.raises(KeyError, match="seven") as caught:
        read(cached)
    assert caught.value.__notes__ == ["headrace: in map of sample 7"]
    assert np.array_equal(read(cached, range(7)), SAMPLES[:7])
    with pytest.raises(hr.StoppedEarlyError, match="map of sample 0 raised StopIteration"):
        hr.Cached(Logged(log), map=lambda sample: next(iter(())))


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (
            lambda x: x[: 1 + int(x[0, 0] > 6)],
            r"map must .* sample 2 has the shape \(2, 3\); expected is \(1, 3\)\.$",
        ),
        (lambda x: x if x[0, 0] < 6 else {"x": x}, "what it returned of sample 1 is a dict"),
        (lambda x: (x, 1) if x[0, 0] < 6 else x, "expected is a tuple of 2"),
        (
            lambda x: x if x[0, 0] < 6 else x + 1j,
            r"has the dtype complex64; expected is float32\.$",
        ),
        (lambda x: None, "what it returned of sample 0 is a NoneType"),
    ],
)
def test_what_a_map_returns_is_checked(log, stage, said):
    with pytest.raises(hr.ArgumentError, match=said):
        read(hr.Cached(Logged(log), map=stage))


def test_what_is_known_of_the_samples_is_known(tmp_path, log):
    files = npy_files(tmp_path, SAMPLES)
    cached = hr.Cached((files, np.arange(N)))
    assert ids_of(cached) == ids_of(files)
    assert fingerprint_of(hr.Subset(cached, [1, 2])) == fingerprint_of(
        hr.Subset((files, np.arange(N)), [1, 2])
    )
    blocks = Logged(log)
    blocks.block, blocks.blocks_kept = 4, 2
    assert access_of(readers_of(hr.Cached(blocks))) == Access(False, 4, 2)
    both = hr.Concat(photographs=files, drawings=Logged(log))
    mix = hr.Mix({"photographs": 0.5, "drawings": 0.5})
    ours, theirs = (hr.Loader(s, 4, shuffle=mix).batch(0, 1) for s in (hr.Cached(both), both))
    assert np.array_equal(ours, theirs)


def test_samples_of_another_version_are_others_where_there_is_a_map(log):
    made = [hr.Cached(Logged(log), version=v, map=doubled) for v in ("1", "2")]
    state = hr.Loader(made[0], 4).state_dict()
    hr.Loader(hr.Cached(Logged(log), version="1", map=doubled), 4).load_state_dict(state)
    with pytest.raises(hr.StateError):
        hr.Loader(made[1], 4).load_state_dict(state)


def test_a_bad_sample_is_replaced_by_the_same_one(tmp_path):
    files = npy_files(tmp_path, SAMPLES)
    (tmp_path / "5.npy").write_bytes(b"nothing")
    options = {"on_error": "replace", "max_bad_samples": 1, "executor": hr.Inline()}
    ours, theirs = (hr.Loader(s, 6, **options) for s in (hr.Cached(files), files))
    with pytest.warns(hr.BadSampleWarning):
        batches = [[b.tobytes() for b in loader] for loader in (ours, theirs, ours, theirs)]
    assert batches[0] == batches[1]
    assert batches[2] == batches[3]
    assert ours.bad_samples == theirs.bad_samples


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"folder": 3}, "folder must be the path of a folder"),
        ({"folder": b"x"}, "folder must be the path of a folder"),
        ({"max_bytes": -1}, "max_bytes must be an int from 0"),
        ({"max_bytes": 1.5}, "max_bytes must be an int"),
        ({"version": 2}, "version must be a str, such as '2'"),
        ({"map": "x"}, "map must be a function"),
        ({"map": doubled, "folder": "new"}, "version must be a name of what map does, such as '1'"),
        (
            {"map": hr.CenterCrop},
            r"map must be a function.*Call it: CenterCrop\(\.\.\.\)",
        ),
    ],
)
def test_arguments_are_checked(log, arguments, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.Cached(Logged(log), **arguments)


def test_a_file_is_no_folder(log, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(hr.ArgumentError, match="folder must be a folder, or the path of a new"):
        hr.Cached(Logged(log), tmp_path / "file")


class Huge(Logged):
    spec = hr.Spec((2**40, 2**18), np.dtype(np.uint8))


def test_more_than_there_is_room_for_needs_a_limit(log, folder):
    with pytest.raises(hr.ArgumentError, match="max_bytes must be given, as all samples take"):
        hr.Cached(Huge(log), folder)


class Ragged(Logged):
    spec = hr.Spec((None, 3), np.dtype(np.float32))


def test_samples_of_any_length_are_refused(log):
    with pytest.raises(hr.ArgumentError, match=r"one shape to be kept.*Pass map="):
        hr.Cached((np.arange(N), Ragged(log)))


def test_a_map_may_make_samples_of_any_length_equal(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.json").write_text(str(list(range(i + 1))))
    lists = hr.Files(tmp_path, json.loads, suffixes=".json", ragged=True)
    cached = hr.Cached((lists, np.arange(3)), map=lambda sample: (sample[0].sum(), sample[1]))
    assert [part.tolist() for part in read(cached)] == [[0, 1, 3], [0, 1, 2]]


def test_a_source_that_pickle_can_not_store_is_kept_in_memory_only(log, tmp_path):
    source = hr.GetItem(_WithALambda())
    assert read(hr.Cached(source)).tolist() == [0, 1]
    with pytest.raises(hr.ArgumentError, match="Leave folder out"):
        hr.Cached(source, tmp_path / "kept")


class _WithALambda:
    def __init__(self):
        self.function = lambda i: float(i)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.function(index)


def test_a_pickle_of_it_is_of_the_same_memory(log):
    cached = hr.Cached(Logged(log))
    other = pickle.loads(pickle.dumps(cached))
    assert np.array_equal(read(other), SAMPLES)
    assert np.array_equal(read(cached), SAMPLES)
    assert logged(log) == list(range(N))
    assert cached.stats() == other.stats()
