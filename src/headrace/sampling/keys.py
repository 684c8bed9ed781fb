"""Keys: all that it takes to make a batch, besides the data and the transform."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from headrace.arrays import Indices, Weights

NO_STEP = -1


class Place(NamedTuple):
    """Where an epoch stands; `position` counts what all ranks together have consumed of it."""

    epoch: int
    position: int


class Found(NamedTuple):
    """Where a sample comes in an epoch: its step, the rank that gets it, and its row there."""

    step: int
    rank: int
    row: int


# What becomes of the last samples of an epoch, which do not fill a batch; see `BatchSampler`.
Tail = Literal["drop", "partial", "pad"]


class BatchKey(NamedTuple):
    """All that it takes to make a batch, besides the data and the transform.

    `place` is where its step begins, `first` the position in the epoch of this rank's first sample;
    `indices` holds its samples (int64), of which the first `n_valid` count and the rest are
    padding. `repeats` is that of the order. Samples that are no batch of the epoch have the step
    `NO_STEP`, and `first` is then the first of them.
    """

    place: Place
    step: int
    first: int
    indices: Indices
    n_valid: int
    repeats: bool = False

    @classmethod
    def of_samples(cls, epoch: int, indices: Indices) -> "BatchKey":
        """The key of samples that are no batch of the epoch, and get its random numbers."""
        return cls(Place(epoch, 0), NO_STEP, int(indices[0]), indices, len(indices))

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.indices[:8].tolist()))
        more = f", ... {len(self.indices)} in all" if len(self.indices) > 8 else ""
        step = "" if self.step == NO_STEP else f", step {self.step}"
        return f"epoch {self.place.epoch}{step} (samples {shown}{more})"


class Block(NamedTuple):
    """The keys of consecutive steps of an epoch, whose batches are all of one length.

    `indices` has a row for each step, int64. `place`, `step` and `first` are those of the first
    step; with each step, the place's position and `first` grow by `stride`.
    """

    place: Place
    step: int
    first: int
    indices: Indices
    n_valid: int
    stride: int
    repeats: bool = False

    def key(self, number: int) -> BatchKey:
        """The key of the step of that number, from 0 on."""
        offset = number * self.stride
        place = self.place
        return BatchKey(
            Place(place.epoch, place.position + offset) if offset else place,
            self.step + number,
            self.first + offset,
            self.indices[number],
            self.n_valid,
            self.repeats,
        )

    def batch_keys(self) -> Iterator[BatchKey]:
        """The keys of all its steps."""
        return map(self.key, range(len(self.indices)))

    def __str__(self) -> str:
        if len(self.indices) == 1:
            return str(self.key(0))
        return f"epoch {self.place.epoch}, steps {self.step} to {self.step + len(self.indices) - 1}"


def padding_weights(key: BatchKey) -> Weights:
    """1 for each sample that counts, 0 for padding: float32, shape (batch,)."""
    weights = np.zeros(len(key.indices), np.float32)
    weights[: key.n_valid] = 1
    return weights
