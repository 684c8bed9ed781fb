"""The contract of readers, held by every reader in every form of its storage."""

import numpy as np
import pytest

from headrace import Labels, NpyFile, NpyFiles
from headrace.readers import ArrayReader
from headrace.storage.local import folder as folder_module
from headrace.testing import ReaderContract


class TestNpyFiles(ReaderContract):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            np.save(self.sample_file(folder, index), sample)
        return NpyFiles(folder)

    def sample_file(self, folder, index):
        return folder / f"sample-{index:05}.npy"


class TestNpyFilesInAnotherLayout(TestNpyFiles):
    """Fortran order and the other byte order: every sample goes through a conversion."""

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            swapped = sample.astype(sample.dtype.newbyteorder("S"), order="F")
            np.save(self.sample_file(folder, index), swapped)
        return NpyFiles(folder)


class TestNpyFilesOfMixedLayouts(TestNpyFiles):
    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            dtype = sample.dtype.newbyteorder("<>"[index % 2])
            stored = sample.astype(dtype, order="CF"[index // 2 % 2])
            with self.sample_file(folder, index).open("wb") as file:
                np.lib.format.write_array(file, stored, version=(1 + index % 3, 0))
        return NpyFiles(folder)


class TestNpyFilesByIds(TestNpyFiles):
    """The samples in an order that is not the folder's, and in folders of their own."""

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            self.sample_file(folder, index).parent.mkdir(exist_ok=True)
            np.save(self.sample_file(folder, index), sample)
        return NpyFiles(folder, [f"{index % 2}/{-index}" for index in range(len(samples))])

    def sample_file(self, folder, index):
        return folder / str(index % 2) / f"{-index}.npy"


class TestNpyFilesWithoutPreadv(TestNpyFiles):
    """As on macOS before 11 and on Windows. (Processes of their own have it, and agree.)"""

    @pytest.fixture(autouse=True)
    def _no_preadv(self, monkeypatch):
        monkeypatch.setattr(folder_module, "_HAS_PREADV", False)
        monkeypatch.delattr("os.preadv", raising=False)


class TestNpyFile(ReaderContract):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", samples)
        return NpyFile(folder / "all.npy")


class TestNpyFileInFortranOrder(ReaderContract):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", np.asfortranarray(samples))
        return NpyFile(folder / "all.npy")


class TestNpyFileInTheOtherByteOrder(ReaderContract):
    def make_reader(self, folder, samples):
        np.save(folder / "all.npy", samples.astype(samples.dtype.newbyteorder("S")))
        return NpyFile(folder / "all.npy")


class TestArrayInMemory(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return ArrayReader(samples)


class TestStridedArrayInMemory(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return ArrayReader(np.repeat(samples, 2, axis=0)[::-2][::-1])


class TestUnalignedArrayInMemory(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        memory = np.zeros(samples.nbytes + 1, np.uint8)
        unaligned = np.ndarray(samples.shape, samples.dtype, memory, 1)
        unaligned[...] = samples
        return ArrayReader(unaligned)


class TestMemoryMap(ReaderContract):
    # An empty file can't be mapped.
    shapes = tuple(shape for shape in ReaderContract.shapes if 0 not in shape)

    def make_reader(self, folder, samples):
        mapped = np.memmap(folder / "raw", samples.dtype, "w+", shape=samples.shape)
        mapped[...] = samples
        return ArrayReader(mapped)


class TestViewOfAMemoryMap(TestMemoryMap):
    """Backwards, every other row, axes swapped, and beginning in the midst of a page."""

    def make_reader(self, folder, samples):
        shape = (2 * len(samples) + 3, *samples.shape[:0:-1])
        mapped = np.memmap(folder / "raw", samples.dtype, "w+", offset=4099, shape=shape)
        view = mapped[:2:-2].transpose(0, *range(samples.ndim - 1, 0, -1))
        view[...] = samples
        return ArrayReader(view)


class TestLabelsOfAnArray(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        return Labels(samples)


class TestLabelsOfAMapping(ReaderContract):
    pickles_data = True

    def make_reader(self, folder, samples):
        ids = [f"id-{index}" for index in range(len(samples))]
        return Labels(dict(zip(reversed(ids), reversed(samples), strict=True)), ids)


class TestOneHotLabels(ReaderContract):
    pickles_data = True
    dtypes = ("float32", "float16", "int64", "uint8", "bool", "complex64")
    shapes = ((7,), (1,))

    def make_samples(self, n, shape, dtype):
        classes = np.random.default_rng(n).integers(shape[0], size=n)
        return np.eye(shape[0], dtype=dtype)[classes]

    def make_reader(self, folder, samples):
        classes = samples.argmax(axis=1)
        return Labels(classes, n_classes=samples.shape[1], dtype=samples.dtype)
