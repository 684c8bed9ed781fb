"""Datasets as `hr.GetItem` takes them, which other processes can import."""

import threading
from pathlib import Path

import numpy as np

import headrace as hr

# In several threads at once, numpy.load can fail on CPython 3.11.
ONE_AT_A_TIME = threading.Lock()


class Files:
    """A .npy file for each sample."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __len__(self):
        return len(list(self.folder.iterdir()))

    def __getitem__(self, index):
        path = self.folder / f"sample-{index:05}.npy"
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is not a file")  # numpy would wait for a pipe
        try:
            with ONE_AT_A_TIME:
                return np.load(path)
        except EOFError:
            raise ValueError(f"{path} is empty") from None
        except Exception as error:
            error.add_note(str(path))
            raise


class FilesTogether:
    """The same, asked for several samples at once."""

    def __init__(self, folder):
        self.files = Files(folder)
        self.n = len(self.files)

    def __len__(self):
        return self.n

    def __getitems__(self, indices):
        assert all(type(index) is int for index in indices)
        return [self.files[index] for index in indices]


class Of:
    """The given samples."""

    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        if isinstance(sample, Exception):
            raise sample
        return sample


class Columns:
    """Returns columns of what it is asked for, as Hugging Face does."""

    def __init__(self, **columns):
        self.columns = columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitems__(self, indices):
        return {key: [column[i] for i in indices] for key, column in self.columns.items()}


class SomeBad:
    """Lists of so many numbers, some of which can't be read."""

    def __init__(self, lengths, bad):
        self.lengths = lengths
        self.bad = bad

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        if index in self.bad:
            raise hr.SampleFormatError.at(index, f"sample {index} is bad")
        return np.arange(self.lengths[index])
