"""Orders: positions of an epoch -> samples. The contracts of `Order` and `Sampling`.

An order is bound to a number of samples and a seed. It is a pure function of (epoch, position), and
holds nothing of size n that it was not given.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from headrace.arguments import check_seed
from headrace.arrays import Indices
from headrace.errors import bad_type
from headrace.sampling import streams
from headrace.sampling.keys import Found, Tail
from headrace.sampling.permutation import Permutation

# The sources that the samples are of, one after another: how many samples each has, how many of
# them are stored together, and its name, or "".
Parts: TypeAlias = Sequence[tuple[int, int, str]]

# Positions that are looked at together, where an order is gone through.
_AT_ONCE = 2**16


class Order(Protocol):
    """Which sample stands at each position of an epoch.

    `headrace.testing` has no contract class for it yet; tests/sampling/test_order.py tests ours.
    """

    @property
    def repeats(self) -> bool:
        """Whether a sample may come twice in an epoch.

        Its random numbers are then those of the position, so that they differ each time.
        """
        ...

    def __len__(self) -> int:
        """The positions of an epoch, the same number in each."""
        ...

    def indices(self, epoch: int, positions: Indices) -> Indices:
        """The samples at `positions` of `epoch`.

        Args:
            epoch: from 0 on.
            positions: int64, any shape, each in range(len(self)), in any order, repeats allowed.

        Returns:
            int64, of the same shape. Without `repeats`, all positions of an epoch give different
            samples.
        """
        ...

    def describe(self) -> str:
        """What distinguishes this order from others of as many samples and the same seed.

        It is part of a state, at most 100 characters, so that a state of another order is refused.
        """
        ...


@runtime_checkable
class SearchableOrder(Protocol):
    """An order that knows where a sample comes without going through an epoch."""

    def positions(self, epoch: int, sample: int) -> Indices:
        """All positions of `epoch` at which `sample` stands: int64, ascending."""
        ...


@runtime_checkable
class GroupedOrder(Protocol):
    """An order that says of which samples a batch is made: of a rung, a class, a source."""

    def alike(self, sample: int) -> Sequence[int] | Indices:
        """The samples that may be in the place of `sample`, which is one of them."""
        ...


@runtime_checkable
class StagedOrder(Protocol):
    """An order that may be changed beyond a position, such as by stages that are added."""

    def describe_until(self, epoch: int, position: int) -> str:
        """As `Order.describe`, of what comes before `position` of `epoch` alone.

        It is in the states of that place, so that a state is refused where what came before was
        another order, and not where another one is to follow.
        """
        ...


@runtime_checkable
class Sampling(Protocol):
    """What `shuffle=` takes besides True and False: a kind of order, not bound to any data yet."""

    def order(self, n: int, seed: int, block: int | None) -> Order:
        """The order of `n` samples.

        Args:
            n: number of samples, 1 to 2**62.
            seed: 0 to 2**128 - 1; which streams may be drawn from it, `streams` says.
            block: how many samples lie together in the data, or None if that is not known.
        """
        ...


@runtime_checkable
class PartsSampling(Protocol):
    """A `Sampling` that goes by the sources of which the data are."""

    def order_of_parts(self, parts: Parts, seed: int) -> Order:
        """The order of the samples of `parts`, which lie one after another."""
        ...


@runtime_checkable
class BatchedOrder(Order, Protocol):
    """An order that says itself which samples each batch holds, such as those of like length.

    Each step takes `batch_size * world_size` positions, whatever its batches hold, so that the
    length is that times the number of steps.
    """

    def batches(self, epoch: int, steps: range, rank: int) -> list[tuple[Indices, int]]:
        """The samples of each step for a rank, int64, and how many of them are no padding."""
        ...

    def sizes(self) -> tuple[list[int], list[int]]:
        """How many samples steps have over all ranks; as `BatchSampler.sizes`."""
        ...

    def find(self, epoch: int, sample: int) -> list[Found]:
        """Where `sample` comes in `epoch`, in the order of the steps."""
        ...


@runtime_checkable
class BatchSampling(Protocol):
    """A `Sampling` that makes the batches, too."""

    def order_of_batches(
        self, n: int, seed: int, batch_size: int, world_size: int, tail: Tail
    ) -> BatchedOrder:
        """The order of `n` samples in such batches; the arguments are those of `BatchSampler`."""
        ...


class Sequential:
    """Every epoch in the order of the data."""

    repeats = False

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def indices(self, epoch: int, positions: Indices) -> Indices:
        return positions

    def positions(self, epoch: int, sample: int) -> Indices:
        return np.array([sample])

    def describe(self) -> str:
        return "sequential"


class Shuffled:
    """Every epoch in a permutation of its own, drawn from (seed, epoch)."""

    repeats = False

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._seed = check_seed(seed)
        self._latest = (0, self._permutation(0))

    def __len__(self) -> int:
        return self._n

    def indices(self, epoch: int, positions: Indices) -> Indices:
        latest, permutation = self._latest
        if latest != epoch:
            permutation = self._permutation(epoch)
            # One tuple, swapped whole: threads may be at different epochs.
            self._latest = (epoch, permutation)
        return permutation[positions]

    def positions(self, epoch: int, sample: int) -> Indices:
        return np.array([self._permutation(epoch).position(sample)])

    def describe(self) -> str:
        return "shuffled"

    def _permutation(self, epoch: int) -> Permutation:
        # Not seed + epoch: seed 0 in epoch 1 would equal seed 1 in epoch 0.
        key = np.random.SeedSequence(self._seed, spawn_key=(streams.ORDER, epoch))
        return Permutation(self._n, key)


def order_of(
    shuffle: bool | Sampling,
    n: int,
    seed: int,
    block: int | None = None,
    parts: Parts = (),
) -> Order:
    """The order that `shuffle=` asks for.

    Args:
        n, seed, block: as `Sampling.order` takes them.
        parts: the sources that the samples are of, if those are known.

    Raises:
        ArgumentTypeError: (a TypeError) it is neither a bool nor a `Sampling`.
    """
    if shuffle is True:
        return Shuffled(n, seed)
    if shuffle is False:
        return Sequential(n)
    if isinstance(shuffle, type) or not isinstance(shuffle, Sampling):
        raise bad_type("shuffle", shuffle, "True or False, or a BlockShuffle")
    if parts and isinstance(shuffle, PartsSampling):
        return shuffle.order_of_parts(parts, seed)
    return shuffle.order(n, seed, block)


def alike_of(order: Order, sample: int) -> Sequence[int] | Indices | None:
    """The samples that may be in the place of `sample`; None if any may."""
    return order.alike(sample) if isinstance(order, GroupedOrder) else None


def positions_of(order: Order, epoch: int, sample: int) -> Indices:
    """All positions of `epoch` at which `sample` stands: int64, ascending.

    An order that can't search is gone through, at the speed at which it gives indices.
    """
    if isinstance(order, SearchableOrder):
        return order.positions(epoch, sample)
    found = [np.zeros(0, np.int64)]
    for begin in range(0, len(order), _AT_ONCE):
        positions = np.arange(begin, min(begin + _AT_ONCE, len(order)))
        found.append(positions[order.indices(epoch, positions) == sample])
    return np.concatenate(found)
