"""An order that repeats samples, as another library may have one, for processes to import."""

import numpy as np

import headrace as hr


class Twice:
    """A `Sampling` in which each epoch has each sample twice."""

    def order(self, n, seed, block):
        return EachTwice(n, seed)


class EachTwice:
    repeats = True

    def __init__(self, n, seed):
        self.n, self.seed = n, seed

    def __len__(self):
        return 2 * self.n

    def indices(self, epoch, positions):
        key = np.random.SeedSequence(self.seed, spawn_key=(1000, epoch))
        return hr.Permutation(2 * self.n, key)[positions] % self.n

    def describe(self):
        return "each twice"


def drawn(sample, rng):
    """The sample, and what it draws."""
    return sample, rng.integers(2**62)
