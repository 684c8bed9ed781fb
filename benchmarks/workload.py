"""Files that hold one sample each: what all contenders of a benchmark read.

Requires numpy. Sample i is full of the number i, so that an epoch's sum shows whether it held each
sample once.
"""

import math
from typing import NamedTuple

import numpy as np

BATCH_SIZE = 128


class Size(NamedTuple):
    """Files of one size: what it is called, a float32 sample's shape, and how many there are."""

    label: str
    shape: tuple[int, ...]
    samples: int


SIZES = {
    "128k": Size("128 KB", (32, 32, 32, 1), 2048),
    "12k": Size("12 KB", (32, 96), 8192),
    "64": Size("64 bytes", (16,), 16384),
}


class Workload(NamedTuple):
    """The files, and the compiled limit, if there is a compiler."""

    root: str
    samples: int
    shape: tuple[int, ...]
    limit_library: str | None

    @property
    def ids(self) -> list[str]:
        return [f"id-{index}" for index in range(self.samples)]

    @property
    def paths(self) -> list[str]:
        return [f"{self.root}/{name}.npy" for name in self.ids]

    @property
    def steps(self) -> int:
        return self.samples // BATCH_SIZE

    @property
    def sample_nbytes(self) -> int:
        return 4 * math.prod(self.shape)

    @property
    def header(self) -> bytes:
        """What each file begins with."""
        with open(self.paths[0], "rb") as file:
            return file.read()[: -self.sample_nbytes]

    @property
    def checksum(self) -> float:
        """What the first numbers of all samples add up to."""
        return self.samples * (self.samples - 1) / 2

    def write(self) -> None:
        """Makes the files."""
        for index, path in enumerate(self.paths):
            np.save(path, np.full(self.shape, index, np.float32))

    def order(self, epoch: int) -> np.ndarray:
        """A shuffled order, for contenders without one of their own."""
        return np.random.default_rng(epoch).permutation(self.samples)
