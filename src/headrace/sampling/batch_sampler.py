"""BatchSampler: (epoch, step) -> the sample indices of this rank's batch.

Requires an order. Promises that a batch depends on (order, batch_size, tail, rank, world_size,
epoch, position) alone, that every rank has the same number of steps, that the ranks' batches
partition the positions of the epoch, and that nothing of size n is ever built.

With n = 22, 2 ranks, a batch size of 4 and so a global batch of 8:

    position in the epoch   0       4       8      12      16      20  21
                            |-- step 0 ----|-- step 1 ----|-- tail ----|
    rank                    | 0     | 1     | 0     | 1     |
    tail="drop"                                             dropped
    tail="partial"                                          | 0   | 1   |      3 + 3 samples
    tail="pad"                                              | 0     | 1     |  4 + 4, the last two
                                                                        of weight 0
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_int, check_seed
from headrace.arrays import Indices, Weights
from headrace.errors import OutOfRangeError, bad_value
from headrace.sampling.keys import BatchKey, Block, Found, Place, Tail, padding_weights
from headrace.sampling.left_out import LeftOut, Steps, parsed
from headrace.sampling.order import (
    BatchedOrder,
    BatchSampling,
    Order,
    Parts,
    Sampling,
    order_of,
    positions_of,
)
from headrace.sampling.rank_part import part_of_rank, rank_and_row

# A permutation costs 100 us for a call and 15 ns for an index, so a run of batches is mapped at
# once.
_WINDOW_SAMPLES = 32768


class BatchSampler:
    """Which samples each batch of each epoch holds, for one rank of a world of ranks.

    Args:
        n: number of samples, 1 to 2**62.
        batch_size: samples in a batch of one rank.
        shuffle: a new order in each epoch, or the reader's order in all; or a `Sampling`, such as a
            `BlockShuffle` with its `block`, a new order in each epoch for samples stored in blocks.
        seed: of the order, 0 to 2**128 - 1.
        tail: what becomes of the last `n % (batch_size * world_size)` samples of an epoch:
            "drop" leaves them out; "partial" makes a smaller batch of them, shared out evenly over
            the ranks; "pad" fills a batch up with samples from the beginning of the epoch's order.
        rank: which rank this is, 0 to world_size - 1.
        world_size: number of ranks, each of which takes its part of every step.
        block: how many samples lie together in the data, for a `Sampling` that is not told.
        parts: the sources that the samples are of, one after another, for a `Mix`: of each how many
            samples it has, how many of them lie together, and its name or "".
        skip: (epoch, first step, last step) for each run of steps that is left out.

    Raises:
        ArgumentError: (a ValueError) an argument is out of range, or tail="partial" would leave a
            rank without a sample in the last step.

    Example:
        >>> import headrace as hr
        >>> sampler = hr.BatchSampler(10, 4, shuffle=False, tail="partial")
        >>> len(sampler)
        3
        >>> sampler.indices(epoch=0, step=2)
        array([8, 9])
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        shuffle: bool | Sampling = True,
        seed: int = 0,
        tail: Tail = "drop",
        rank: int = 0,
        world_size: int = 1,
        block: int | None = None,
        parts: Parts = (),
        skip: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        self.n: int = check_int("n", n, 1, MAX_SAMPLES)
        self.batch_size: int = check_int("batch_size", batch_size, 1, MAX_SAMPLES)
        self.world_size: int = check_int("world_size", world_size, 1, MAX_SAMPLES)
        self.rank: int = check_int("rank", rank, 0, self.world_size - 1)
        self.global_batch_size: int = check_int(
            "batch_size * world_size", self.batch_size * self.world_size, 1, MAX_SAMPLES
        )
        self.tail: Tail = _checked(tail)
        self.seed: int = check_seed(seed)
        self._batches: tuple[BatchSampling, BatchedOrder] | None = None
        if isinstance(shuffle, BatchSampling) and not isinstance(shuffle, type):
            self._bind(shuffle)
        else:
            self.order: Order = order_of(shuffle, self.n, self.seed, block, parts)
            self._length = len(self.order)
        self._settle()
        self.left_out: LeftOut = LeftOut()
        self.left_out.add(self._checked_steps(skip))

    def __len__(self) -> int:
        """Number of steps in an epoch, with those that are left out; the same on every rank."""
        return self._steps_from(0)

    def __repr__(self) -> str:
        return (
            f"BatchSampler(n={self.n}, batch_size={self.batch_size}, "
            f"order={self.order.describe()!r}, seed={self.seed}, tail={self.tail!r}, "
            f"rank={self.rank}, world_size={self.world_size})"
        )

    def of_rank(self, rank: int, world_size: int) -> "BatchSampler":
        """This sampler for another rank: its own part of steps of `batch_size * world_size`.

        Raises:
            ArgumentError: (a ValueError) as when a sampler is made.
        """
        other = copy.copy(self)
        other.world_size = check_int("world_size", world_size, 1, MAX_SAMPLES)
        other.rank = check_int("rank", rank, 0, world_size - 1)
        other.global_batch_size = check_int(
            "batch_size * world_size", self.batch_size * world_size, 1, MAX_SAMPLES
        )
        other._rebind()
        return other

    def with_tail(self, tail: Tail) -> "BatchSampler":
        """This sampler with something else becoming of the last samples of an epoch.

        Raises:
            ArgumentError: (a ValueError) as when a sampler is made.
        """
        other = copy.copy(self)
        other.tail = _checked(tail)
        other._rebind()
        return other

    def agrees_with(self, tail: Tail) -> bool:
        """Whether it has the batches of a sampler that differs in the tail alone, until one ends.

        Not if the order makes batches, in an order of theirs that depends on how many they are.
        """
        return tail == self.tail or self._batches is None

    def _rebind(self) -> None:
        """Takes account of another rank, world size or tail."""
        if self._batches is not None:
            self._bind(self._batches[0])
        self._settle()

    def _settle(self) -> None:
        """Checks the tail, and computes the last position at which a step begins."""
        self._check_tail(self._length)
        least = self.global_batch_size if self.tail == "drop" else 1
        self._last_start: int = self._length - least

    def _bind(self, sampling: BatchSampling) -> None:
        order = sampling.order_of_batches(
            self.n, self.seed, self.batch_size, self.world_size, self.tail
        )
        self.order = order
        self._batches = sampling, order
        self._length = len(order)

    def indices(self, epoch: int, step: int) -> Indices:
        """The samples of this rank's batch at `step` of `epoch`: int64, shape (batch,).

        Raises:
            OutOfRangeError: (an IndexError) the epoch has no such step.
        """
        return self.key(epoch, step).indices

    def weights(self, epoch: int, step: int) -> Weights:
        """1 for each sample of the batch, 0 for padding: float32, shape (batch,)."""
        return padding_weights(self.key(epoch, step))

    def key(self, epoch: int, step: int) -> BatchKey:
        """The key of this rank's batch at `step` of `epoch`."""
        return next(self._window(*self.place(epoch, step), steps=1, most=1)).key(0)

    def find(self, sample: int, epoch: int) -> list[Found]:
        """Where `sample` comes in `epoch`, in the order of the steps; as `Loader.find`."""
        sample = check_int("sample", sample, 0, self.n - 1)
        epoch = check_int("epoch", epoch, 0, MAX_SAMPLES)
        taken = list(self._runs(Place(epoch, 0)))
        found = []
        if self._batches is not None:
            found = self._batches[1].find(epoch, sample)
            return [each for each in found if any(each.step in run for run in taken)]
        for position in positions_of(self.order, epoch, sample).tolist():
            step, within = divmod(position, self.global_batch_size)
            if not any(step in run for run in taken):
                continue
            left = self._length - step * self.global_batch_size
            rank, row = rank_and_row(within, left, self.batch_size, self.world_size, self.tail)
            found.append(Found(step, rank, row))
        return found

    def place(self, epoch: int, step: int) -> Place:
        """The place at which `step` of `epoch` begins; raises as `indices` does."""
        epoch = check_int("epoch", epoch, 0, MAX_SAMPLES)
        step = check_int("step", step, -MAX_SAMPLES, MAX_SAMPLES)
        if not 0 <= step < len(self):
            raise OutOfRangeError(
                f"step must lie in range({len(self)}), the steps of an epoch, but {step} was given."
            )
        return Place(epoch, step * self.global_batch_size)

    def check_place(self, place: Place) -> Place:
        """`place`, if it exists and an epoch can go on from it.

        Raises:
            ArgumentError: (a ValueError) it does not exist, or the samples from there on would
                leave a rank without one in the last step.
        """
        epoch = check_int("epoch", place[0], 0, MAX_SAMPLES)
        position = check_int("position", place[1], 0, self._length)
        if self._batches is not None and position % self.global_batch_size:
            allowed = f"a multiple of {self.global_batch_size}, where a step begins"
            raise bad_value("position", position, allowed)
        self._check_tail(self._length - position)
        return self.normal(Place(epoch, position))

    def after(self, place: Place) -> Place:
        """The place that follows the step at `place`: in this epoch, or the start of the next."""
        if self.left_out.changes:
            step = self._next_step(place)
            after = Place(step.epoch, step.position + self.global_batch_size)
            return self._next_step(after) if self.steps_left(after) else self.normal(after)
        position = place.position + self.global_batch_size
        here = position <= self._last_start
        return Place(place.epoch, position) if here else Place(place.epoch + 1, 0)

    def normal(self, place: Place) -> Place:
        """`place`, or the start of the next epoch where no step is left at it."""
        if self.steps_left(place):
            return place
        place = Place(place.epoch + 1, 0)
        while self.left_out and len(self) and not self.steps_left(place):
            place = Place(place.epoch + 1, 0)  # of which all steps are left out
        return place

    def steps_left(self, place: Place) -> int:
        """Number of steps from `place` to the end of its epoch, without those left out."""
        return sum(map(len, self._runs(place)))

    def _runs(self, place: Place) -> Iterable[range]:
        """The steps from `place` on, by number from there, in runs between those left out."""
        steps = self._steps_from(place.position)
        if not self.left_out:
            return (range(steps),)
        return self.left_out.step_runs(*place, steps, self.global_batch_size)

    def _next_step(self, place: Place) -> Place:
        """Where the step begins that comes next at `place`, and is not left out."""
        place = self.normal(place)
        run = next(iter(self._runs(place)), range(1))
        return Place(place.epoch, place.position + run.start * self.global_batch_size)

    def _steps_from(self, position: int) -> int:
        left = max(0, self._length - position)
        if self.tail == "drop":
            return left // self.global_batch_size
        return -(-left // self.global_batch_size)

    def sizes(self, position: int = 0) -> tuple[list[int], list[int]]:
        """How many samples the steps of an epoch have over all ranks.

        Args:
            position: from which on the epoch is gone through.

        Returns:
            Of the steps with full batches; and what is left over, which the tail says the use of.
        """
        if self._batches is not None:
            return self._batches[1].sizes()
        left = (self._length - position) % self.global_batch_size
        return [self.global_batch_size], [left] if left else []

    def keys(self, place: Place, steps: int | None = None) -> Iterator[BatchKey]:
        """The keys from `place` to the end of its epoch, or at most `steps` of them."""
        for block in self.blocks(place, steps, most=MAX_SAMPLES):
            yield from block.batch_keys()

    def blocks(
        self, place: Place, steps: int | None = None, *, most: int = 1, at_once: bool = False
    ) -> Iterator[Block]:
        """The steps from `place` to the end of its epoch, or `steps` of them, `most` in a block.

        The order is computed for many steps at once; from the first on, if `at_once`.
        """
        largest = max(1, _WINDOW_SAMPLES // self.batch_size)
        window = largest if at_once else 1  # grows, so that the first batch does not wait for many
        for run in self._runs(place):
            position = place.position + run.start * self.global_batch_size
            left = len(run) if steps is None else min(len(run), steps)
            if steps is not None:
                steps -= left
            while left:
                size = min(window, left)
                yield from self._window(place.epoch, position, size, most)
                position += size * self.global_batch_size
                left -= size
                window = min(size * 8, largest)

    def _window(self, epoch: int, position: int, steps: int, most: int) -> Iterator[Block]:
        """The blocks of `steps` steps from `position`, of which the last may be the tail."""
        if self._batches is not None:
            yield from self._own_batches(self._batches[1], epoch, position, steps)
            return
        stride = self.global_batch_size
        full = min(steps, (self._length - position) // stride)
        first = position + self.rank * self.batch_size
        tail_first, count, n_valid = self._share(position + full * stride)
        starts = first + stride * np.arange(steps)
        if full < steps:
            starts[-1] = tail_first
        # A row for each step; that of the tail is cut below, if it is shorter.
        positions = starts[:, None] + np.arange(self.batch_size if full else count)
        if positions[-1, -1] >= self._length:
            positions %= self._length  # padding takes the samples at the beginning again
        indices = self.order.indices(epoch, positions)
        step, repeats = position // stride, self.order.repeats
        whole = indices[:full]
        for begin in range(0, full, most):
            place = Place(epoch, position + begin * stride)
            rows = whole[begin : begin + most]
            begins = first + begin * stride
            yield Block(place, step + begin, begins, rows, self.batch_size, stride, repeats)
        if full < steps:
            place = Place(epoch, position + full * stride)
            rows = indices[-1:, :count]
            yield Block(place, step + full, tail_first, rows, n_valid, stride, repeats)

    def _own_batches(
        self, order: BatchedOrder, epoch: int, position: int, steps: int
    ) -> Iterator[Block]:
        """The batches of an order that makes them, each in a block."""
        stride = self.global_batch_size
        numbers = range(position // stride, position // stride + steps)
        batches = order.batches(epoch, numbers, self.rank)
        for step, (rows, n_valid) in zip(numbers, batches, strict=True):
            start = step * stride
            first = start + self.rank * self.batch_size
            place = Place(epoch, start)
            yield Block(place, step, first, rows[None], n_valid, stride, order.repeats)

    def _checked_steps(self, skip: Sequence[tuple[int, int, int]]) -> list[Steps]:
        steps = parsed("skip", skip, self.global_batch_size)
        for number, each in enumerate(steps):
            check_int(f"last step of skip[{number}]", each.last, each.first, len(self) - 1)
        return steps

    def _check_tail(self, left: int) -> None:
        left_over = left % self.global_batch_size
        if self.tail == "partial" and 0 < left_over < self.world_size:
            raise bad_value(
                "tail",
                self.tail,
                f"'drop' or 'pad' for {left} samples in global batches of "
                f"{self.global_batch_size} over {self.world_size} ranks",
                f"The {left_over} left over would leave a rank with an empty batch.",
            )

    def _share(self, position: int) -> tuple[int, int, int]:
        """This rank's part of the step at `position`: first position, samples, valid samples."""
        left = self._length - position
        start, stop, n_valid = part_of_rank(
            left, self.batch_size, self.rank, self.world_size, self.tail
        )
        return position + start, stop - start, n_valid


def _checked(tail: Tail) -> Tail:
    if tail not in get_args(Tail):
        raise bad_value("tail", tail, "'drop', 'partial' or 'pad'")
    return tail
