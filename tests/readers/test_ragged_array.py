"""RaggedArray: in memory and memory-mapped, through views, loaders, executors and transforms."""

import pickle

import numpy as np
import pytest

import headrace as hr
from headrace.readers.access import fingerprint_of
from headrace.testing import RaggedReaderContract


def ragged_array(samples):
    whole = hr.Ragged.of(samples)
    return hr.RaggedArray(whole.values, whole.offsets)


class TestRaggedArrayInMemory(RaggedReaderContract):
    def make_reader(self, folder, samples):
        return ragged_array(samples)


class TestRaggedArrayInFiles(RaggedReaderContract):
    def make_reader(self, folder, samples):
        whole = hr.Ragged.of(samples)
        np.save(folder / "values.npy", np.concatenate([whole.values, whole.values[:1] * 0]))
        np.save(folder / "offsets.npy", whole.offsets.astype(np.uint32))
        values = np.load(folder / "values.npy", mmap_mode="r")[: len(whole.values)]
        return hr.RaggedArray(values, np.load(folder / "offsets.npy", mmap_mode="r"))

    # An empty file can't be mapped.
    @pytest.mark.parametrize("length", [1, 5000])
    def test_gives_samples_that_are_all_of_one_length(self, tmp_path, length):
        super().test_gives_samples_that_are_all_of_one_length(tmp_path, length)


class TestSubsetOfARaggedArray(RaggedReaderContract):
    def make_reader(self, folder, samples):
        order = np.random.default_rng(0).permutation(len(samples))
        reader = ragged_array([samples[index] for index in order])
        return hr.Subset(reader, np.argsort(order))


class TestConcatOfRaggedArrays(RaggedReaderContract):
    def make_reader(self, folder, samples):
        return hr.Concat(*(ragged_array(samples[i : i + 3]) for i in range(0, len(samples), 3)))


class TestConcatOfRaggedArraysOfDtypes(RaggedReaderContract):
    dtypes = ("float64", "int64")

    def make_reader(self, folder, samples):
        narrow = {"f": "float32", "i": "int16"}[samples[0].dtype.kind]
        first = ragged_array([sample.astype(narrow) for sample in samples[:2]])
        return hr.Concat(first, ragged_array(samples[2:]), dtype=samples[0].dtype)


SAMPLES = [np.arange(i, 2 * i % 7 + i, dtype=np.int32) for i in range(12)]


def test_files_pickle_as_their_names(tmp_path):
    np.save(tmp_path / "values.npy", np.zeros(100_000))
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    reader = hr.RaggedArray(values, np.arange(0, 100_001, 1000))
    assert len(pickle.dumps(reader)) < 3000


def test_the_fingerprint_tells_lengths_apart():
    values = np.arange(9)
    one, other = (hr.RaggedArray(values, np.array([0, cut, 9])) for cut in (3, 4))
    assert fingerprint_of(one) != fingerprint_of(other)


@pytest.mark.parametrize("executor", [hr.Inline(), hr.Threads(2), hr.Processes(2)], ids=repr)
def test_ragged_and_fixed_parts_come_in_one_batch(executor):
    source = {"tokens": ragged_array(SAMPLES), "label": np.arange(12)}
    loader = hr.Loader(source, 4, seed=3, tail="pad", with_indices=True, executor=executor)
    for step, (batch, weights, indices) in enumerate(loader):
        assert isinstance(batch["tokens"], hr.Ragged)
        assert weights.shape == (4,)
        assert indices.tolist() == batch["label"].tolist() == loader.indices(0, step).tolist()
        for row, index in enumerate(indices.tolist()):
            assert batch["tokens"][row].tolist() == SAMPLES[index].tolist()
    executor.close()
    assert step == 2


def test_per_sample_makes_samples_of_any_length():
    def repeated(sample, rng):
        return {"twice": np.repeat(sample, 2), "length": len(sample)}

    transform = hr.per_sample(repeated, ragged=True)
    batch = hr.Loader(ragged_array(SAMPLES), 5, shuffle=False, transform=transform).batch(0, 1)
    assert batch["length"].tolist() == [len(SAMPLES[index]) for index in range(5, 10)]
    for row, index in enumerate(range(5, 10)):
        assert batch["twice"][row].tolist() == np.repeat(SAMPLES[index], 2).tolist()


def test_per_sample_is_told_which_arrays_differ_in_length():
    def grown(sample, rng):
        return np.zeros(2), np.zeros((int(sample), 3))

    source = np.arange(4)
    fixed, ragged = hr.Loader(
        source, 4, shuffle=False, transform=hr.per_sample(grown, ragged=(False, True))
    ).batch(0, 0)
    assert fixed.shape == (4, 2)
    assert ragged.shape == (4, None, 3)
    assert ragged.lengths.tolist() == [0, 1, 2, 3]
    for told, said in [
        (False, r"per_sample\(fn, ragged=True\)"),
        ((True,), "a bool for each of the leaves"),
    ]:
        with pytest.raises(hr.ArgumentError, match=said):
            hr.Loader(source, 4, transform=hr.per_sample(grown, ragged=told)).batch(0, 0)
    with pytest.raises(hr.ArgumentTypeError, match="ragged must be a bool"):
        hr.per_sample(grown, ragged=["tokens"])


def test_per_sample_refuses_samples_of_another_shape_beyond_the_first_axis():
    def grown(sample, rng):
        return np.zeros((2, int(sample))) if sample else np.zeros(0)

    for source in (np.arange(1, 3), np.arange(2)):
        with pytest.raises(hr.ArgumentError, match="the same shape and dtype"):
            hr.Loader(source, 2, shuffle=False, transform=hr.per_sample(grown, ragged=True)).batch(
                0, 0
            )


def test_none_is_in_the_first_axis_alone():
    with pytest.raises(hr.ArgumentError, match="None in no axis but the first"):
        hr.Spec((3, None), np.dtype("float32"))
