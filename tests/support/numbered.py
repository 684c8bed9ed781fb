"""Loaders whose samples are their own numbers, so that what was seen says which they were."""

import json

import numpy as np

import headrace as hr

N, BATCH = 50, 4


# Of 40 positions in an epoch; of all, samples may come more than once.
SAMPLINGS = {
    "Weighted": hr.Weighted(np.arange(N), length=40),
    "Balanced": hr.Balanced(np.arange(N) % 3, 2, 2, length=40),
    "Mix": hr.Mix([0.7, 0.3], length=40),
}
BUCKETS = hr.Buckets(np.arange(N) % 10, [4, 9], batch_sizes=[4, 2])


def numbered_files(folder, n):
    """A reader of files whose samples are two of their numbers."""
    for number in range(n):
        np.save(folder / f"{number}.npy", np.full(2, float(number)))
    return hr.NpyFiles(folder, ids=range(n))


def with_noise(number, rng):
    """A sample (number, noise): whose noise shows the epoch, too."""
    return number, rng.random()


def loader_of(**options):
    """A loader of the numbers 0 to N - 1."""
    options = {"seed": 3, "transform": hr.per_sample(with_noise), **options}
    return hr.Loader(hr.Concat(np.arange(20), np.arange(20, N)), BATCH, **options)


def seen(batches):
    """Each batch as a list of (number, noise)."""
    return [list(zip(x.tolist(), noise.tolist(), strict=True)) for x, noise, *_ in batches]


def batches_of(loader, epoch):
    """The batches of an epoch by random access, as `seen` has them after JSON."""
    return json.loads(json.dumps(seen(loader.batch(epoch, s) for s in range(len(loader)))))


def expected_epochs(n_processes, epochs, split=False, **options):
    """For each process the batches of each epoch: a batch in turn, or its part of each."""
    loader = loader_of(**options)
    return [
        [_part_of(batches_of(loader, epoch), rank, n_processes, split) for epoch in range(epochs)]
        for rank in range(n_processes)
    ]


def _part_of(batches, rank, n_processes, split):
    if not split:
        return batches[rank::n_processes]
    size = BATCH // n_processes
    return [batch[rank * size : (rank + 1) * size] for batch in batches]
