"""NpyFiles and NpzFiles of arrays that differ in the length of their first axis."""

import numpy as np
import pytest
from far_folder import FarFolder

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


class TestNpyFiles(RaggedReaderContract):
    dtypes = ("int32", "float16", "bool")

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            dtype = sample.dtype.newbyteorder("S" if index % 2 else "=")
            np.save(self.sample_file(folder, index), sample.astype(dtype, order="F"))
        return hr.NpyFiles(folder, ragged=True)

    def sample_file(self, folder, index):
        return folder / f"{index:03}.npy"


class TestNpyFilesFarAway(TestNpyFiles):
    def make_reader(self, folder, samples):
        super().make_reader(folder, samples)
        return hr.NpyFiles(FarFolder(folder), ragged=True)


class TestNpzFiles(RaggedReaderContract):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.savez(self.sample_file(folder, index), x=sample)
        return hr.NpzFiles(folder, ragged=True)

    def sample_file(self, folder, index):
        return folder / f"{index:03}.npz"


class TestNpzFilesFarAway(RaggedReaderContract):
    dtypes = ("int32",)
    elements = ((), (2, 1))

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            save = np.savez if index % 2 else np.savez_compressed
            save(self.sample_file(folder, index), x=sample, other=0)
        return hr.NpzFiles(FarFolder(folder), keys="x", ragged=["x"])

    def sample_file(self, folder, index):
        return folder / f"{index:03}.npz"


def write(folder, shapes):
    for index, shape in enumerate(shapes):
        np.save(folder / f"{index}.npy", np.full(shape, index, "float32"))
    return folder


def test_a_shape_with_none_means_the_same(tmp_path):
    root = write(tmp_path, [(2, 3), (0, 3), (5, 3)])
    reader = hr.NpyFiles(root, shape=(None, 3), dtype="float64")
    assert reader.spec == hr.Spec((None, 3), np.dtype("float64"))
    assert hr.NpyFiles(root, ragged=True, shape=(7, 3)).spec.shape == (None, 3)
    batch = hr.Loader(reader, 3, shuffle=False).batch(0, 0)
    assert batch.lengths.tolist() == [2, 0, 5]
    assert batch.values[:, 0].tolist() == [0, 0, 2, 2, 2, 2, 2]
    with pytest.raises(hr.ArgumentError, match="None in no axis but the first"):
        hr.NpyFiles(root, shape=(3, None))
    with pytest.raises(hr.ArgumentTypeError, match="ragged"):
        hr.NpyFiles(root, ragged=["x"])


@pytest.mark.parametrize("far", [False, True], ids=["here", "far"])
def test_only_the_first_axis_may_differ(tmp_path, far):
    write(tmp_path, [(2, 3), (1, 4), (4, 3, 1), ()])
    root = FarFolder(tmp_path) if far else tmp_path
    reader = hr.NpyFiles(root, ragged=True)
    for index, shape in ((1, r"\(1, 4\)"), (2, r"\(4, 3, 1\)"), (3, r"\(\)")):
        said = rf"sample {index} .*{index}\.npy.*its shape is {shape}; expected is \(None, 3\)"
        with pytest.raises(hr.SampleFormatError, match=said) as caught:
            read_batch(reader, np.array([0, index]))
        assert caught.value.index == index
    with pytest.raises(hr.SampleFormatError, match="without an axis"):
        hr.NpyFiles(root, ids=["3"], ragged=True)


def test_a_file_that_was_cut_is_an_error_of_its_sample(tmp_path):
    path = write(tmp_path, [(2,), (9,)]) / "1.npy"
    path.write_bytes(path.read_bytes()[:-1])
    reader = hr.NpyFiles(tmp_path, ragged=True)
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*header promises"):
        read_batch(reader, np.array([0, 1]))
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*1\.npy.*header promises"):
        reader.sample_lengths()
    loader = hr.Loader(reader, 2, shuffle=False, on_error="replace", max_bad_samples=1)
    with pytest.warns(hr.BadSampleWarning, match="sample 1"):
        (batch,) = loader
    assert batch.lengths.tolist() == [2, 2]


@pytest.mark.parametrize("far", [False, True], ids=["here", "far"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_lengths_of_archives_are_read_without_values(tmp_path, save, far):
    rng = np.random.default_rng(0)
    for index in range(3):
        image = rng.integers(256, size=200_000, dtype="uint8")
        save(tmp_path / f"{index}.npz", boxes=np.zeros((index, 4)), image=image, label=index)
        data = bytearray((tmp_path / f"{index}.npz").read_bytes())
        data[90_000] ^= 1  # of the image
        (tmp_path / f"{index}.npz").write_bytes(data)
    reader = hr.NpzFiles(FarFolder(tmp_path) if far else tmp_path, ragged=True)
    lengths = reader.sample_lengths()
    assert lengths["boxes"].tolist() == [0, 1, 2]
    assert lengths["image"].tolist() == [200_000] * 3
    assert lengths["label"] is None
    with pytest.raises(hr.SampleFormatError, match=r"'image'"):
        read_batch(reader, np.array([1]))
    (tmp_path / "1.npz").write_bytes(data[:-30])
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*1\.npz.*zip archive"):
        reader.sample_lengths()
    (tmp_path / "1.npz").unlink()
    with pytest.raises(hr.SampleNotFoundError, match="sample 1 does not exist"):
        reader.sample_lengths()


@pytest.mark.fault("arrays of other lengths, without `ragged=True`", "error", "npy-files")
def test_without_ragged_the_error_names_it(tmp_path):
    write(tmp_path, [(2, 3), (4, 3)])
    with pytest.raises(hr.SampleFormatError, match=r"\(4, 3\).*pass ragged=True"):
        read_batch(hr.NpyFiles(tmp_path), np.arange(2))


@pytest.mark.fault("arrays of other lengths, without `ragged=True`", "error", "npz-files")
def test_arrays_of_an_npz_mix_any_length_with_one(tmp_path):
    for index in range(4):
        boxes = np.full((index, 4), index, "float32")
        image = np.full((2, 2), index, "uint8")
        np.savez(tmp_path / f"{index}.npz", image=image, boxes=boxes, label=index)
    reader = hr.NpzFiles(tmp_path, ragged=["boxes"])
    assert {key: spec.shape for key, spec in reader.spec.items()} == {
        "image": (2, 2),
        "boxes": (None, 4),
        "label": (),
    }
    batch = hr.Loader(reader, 4, shuffle=False).batch(0, 0)
    assert batch["boxes"].lengths.tolist() == [0, 1, 2, 3]
    assert batch["image"][:, 0, 0].tolist() == batch["label"].tolist() == [0, 1, 2, 3]
    every = hr.NpzFiles(tmp_path, ragged=True).spec
    assert [every[key].ragged for key in ("image", "boxes", "label")] == [True, True, False]
    with pytest.raises(hr.ArgumentError, match="'label' is one number"):
        hr.NpzFiles(tmp_path, ragged=["label"])
    with pytest.raises(hr.ArgumentError, match="among 'image', 'boxes', 'label'"):
        hr.NpzFiles(tmp_path, ragged=["no"])
    with pytest.raises(hr.SampleFormatError, match=r"'boxes': its shape .*pass ragged=True"):
        read_batch(hr.NpzFiles(tmp_path), np.array([0, 1]))
    np.savez(tmp_path / "1.npz", image=image, label=1)
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*no array 'boxes'"):
        read_batch(reader, np.array([0, 1]))
