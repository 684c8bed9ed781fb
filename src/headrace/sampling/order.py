"""Orders: positions in an epoch -> sample indices.

An order is a pure function of (epoch, position) that is, in each epoch, a bijection of range(n). It
holds nothing of size n. `describe()` names it in a state, so that a state of another order is
refused.
"""

from typing import Protocol

import numpy as np

from headrace.arguments import check_seed
from headrace.arrays import Indices
from headrace.sampling.permutation import Permutation

_ORDER_STREAM = 0


class Order(Protocol):
    """The order of n samples in each epoch."""

    def indices(self, epoch: int, positions: Indices) -> Indices:
        """The samples at `positions` (int64, each in range(n)) of `epoch`, int64, same shape."""
        ...

    def describe(self) -> str:
        """What distinguishes this order from others, in a few words."""
        ...


class Sequential:
    """Every epoch in the order of the reader."""

    def indices(self, epoch: int, positions: Indices) -> Indices:
        return positions

    def describe(self) -> str:
        return "sequential"


class Shuffled:
    """Every epoch in an order of its own, drawn from (seed, epoch)."""

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._seed = check_seed(seed)
        self._latest = (0, self._permutation(0))

    def indices(self, epoch: int, positions: Indices) -> Indices:
        latest, permutation = self._latest
        if latest != epoch:
            permutation = self._permutation(epoch)
            # One tuple, swapped whole: threads may be at different epochs.
            self._latest = (epoch, permutation)
        return permutation[positions]

    def describe(self) -> str:
        return "shuffled"

    def _permutation(self, epoch: int) -> Permutation:
        # Not seed + epoch: seed 0 in epoch 1 would equal seed 1 in epoch 0.
        key = np.random.SeedSequence(self._seed, spawn_key=(_ORDER_STREAM, epoch))
        return Permutation(self._n, key)
