"""Concat: samples of several sources, which must agree, and errors that name their source's."""

import numpy as np
import pytest
from numbered import numbered_files
from reading import read
from scenes import IMAGES, SIZES, Scenes

import headrace as hr
from headrace.readers.access import Access, access_of, fingerprint_of, ids_of
from headrace.readers.source import readers_of
from headrace.testing import ReaderContract

X = np.arange(40.0).reshape(20, 2)


class TestConcatOfArrays(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return hr.Concat(samples[:1], samples[1:5], samples[5:])


class TestConcatOfDtypes(ReaderContract):
    """Every read goes through another array."""

    pickles_data = True
    dtypes = ("float64", "complex128", "int64")

    def make_reader(self, folder, samples):
        narrow = {"f": "float32", "c": "complex64", "i": "int32"}[samples.dtype.kind]
        return hr.Concat(samples[:3], samples[3:].astype(narrow), dtype=samples.dtype)

    def make_samples(self, n, shape, dtype):
        rng = np.random.default_rng(n)
        return rng.integers(-100, 100, (n, *shape)).astype(dtype)


class TestConcatOfFilesAndASubset(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        for i, sample in enumerate(samples[3:]):
            np.save(folder / f"{i + 3}.npy", sample)
        files = hr.NpyFiles(folder, ids=range(3, len(samples)))
        return hr.Concat(hr.Subset(samples[2::-1], [2, 1, 0]), files)

    def sample_file(self, folder, index):
        return folder / f"{index}.npy" if index > 2 else None


def test_it_keeps_the_structure_of_sources_and_each_part_is_read_by_itself():
    a, b = (Scenes(), SIZES), (Scenes(), SIZES + 100)
    both = hr.Concat(a, b)
    loader = hr.Loader(hr.Subset(both, [13, 2]), 2, shuffle=False)
    for batch in (read(both, [13, 2]), loader.batch(0, 0)):
        assert np.array_equal(batch[0]["image"], IMAGES[[1, 2]])
        assert batch[1].tolist() == [101, 2]
    assert [type(part) for part in readers_of(both)] == [hr.Concat] * 2


def test_sources_of_other_readers_agree_if_their_samples_do():
    pairs = hr.GetItem([(np.full(2, i), i) for i in range(3)])
    both = hr.Concat(pairs, (np.zeros((2, 2), np.int64), np.arange(2)))
    x, y = read(both, [4, 2, 0])
    assert x[:, 0].tolist() == [0, 2, 0]
    assert y.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("sources", "options", "said"),
    [
        ((), {}, "sources must be at least one, but none was given"),
        ((X, "data"), {}, r"sources\[1\] must be a reader"),
        ((X, X[:0]), {}, r"sources\[1\] must have at least one sample, but is empty"),
        ((X, (X, X[15:])), {}, r"all parts of sources\[1\] must have as many.*\[1\]\[1\] has 5"),
        (
            (X, (X, X)),
            {},
            r"same structure, but sources\[0\] has Spec.* sources\[1\] has \(Spec",
        ),
        ((X, X[:, :1]), {}, r"same shape, but .*\(2,\).* and sources\[1\] has .*\(1,\)"),
        ((X, X, X.astype("f4")), {}, r"float64.* and sources\[2\].*float32.*dtype='float64'"),
        (({"x": X}, {"x": X > 3}), {}, r"same dtype in their part \['x'\], but .*dtype='float64'"),
        ((X, X.astype("c8")), {"dtype": "f4"}, r"of a kind that complex64 of sources\[1\] can"),
        (((X, X), (X, X)), {"dtype": ("f4",)}, "a dtype, or a tuple or dict of them as the"),
    ],
)
def test_sources_that_do_not_agree_are_refused_with_both_named(sources, options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.Concat(*sources, **options)


def test_dtypes_are_converted_where_they_are_asked_for():
    a = {"x": np.arange(3, dtype="u1"), "y": np.arange(3)}
    b = {"y": np.arange(2) + 5, "x": np.array([0.5, 1.5])}
    both = hr.Concat(a, b, dtype={"x": "f4", "y": None})
    assert both.spec["x"].dtype == np.float32
    assert both.spec["y"].dtype == np.int64
    for batch in (
        read(both, [4, 1, 3]),
        hr.Loader(hr.Subset(both, [4, 1, 3]), 3, shuffle=False).batch(0, 0),
    ):
        assert batch["x"].tolist() == [1.5, 1.0, 0.5]
        assert batch["y"].tolist() == [6, 1, 5]
    assert hr.Concat(X, X, dtype="float32").spec == hr.Spec((2,), np.dtype("f4"))


def test_a_fingerprint_is_of_all_sources_and_their_numbers():
    sources = [(X[:5], X[5:]), (X[:6], X[6:]), (X,), (X, X), (X[:5], X[5:10], X[10:])]
    assert len({fingerprint_of(hr.Concat(*each)) for each in sources}) == len(sources)
    assert fingerprint_of(hr.Concat(X[:5], X[5:])) == fingerprint_of(hr.Concat(X[:5], X[5:]))


def test_ids_are_there_if_all_sources_have_some(tmp_path):
    for name in "abcd":
        np.save(tmp_path / f"{name}.npy", np.zeros(2))
    first, second = (hr.NpyFiles(tmp_path, ids=list(ids)) for ids in ("ab", "cda"))
    assert ids_of(hr.Concat(first, second)) == list("abcda")
    assert ids_of(hr.Concat(first, np.zeros((3, 2)))) is None


def test_blocks_are_the_largest_and_of_those_kept_the_smallest_share_counts():
    class Chunks(Scenes):
        def __init__(self, block, blocks_kept):
            self.block, self.blocks_kept = block, blocks_kept

    rows = Scenes()
    assert access_of(hr.Concat(Chunks(4, 1), Chunks(4, 3))) == Access(False, 4, 2, 0, True)
    assert access_of(hr.Concat(Chunks(4, 3), rows)) == Access(False, 4, 6, 0, True)
    assert access_of(hr.Concat(Chunks(5, 3), rows)).blocks_aligned is False
    assert access_of(hr.Concat(X, X)) == Access(in_memory=True)


def test_an_error_names_the_sample_in_its_source_and_in_all(tmp_path):
    both = hr.Concat(X, numbered_files(tmp_path, 4))
    (tmp_path / "3.npy").write_bytes(b"bad")
    with pytest.raises(hr.SampleFormatError, match=r"sample 3 can't be read: .*3\.npy") as caught:
        read(both, [3, 22, 23])
    assert str(caught.value).endswith("(sample 23 of the concatenation)")
    assert caught.value.index == 23
    assert (len(both), both.lengths) == (24, (20, 4))
