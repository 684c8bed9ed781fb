"""Subset: the chosen samples, what is known of them, and errors about them."""

import pickle

import numpy as np
import pytest
from numbered import numbered_files
from reading import read
from scenes import Scenes

import headrace as hr
from headrace.readers.access import Access, access_of, fingerprint_of, ids_of
from headrace.readers.source import readers_of
from headrace.testing import ReaderContract

X = np.arange(40.0).reshape(20, 2)


class TestSubsetOfAnArray(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        order = np.random.default_rng(0).permutation(2 * len(samples))
        stored = np.empty((2 * len(samples), *samples.shape[1:]), samples.dtype)
        stored[order[: len(samples)]] = samples
        return hr.Subset(stored, order[: len(samples)])


class TestSubsetOfFiles(ReaderContract):
    """Every other file, backwards, by a slice."""

    def make_reader(self, folder, samples):
        for i, sample in enumerate(samples):
            np.save(folder / f"{2 * i}.npy", sample)
            np.save(folder / f"{2 * i + 1}.npy", np.zeros_like(sample))
        files = hr.NpyFiles(folder, ids=range(2 * len(samples) - 1, -1, -1))
        return hr.Subset(files, slice(None, None, -2)) if len(samples) else files

    def sample_file(self, folder, index):
        return folder / f"{2 * index}.npy"


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([3, 1, 3, 0], [3, 1, 3, 0]),
        (np.array([19, 0], np.uint8), [19, 0]),
        (iter([4, 5]), [4, 5]),
        (range(18, 0, -5), [18, 13, 8, 3]),
        (slice(-3, None), [17, 18, 19]),
        (slice(None, None, -9), [19, 10, 1]),
        ([], []),
        ([7], [7]),
        ([5, 5], [5, 5]),
    ],
)
def test_it_has_the_samples_that_are_chosen_in_their_order(indices, expected):
    subset = hr.Subset(X, indices)
    assert len(subset) == len(expected)
    assert np.array_equal(read(subset), X[expected])
    assert np.array_equal(read(pickle.loads(pickle.dumps(subset))), X[expected])


def test_indices_may_be_changed_afterwards():
    indices = np.array([3, 1, 4])
    subset = hr.Subset(X, indices)
    indices[:] = 0
    assert np.array_equal(read(subset), X[[3, 1, 4]])


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([0, 20], r"indices must be in range\(20\), as source has 20 samples, but 20 was given"),
        ([0, -1], "but -1 was given"),
        (range(15, 25), "but 24 was given"),
        (
            X[:, 0] > 5,
            r"no bools, but a ndarray was given. Of a mask, pass numpy.flatnonzero",
        ),
        ([0.5], "ints in one dimension"),
        ([[1, 2]], "ints in one dimension"),
        ({1, 2}, r"Pass sorted\(indices\)"),
        (3, "an iterable of indices"),
    ],
)
def test_indices_that_choose_no_samples_are_refused_by_name(indices, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.Subset(X, indices)


def test_it_keeps_the_structure_of_a_source_and_each_part_is_read_by_itself():
    source = {"x": X, "y": (np.arange(20), hr.Labels(np.arange(20) % 3, n_classes=3))}
    subset = hr.Subset(source, [7, 2, 2])
    whole, by_loader = read(subset), hr.Loader(subset, 3, shuffle=False).batch(0, 0)
    for batch in (whole, by_loader):
        assert np.array_equal(batch["x"], X[[7, 2, 2]])
        assert batch["y"][0].tolist() == [7, 2, 2]
        assert batch["y"][1].argmax(axis=1).tolist() == [1, 2, 2]
    parts = readers_of(subset)
    assert [type(part) for part in (parts["x"], *parts["y"])] == [hr.Subset] * 3


def test_the_same_samples_have_the_same_fingerprint_and_others_another():
    same = [range(4, 12, 2), [4, 6, 8, 10], slice(4, 11, 2), np.array([4, 6, 8, 10], "int16")]
    assert len({fingerprint_of(hr.Subset(X, indices)) for indices in same}) == 1
    others = [[4, 6, 8], [6, 4, 8, 10], [4, 6, 8, 12], [10, 8, 6, 4], [4, 6, 8, 8]]
    sources = [X[:, :1], np.arange(20), (X, X)]
    prints = [fingerprint_of(hr.Subset(X, indices)) for indices in [*others, same[0]]]
    prints += [fingerprint_of(hr.Subset(source, same[0])) for source in sources]
    assert len(set(prints)) == len(prints)


def test_a_state_of_other_samples_is_refused():
    state = hr.Loader(hr.Subset(X, [1, 2, 3, 7]), batch_size=2).state_dict()
    hr.Loader(hr.Subset(X, np.array([1, 2, 3, 7])), batch_size=2).load_state_dict(state)
    with pytest.raises(hr.StateError, match="'data'"):
        hr.Loader(hr.Subset(X, [1, 2, 3, 8]), batch_size=2).load_state_dict(state)


def test_ids_are_those_of_the_samples(tmp_path):
    for name in "abcd":
        np.save(tmp_path / f"{name}.npy", np.zeros(2))
    files = hr.NpyFiles(tmp_path, ids=list("abcd"))
    assert ids_of(hr.Subset((np.zeros(4), files), [3, 1])) == ["d", "b"]
    assert ids_of(hr.Subset(X, [3, 1])) is None


def test_access_is_that_of_the_source_but_for_the_blocks():
    class Chunks(Scenes):
        block, blocks_kept = 4, 2

    assert access_of(hr.Subset(X, [1, 5])).in_memory
    assert not access_of(hr.Subset((X[:12], Scenes()), [1, 5])).in_memory
    assert access_of(hr.Subset(Chunks(), range(4, 12))) == Access(False, 4, 2, 4, True)
    assert not access_of(hr.Subset(Chunks(), range(5, 12))).blocks_aligned
    assert access_of(hr.Subset(Chunks(), range(0, 12, 2))) == Access(False, 2, 2, 4, True)
    assert access_of(hr.Subset(Chunks(), [0, 1, 4, 7, 9, 11])).block == 2
    with pytest.warns(hr.ReadAmplificationWarning, match="blocks of 4.*each about 2 times. Sort"):
        assert access_of(hr.Subset(Chunks(), [0, 9, 4, 11, 1, 7])).block == 1


def test_an_index_takes_8_bytes_and_a_range_nothing():
    sizes = [
        len(pickle.dumps(hr.Subset(hr.Subset(np.zeros(1), [0] * n), indices)))
        for n, indices in ((1, range(1)), (10**5, range(1)), (10**5, range(10**5)))
    ]
    assert 8 * 10**5 <= sizes[1] - sizes[0] < 8 * 10**5 + 500
    assert abs(sizes[2] - sizes[1]) < 20


def test_an_error_names_the_sample_in_the_source_and_in_the_subset(tmp_path):
    subset = hr.Subset(numbered_files(tmp_path, 6), [0, 5, 3])
    (tmp_path / "3.npy").write_bytes(b"bad")
    with pytest.raises(hr.SampleFormatError, match=r"sample 3 can't be read: .*3\.npy") as caught:
        read(subset, [1, 2])
    assert str(caught.value).endswith("(sample 2 of the subset)")
    assert caught.value.index == 2
    (tmp_path / "3.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"sample 3 does not exist.*\(sample 2 of the sub"):
        hr.Loader(subset, 3).batch(0, 0)


def test_bad_samples_are_replaced_by_others_of_the_subset(tmp_path):
    files = numbered_files(tmp_path, 8)
    (tmp_path / "6.npy").unlink()
    chosen = [6, 4, 2]
    source = hr.Subset((hr.Concat(files, files), np.arange(16)), [6, 4, 2])
    loader = hr.Loader(source, 3, shuffle=False, on_error="replace", max_bad_samples=1)
    with pytest.warns(hr.BadSampleWarning, match="sample 6 does not exist"):
        (batch,) = loader
    (bad,) = loader.bad_samples
    assert bad.index == 0
    assert batch[0][:, 0].tolist() == batch[1].tolist() == [chosen[bad.substitute], 4, 2]
