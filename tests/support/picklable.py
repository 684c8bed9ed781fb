"""Functions and a reader that a spawned process can import."""

import io

import numpy as np

import headrace as hr
from headrace.pytree import map_leaves
from headrace.readers.npy.decoder import array_in
from headrace.readers.npy.header import parse_header, read_header
from headrace.readers.reader import check_read


def noisy(sample, rng):
    """A sample (x, label) with noise on x."""
    x, label = sample
    return x + rng.normal(size=x.shape).astype("float32"), label


def noisy_x(sample, rng):
    """A sample {"x": x, ...} with noise on x."""
    return {**sample, "x": sample["x"] + rng.normal(size=sample["x"].shape).astype("float32")}


def shifted(batch, rng):
    """A batch to whose arrays random numbers were added."""
    return map_leaves(lambda array: array + rng.integers(1000), batch)


def noisy_number(sample, rng):
    return sample + rng.integers(1000)


def noisy_or_damaged(sample, rng):
    """As `noisy_number`, but finds some samples bad, as what decodes them does."""
    if sample % 9 == 3:
        raise hr.SampleFormatError("it is damaged")
    return noisy_number(sample, rng)


def cropped(sample, rng):
    """A random crop of an encoded picture."""
    return hr.RandomResizedCrop(16, flip=0.5)(sample, rng)


def as_dict(batch):
    """The arrays of a batch (number, label) by name."""
    return {"number": batch[0], "label": batch[1]}


class Numbers:
    """Samples that are not in memory: a number, and a pair of it."""

    spec = (hr.Spec((), np.dtype(np.int64)), hr.Spec((2,), np.dtype(np.float32)))
    block, blocks_kept = 3, 2

    def __init__(self, first, n):
        self.first, self.n = first, n

    def __len__(self):
        return self.n

    def read(self, indices, out):
        check_read(self.n, self.spec, indices, out)
        out[0][...] = indices + self.first
        out[1][...] = (indices + self.first)[:, None] + [0.25, 0.5]


def bytes_2x2(data):
    """The array of 2 x 2 in four bytes."""
    return np.frombuffer(data, np.uint8).reshape(2, 2)


def load_npy(data):
    """The array in the bytes of a .npy file.

    Not by numpy.load, whose `ast.literal_eval` fails now and then in threads of CPython 3.11.
    """
    return array_in(data, parse_header(read_header(io.BytesIO(data))))
