"""Windows: which samples are in them, that none crosses a series, and what is read for a batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered import numbered_files
from reading import read
from scenes import IMAGES, N, Scenes

import headrace as hr
from headrace.readers.access import access_of, fingerprint_of, ids_of
from headrace.readers.reader import check_read
from headrace.readers.source import readers_of
from headrace.testing import ReaderContract

X = np.arange(60.0).reshape(30, 2)


class TestWindowsOfAnArray(ReaderContract):
    pickles_data = True
    shapes = ((3, 4), (5,), (1, 2, 1), (2, 0, 3))

    def make_reader(self, folder, samples):
        n, length, *rest = samples.shape
        return hr.Windows(samples.reshape(n * length, *rest), length, stride=length)


class TestWindowsOfWideRows(TestWindowsOfAnArray):
    """Each of which is copied by itself."""

    shapes = ((3, 40), (2, 5, 9))


class TestWindowsOfFiles(ReaderContract):
    shapes = ((3, 4), (2,), (2, 0, 3))

    def make_reader(self, folder, samples):
        n, length, *rest = samples.shape
        if length > 9:  # too many files
            np.save(folder / "all.npy", samples.reshape(n * length, *rest))
            return hr.Windows(hr.NpyFile(folder / "all.npy"), length, stride=length)
        for i, window in enumerate(samples):
            for j, sample in enumerate(window):
                np.save(folder / f"{i}-{j}.npy", sample)
        ids = [f"{i}-{j}" for i in range(n) for j in range(length)]
        return hr.Windows(hr.NpyFiles(folder, ids=ids), length, stride=length)

    def sample_file(self, folder, index):
        return folder / f"{index}-0.npy"


class Counted:
    """Numbers that are not in memory, and those that were read."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self, n):
        self.n, self.taken = n, []

    def __len__(self):
        return self.n

    def read(self, indices, out):
        check_read(self.n, self.spec, indices, out)
        self.taken.append(indices.tolist())
        out[:] = indices


def expected_starts(lengths, length, stride, rate, more):
    begin = 0
    for series in lengths:
        start = 0
        while start + (length + more - 1) * rate < series:
            yield begin + start
            start += stride
        begin += series


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(sum),
    length=st.integers(1, 9),
    stride=st.integers(1, 9),
    rate=st.integers(1, 5),
    horizon=st.integers(0, 4),
    in_memory=st.booleans(),
    data=st.data(),
)
def test_windows_are_all_that_lie_within_a_series(
    lengths, length, stride, rate, horizon, in_memory, data
):
    n = sum(lengths)
    # As many numbers as samples are labels.
    labels = np.repeat(np.arange(len(lengths)), lengths)
    series = data.draw(st.sampled_from([lengths, labels])) if len(lengths) != n else labels
    starts = np.array(list(expected_starts(lengths, length, stride, rate, horizon)), np.int64)
    source = np.arange(n) if in_memory else Counted(n)
    options = {"series": series, "targets": horizon or None}
    if not len(starts):
        with pytest.raises(ValueError, match="length must leave room for a window"):
            hr.Windows(source, length, stride, rate, **options)
        return
    windows = hr.Windows(source, length, stride, rate, **options)
    assert len(windows) == len(starts)
    indices = data.draw(st.lists(st.integers(0, len(starts) - 1), max_size=9).map(np.array))
    got = read(windows, indices)
    x, y = got if horizon else (got, None)
    chosen = starts[indices.astype(int)][:, None]
    assert np.array_equal(x, chosen + np.arange(length) * rate)
    if horizon:
        assert np.array_equal(y, chosen + (length + np.arange(horizon)) * rate)


@pytest.mark.parametrize("targets", [None, 3])
def test_samples_that_windows_of_a_batch_share_are_read_once(targets):
    source = Counted(100)
    windows = hr.Windows(source, 8, targets=targets)
    read(windows, [50, 10, 12, 10])
    (taken,) = source.taken
    more = targets or 0
    assert taken == [*range(10, 12 + 8 + more), *range(50, 58 + more)]


def test_windows_that_share_nothing_are_read_straight_into_the_batch():
    source = Counted(100)
    assert read(hr.Windows(source, 3, 5), [7, 2]).tolist() == [[35, 36, 37], [10, 11, 12]]
    assert source.taken == [[35, 36, 37, 10, 11, 12]]


def test_targets_of_another_source_are_those_at_the_start_of_a_window():
    y = hr.Labels(np.arange(25) % 4, n_classes=4)
    windows = hr.Windows(X, 3, stride=2, rate=2, targets=(y, np.arange(25)))
    assert len(windows) == 13  # the last that has a target starts at 24
    for batch in (read(windows, [12, 0]), hr.Loader(windows, 13, shuffle=False).batch(0, 0)):
        x, (one_hot, number) = batch
        assert np.array_equal(x[0], X[number[0] : number[0] + 5 : 2])
        assert one_hot.argmax(axis=1).tolist() == (number % 4).tolist()
    assert read(windows)[1][1].tolist() == list(range(0, 25, 2))


def test_a_window_has_the_structure_of_a_sample():
    windows = hr.Windows({"scene": Scenes(), "row": X[:N]}, 2, targets=1)
    inputs, targets = read(windows, [4])
    assert np.array_equal(inputs["scene"]["image"], IMAGES[None, 4:6])
    assert np.array_equal(inputs["row"], X[None, 4:6])
    assert targets["scene"]["truth"][1].tolist() == [[6]]


def test_what_is_in_memory_is_read_part_by_part_and_what_is_not_once():
    x, y = readers_of(hr.Windows(X, 4, targets=2))
    assert (len(x.spec.shape), x.spec.shape[0], y.spec.shape[0]) == (2, 4, 2)
    source = Counted(30)
    windows = hr.Windows((X, source), 4, targets=2)
    (inputs, more), (targets, later) = hr.Loader(windows, 3, shuffle=False).batch(0, 2)
    assert np.array_equal(inputs[:, :, 0], 2 * more)
    assert np.array_equal(targets[:, :, 0], 2 * later)
    assert source.taken == [list(range(6, 14))]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0,), "length must be an int from 1"),
        ((3, 0), "stride must be an int from 1"),
        ((3, 1, 0), "rate must be an int from 1"),
        ((31,), "one of length 31 and rate 1 spans 31 samples, and the longest series has 30"),
        ((11, 1, 3), "spans 31 samples"),
        ((3, 1, 1, None, 0), "targets must be an int from 1"),
        ((3, 1, 1, None, True), "targets must be an int"),
        ((3, 1, 1, None, "y"), "targets must be a reader"),
        ((25, 1, 1, None, 6), "with its targets, spans 31"),
        ((3, 1, 1, [10, 21]), "series must be a label for each of the 30 samples, or the lengths"),
        ((3, 1, 1, np.zeros(29)), "series must be"),
        ((3, 1, 1, {1, 2}), "series"),
        ((3, 1, 1, [15, 15], X[3:]), "targets must be one for each of the 30.*but are 27"),
        ((9, 1, 1, [8, 8, 8, 6]), "the longest series has 8"),
    ],
)
def test_arguments_that_give_no_windows_are_refused_by_name(arguments, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.Windows(X, *arguments)


def test_samples_of_any_length_have_no_windows():
    tokens = hr.RaggedArray(np.arange(4), np.array([0, 1, 4]))
    with pytest.raises(hr.ArgumentError, match=r"source\['x'\] must be of samples of one shape"):
        hr.Windows({"x": tokens, "y": np.arange(2)}, 2)
    x, y = hr.Loader(hr.Windows(np.arange(2), 1, targets=tokens), 2, shuffle=False).batch(0, 0)
    assert (x.tolist(), y.lengths.tolist()) == ([[0], [1]], [1, 3])


def test_a_series_may_be_named_by_anything_that_changes():
    labels = np.array(["a"] * 4 + ["b"] * 3 + ["a"] * 5)
    starts = read(hr.Windows(np.arange(12), 3, series=labels))[:, 0]
    assert starts.tolist() == [0, 1, 4, 7, 8, 9]


def test_fingerprints_tell_windows_apart():
    windows = [
        hr.Windows(X, 3),
        hr.Windows(X, 3, 2),
        hr.Windows(X, 3, 1, 2),
        hr.Windows(X, 4),
        hr.Windows(X, 3, targets=1),
        hr.Windows(X, 3, targets=2),
        hr.Windows(X, 3, targets=X),
        hr.Windows(X, 3, series=[15, 15]),
        hr.Windows(X, 3, series=[16, 14]),
        hr.Windows(X[:29], 3),
    ]
    assert len(set(map(fingerprint_of, windows))) == len(windows)
    assert fingerprint_of(hr.Windows(X, 3)) == fingerprint_of(windows[0])


def test_a_window_has_the_name_of_its_first_sample(tmp_path):
    for name in "abcdef":
        np.save(tmp_path / f"{name}.npy", np.zeros(2))
    files = hr.NpyFiles(tmp_path, ids=list("abcdef"))
    assert ids_of(hr.Windows(files, 2, stride=2)) == ["a", "c", "e"]
    assert ids_of(hr.Windows(X, 2)) is None


def test_targets_may_be_named_otherwise_as_they_are_of_a_later_time():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame({"x": range(9), "y": range(9)}, index=list("abcdefghi"))
    windows = hr.Windows(frame[:-2], length=2, targets=frame["y"][2:])
    x, y = hr.Loader(windows, batch_size=6, shuffle=False).batch(0, 0)
    assert x[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert y.tolist() == [2, 3, 4, 5, 6, 7]
    assert ids_of(windows) == list("abcdef")


def test_windows_that_start_in_one_block_are_a_block():
    class Chunks(Counted):
        block, blocks_kept = 8, 4

    access = access_of(hr.Windows(Chunks(80), 9, stride=2))
    assert (access.block, access.blocks_kept, access.blocks_aligned) == (4, 2, True)
    # A window of 9 touches 2 blocks of 8, which are 16 / 9 windows' worth.
    assert access.block_cost == pytest.approx(16 / 9 * 1)
    assert access_of(hr.Windows(Chunks(80), 9, targets=np.arange(80))).block == 8
    assert access_of(hr.Windows(X, 3)).in_memory


def test_an_error_names_the_sample_and_a_window_it_is_in(tmp_path):
    windows = hr.Windows(numbered_files(tmp_path, 8), 2, targets=1)
    (tmp_path / "5.npy").unlink()
    for asked, named in (([1, 4, 5], 4), ([0, 3], 3)):
        with pytest.raises(FileNotFoundError, match=r"sample 5 does not exist.*5\.npy") as caught:
            read(windows, asked)
        assert str(caught.value).endswith(f"(window {named})")
        assert caught.value.index == named
    loader = hr.Loader(windows, 2, shuffle=False, on_error="replace", max_bad_samples=3)
    with pytest.warns(hr.BadSampleWarning):
        batches = list(loader)
    assert [bad.index for bad in loader.bad_samples] == [3, 4, 5]
    assert {int(x) for batch in batches for x in np.ravel(batch[0])} <= {0, 1, 2, 3, 4}


def test_a_missing_target_names_its_window(tmp_path):
    windows = hr.Windows(X[:8], 2, stride=2, targets=numbered_files(tmp_path, 8))
    (tmp_path / "4.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"sample 4 does .*\(window 2\)"):
        read(windows)
