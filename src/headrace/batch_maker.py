"""BatchMaker: the pure function (data, configuration, key) -> batch.

It is all that travels to where batches are made: it knows no position, no executor and no
framework.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from headrace.arrays import Array, Indices, MemoryPool, Weights
from headrace.errors import ArgumentError
from headrace.readers.reader import Reader
from headrace.sampler import BatchKey, padding_weights
from headrace.structure import leaves, map_leaves, nbytes
from headrace.transforms import RandomStreams, Transform, apply, per_sample


class Made(NamedTuple):
    """A batch, and what it took. `samples` are without padding."""

    batch: Any
    samples: int
    nbytes: int
    reading_s: float
    transforming_s: float


class BatchMaker:
    """Makes the batch of a key: reads its samples, transforms them, adds weights for padding.

    Args:
        readers: a structure of readers.
        transform: as `Loader` takes it.
        seed: of the transform's random numbers.
        weighted: whether each batch gets float32 weights at its end, 0 for padding.
    """

    def __init__(
        self, readers: Any, transform: Transform | per_sample | None, seed: int, weighted: bool
    ) -> None:
        self._readers = readers
        self._transform = transform
        self._seed = seed
        self._weighted = weighted
        self._memory = MemoryPool()

    def __call__(self, key: BatchKey) -> Made:
        began = time.perf_counter()
        try:
            batch = self._read_all(key.indices)
            read = time.perf_counter()
            if self._transform is not None:
                batch = apply(self._transform, batch, key, RandomStreams(self._seed))
            if self._weighted:
                batch = _with_weights(batch, padding_weights(key))
        except Exception as error:
            error.add_note(f"headrace: while making the batch of {key}")
            raise
        return Made(batch, key.n_valid, nbytes(batch), read - began, time.perf_counter() - read)

    def release_memory(self) -> None:
        """Frees the memory that is kept for the batches to come."""
        self._memory.clear()

    def _read_all(self, indices: Indices) -> Any:
        if not isinstance(self._readers, tuple | dict):
            return self._read(self._readers, indices)
        return map_leaves(lambda reader: self._read(reader, indices), self._readers)

    def _read(self, reader: Reader, indices: Indices) -> Array:
        out = self._memory.empty((len(indices), *reader.spec.shape), reader.spec.dtype)
        reader.read(indices, out)
        return out


class Repeated:
    """In place of a `BatchMaker`: gives a few ready batches again and again."""

    def __init__(self, ready: list[Made]) -> None:
        self._ready = [made._replace(reading_s=0.0, transforming_s=0.0) for made in ready]

    def __call__(self, key: BatchKey) -> Made:
        return self._ready[key.step % len(self._ready)]

    def release_memory(self) -> None:
        """There is none but that of the batches."""


def _with_weights(batch: Any, weights: Weights) -> Any:
    for leaf in leaves(batch):
        if isinstance(leaf, np.ndarray) and leaf.shape[:1] != weights.shape:
            raise ArgumentError(
                f"the transform must keep the {len(weights)} samples of a batch when tail='pad', "
                f"as each has a weight, but returned an array of shape {leaf.shape}."
            )
    return (*batch, weights) if isinstance(batch, tuple) else (batch, weights)
