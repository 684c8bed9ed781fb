"""What the contracts of readers of a file for each sample have in common."""

import numpy as np
import pytest

import headrace as hr
from headrace.testing import ReaderContract


class OneFileEach(ReaderContract):
    """Samples in files that are called by their numbers.

    Attributes:
        suffix: that of the files.
        root: what makes the root of the reader of a folder.
    """

    suffix = ".npy"
    root = staticmethod(str)

    def save(self, path, sample, index):
        raise NotImplementedError

    def open(self, root, samples):
        raise NotImplementedError

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            path = self.sample_file(folder, index)
            path.parent.mkdir(exist_ok=True)
            self.save(path, sample, index)
        return self.open(self.root(folder), samples)

    def sample_file(self, folder, index):
        return folder / f"{index:05}{self.suffix}"

    def test_a_bad_sample_is_replaced(self, folder, reader, samples):
        self.sample_file(folder, 5).write_bytes(b"?")
        options = {"shuffle": False, "on_error": "replace", "max_bad_samples": 1}
        loader = hr.Loader(reader, len(samples), executor=hr.Inline(), **options)
        with pytest.warns(hr.BadSampleWarning, match="sample 5 "):
            batch = loader.batch(0, 0)
        (bad,) = loader.bad_samples
        indices = np.arange(len(samples))
        indices[5] = bad.substitute
        assert bad.index == 5 != bad.substitute
        assert batch.tobytes() == samples[indices].tobytes()
