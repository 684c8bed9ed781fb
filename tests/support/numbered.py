"""Loaders whose samples are their own numbers, so that what was seen says which they were."""

import numpy as np

import headrace as hr

N, BATCH = 50, 4


def with_noise(number, rng):
    """A sample (number, noise): whose noise shows the epoch, too."""
    return number, rng.random()


def loader_of(**options):
    """A loader of the numbers 0 to N - 1."""
    options = {"seed": 3, "transform": hr.per_sample(with_noise), **options}
    return hr.Loader(np.arange(N), BATCH, **options)


def seen(batches):
    """Each batch as a list of (number, noise)."""
    return [list(zip(x.tolist(), noise.tolist(), strict=True)) for x, noise, *_ in batches]
