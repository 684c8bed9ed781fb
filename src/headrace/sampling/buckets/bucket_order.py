"""BucketOrder: which samples each batch of `Buckets` holds.

Requires the permutation. Holds nothing of size n that it was not given; of the steps, their order
in the present epoch.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError
from headrace.sampling import streams
from headrace.sampling.keys import Found, Tail
from headrace.sampling.permutation import Permutation
from headrace.sampling.rank_part import part_of_rank, rank_and_row


class Rung(NamedTuple):
    """The samples of a rung.

    Attributes:
        begin: where they begin among the samples of all rungs.
        n: how many there are.
        size: of a batch of one rank.
        together: of those of all ranks.
        steps: in an epoch.
    """

    begin: int
    n: int
    size: int
    together: int
    steps: int


class BucketOrder:
    """The batches of `Buckets`, for a loader.

    Args:
        samples: those of the first rung, then those of the second, and so on.
        rungs: of the ladder.
        seed: of the order.
        batch_size: positions that a rank takes of each step.
        world_size, tail: as `BatchSampler` takes them.
        name: what tells the samples and their rungs from others.
        shuffle: whether samples and steps are mixed.
    """

    repeats = False

    def __init__(
        self,
        samples: Array,
        rungs: Sequence[Rung],
        seed: int,
        batch_size: int,
        world_size: int,
        tail: Tail,
        name: str,
        shuffle: bool,
    ) -> None:
        self._samples = samples
        self.rungs = rungs
        self._seed = seed
        self._world_size = world_size
        self._stride = batch_size * world_size
        self._tail = tail
        self._name = name
        self._shuffle = shuffle
        self._ends = np.cumsum([rung.steps for rung in rungs])
        self._steps = int(self._ends[-1])
        self._latest: tuple[int, _Epoch] | None = None

    def __len__(self) -> int:
        return self._steps * self._stride

    def describe(self) -> str:
        return self._name

    def describe_until(self, epoch: int, position: int) -> str:
        """Within an epoch also what its steps depend on."""
        del epoch
        if not position:
            return self._name
        parts = [self._tail, self._stride, [(rung.together, rung.steps) for rung in self.rungs]]
        return f"{self._name}, steps {fingerprint(repr(parts))}"

    def indices(self, epoch: int, positions: Indices) -> Indices:
        """The samples at the positions.

        Raises:
            ArgumentError: (a ValueError) one of them has no sample, as its batch is smaller.
        """
        found = []
        for position in positions.reshape(-1).tolist():
            step, within = divmod(position, self._stride)
            rank, row = divmod(within, self._stride // self._world_size)
            [(batch, _)] = self.batches(epoch, range(step, step + 1), rank)
            if row >= len(batch):
                raise ArgumentError(f"position {position} has no sample, as its batch is smaller.")
            found.append(int(batch[row]))
        return np.array(found, np.int64).reshape(positions.shape)

    def batches(self, epoch: int, steps: range, rank: int) -> list[tuple[Indices, int]]:
        """Of each step, this rank's samples, int64, and how many of them count."""
        found = self._epoch(epoch)
        numbers = found.steps[steps.start : steps.stop] if self._shuffle else np.array(steps)
        at = self._ends.searchsorted(numbers, "right")
        result: list[tuple[Indices, int]] = [(numbers, 0)] * len(steps)
        for number in np.unique(at).tolist():  # at once, as a permutation costs mostly the call
            rung, rows = self.rungs[number], np.flatnonzero(at == number)
            of_rung = (numbers[rows] - (self._ends[number] - rung.steps)).tolist()
            parts = [self._part(rung, step, rank) for step in of_rung]
            positions = np.concatenate([np.arange(start, stop) for start, stop, _ in parts])
            positions %= rung.n  # padding takes the first samples again
            if self._shuffle:
                positions = found.samples(number, rung)[positions]
            samples = self._samples[rung.begin + positions].astype(np.int64)
            end = 0
            for row, (start, stop, n_valid) in zip(rows.tolist(), parts, strict=True):
                begin, end = end, end + stop - start
                result[row] = samples[begin:end], n_valid
        return result

    def sizes(self) -> tuple[list[int], list[int]]:
        """How many samples steps have over all ranks: the full ones, and what is left of a rung."""
        full = {
            rung.together
            for rung in self.rungs
            # Of too few samples for one batch, there is none that is full, unless it is padded.
            if rung.n >= rung.together or (rung.steps and self._tail == "pad")
        }
        return sorted(full), sorted({rung.n % rung.together for rung in self.rungs} - {0})

    def alike(self, sample: int) -> Indices:
        """The samples of its rung: any other would not fit into its batches."""
        place = int((self._samples == sample).argmax())
        [rung] = (rung for rung in self.rungs if rung.begin <= place < rung.begin + rung.n)
        return self._samples[rung.begin : rung.begin + rung.n]

    def find(self, epoch: int, sample: int) -> list[Found]:
        """Where `sample` comes in `epoch`: once, or never if it is left out."""
        found = self._epoch(epoch)
        for at, rung in enumerate(self.rungs):
            own = self._samples[rung.begin : rung.begin + rung.n]  # ascending
            position = int(own.searchsorted(sample))
            if position == rung.n or own[position] != sample:
                continue
            if self._shuffle:
                position = found.samples(at, rung).position(position)
            of_rung, within = divmod(position, rung.together)
            if of_rung == rung.steps:
                return []
            left = rung.n - of_rung * rung.together
            rank, row = rank_and_row(within, left, rung.size, self._world_size, self._tail)
            step = int(self._ends[at]) - rung.steps + of_rung
            if self._shuffle:
                step = int((found.steps == step).argmax())
            return [Found(step, rank, row)]
        return []

    def _part(self, rung: Rung, step: int, rank: int) -> tuple[int, int, int]:
        """A rank's part of a step of a rung: first position, end, valid samples."""
        begin = step * rung.together
        left = rung.n - begin
        start, stop, n_valid = part_of_rank(left, rung.size, rank, self._world_size, self._tail)
        return begin + start, begin + stop, n_valid

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_latest": None}

    def _epoch(self, epoch: int) -> "_Epoch":
        latest = self._latest
        if latest is None or latest[0] != epoch:
            latest = epoch, _Epoch(self._seed, epoch, self._steps)
            self._latest = latest  # one tuple, as threads may be at different epochs
        return latest[1]


class _Epoch:
    """The permutations of an epoch."""

    def __init__(self, seed: int, epoch: int, steps: int) -> None:
        self._key = seed, epoch
        self._n_steps = steps
        self._of_rungs: dict[int, Permutation] = {}

    @functools.cached_property
    def steps(self) -> Indices:
        """Which of the steps, rung by rung, comes at each: kept, as it is asked for each batch."""
        if not self._n_steps:
            return np.zeros(0, np.int64)
        permutation = Permutation(self._n_steps, self._seed_of(streams.BUCKET_STEPS))
        return permutation[np.arange(self._n_steps)]

    def samples(self, number: int, rung: Rung) -> Permutation:
        """That of the samples of a rung."""
        permutation = self._of_rungs.get(number)
        if permutation is None:
            permutation = Permutation(rung.n, self._seed_of(streams.BUCKET_SAMPLES, number))
            self._of_rungs[number] = permutation
        return permutation

    def _seed_of(self, stream: int, *more: int) -> np.random.SeedSequence:
        seed, epoch = self._key
        return np.random.SeedSequence(seed, spawn_key=(stream, epoch, *more))
