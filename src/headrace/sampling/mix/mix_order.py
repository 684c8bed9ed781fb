"""MixOrder: which sample of which source stands at each position.

Positions are shared out by `Shares`, and each source is gone through in passes:

    positions of the run    0 1 2 3 4 5 6 7 8 9     shares 2 and 3, source 0 has 3 samples
    source                  1 0 1 0 1 1 0 1 0 1
    number in the source    0 0 1 1 2 3 2 4 3 5
    pass of source 0          0   0     0   1

Requires the orders. Promises that in each stage, each source has its share of the positions up to
any of them, to less than two samples; that each pass over a source is an order of its own; and that
the samples up to a position depend on no stage that begins later. Epochs go on where the one before
has ended.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_seed
from headrace.arrays import Indices, fingerprint
from headrace.errors import ArgumentError
from headrace.sampling import streams
from headrace.sampling.block_shuffle import BlockShuffle
from headrace.sampling.mix.shares import Shares
from headrace.sampling.order import (
    Order,
    Parts,
    Sampling,
    alike_of,
    order_of,
    positions_of,
)
from headrace.sampling.permutations import Permutations


class _Span(NamedTuple):
    """Positions of the run with the same shares: its start, and the samples taken before it."""

    start: int
    shares: Shares
    taken: Indices


class MixOrder:
    """The order of a `Mix`. All epochs are one run of positions.

    Args:
        parts: the sources, which lie one after another.
        seed: of the orders of the sources.
        stages: (start, shares), of which the first starts at 0.
        limits: of passes of each source.
        shuffle: as `Mix` takes it.
        length: positions of an epoch.

    Attributes:
        sources: how many there are.
        block_shuffle: which shuffle reads as many blocks at a time; None is a full one.
    """

    repeats = True

    def __init__(
        self,
        parts: Parts,
        seed: int,
        stages: Sequence[tuple[int, Sequence[Fraction]]],
        limits: Sequence[int | None],
        shuffle: bool | Sampling,
        length: int,
    ) -> None:
        self._length = length
        self.sources: int = len(parts)
        self.block_shuffle: BlockShuffle | None = None
        largest = max(block for _, block, _ in parts)
        if isinstance(shuffle, BlockShuffle):
            window = shuffle.window * len(parts)
            self.block_shuffle = BlockShuffle(shuffle.block or largest, window)
        elif shuffle is False:
            self.block_shuffle = BlockShuffle(largest, window=len(parts))
        sizes = np.array([length for length, _, _ in parts])
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._orders: list[Order] | None = None
        order = "shuffled"
        if shuffle is True:
            # One for all, as a batch may have positions of many passes of small sources.
            key = np.random.SeedSequence(check_seed(seed), spawn_key=(streams.MIX_SAMPLES,))
            self._permutations = Permutations(np.maximum(sizes, 1), key)
            self._sizes = sizes
        else:
            self._orders = [
                order_of(shuffle, max(length, 1), _seed_of(seed, number), block)
                for number, (length, block, _) in enumerate(parts)
            ]
            order = repr([order.describe() for order in self._orders])
            # A source without samples, as a subset may leave one, has no positions.
            self._sizes = np.array([len(order) for order in self._orders]) * (sizes > 0)
        most = [
            None if k is None else k * size
            for k, size in zip(limits, self._sizes.tolist(), strict=True)
        ]
        self._spans = _spans(stages, most, self._sizes.tolist())
        self._span_starts = np.array([span.start for span in self._spans])
        said = (order, sizes.tolist(), most, length)
        self._hashes = [fingerprint(repr(said), _text(stages[: i + 1])) for i in range(len(stages))]
        self._stage_starts = [start for start, _ in stages]

    def __len__(self) -> int:
        return self._length

    def indices(self, epoch: int, positions: Indices) -> Indices:
        # Past 2**62 positions, which no one reaches, the run begins again.
        of_run = positions.reshape(-1) + epoch % (MAX_SAMPLES // self._length) * self._length
        sources, numbers = self._shared_out(of_run)
        passes, offsets = np.divmod(numbers, self._sizes[sources])
        samples = self._of_sources(sources, passes, offsets)
        samples += self._starts[sources]
        return samples.reshape(positions.shape)

    def positions(self, epoch: int, sample: int) -> Indices:
        """The positions of the sample in each pass over its source that the epoch has part of."""
        source = self._source_of(sample)
        begin = epoch % (MAX_SAMPLES // self._length) * self._length
        found = [np.zeros(0, np.int64)]
        for number, span in enumerate(self._spans):
            later = [following.start for following in self._spans[number + 1 : number + 2]]
            start, stop = max(begin, span.start), min([begin + self._length, *later])
            if start >= stop or not span.shares.integers[source]:
                continue
            taken = int(span.taken[source])
            first, end = (
                taken + span.shares.counts(at - span.start)[source] for at in (start, stop)
            )
            numbers = self._numbers_of(source, sample - int(self._starts[source]), first, end)
            found.append(span.start + span.shares.position(source, numbers - taken) - begin)
        return np.concatenate(found)

    def alike(self, sample: int) -> Sequence[int] | Indices:
        """The samples of its source, or those of them that the source's order takes for alike."""
        source = self._source_of(sample)
        start, end = int(self._starts[source]), int(self._ends[source])
        if self._orders is not None:
            within = alike_of(self._orders[source], sample - start)
            if within is not None:
                return start + np.asarray(within)
        return range(start, end)

    def _source_of(self, sample: int) -> int:
        return int(np.flatnonzero(self._starts <= sample)[-1])

    def describe(self) -> str:
        return self._described(len(self._hashes))

    def describe_until(self, epoch: int, position: int) -> str:
        """What tells the samples before a place from others: stages that begin before it."""
        before = epoch * self._length + position
        return self._described(max(1, sum(start < before for start in self._stage_starts)))

    def _described(self, stages: int) -> str:
        return f"mix({self._hashes[stages - 1]}, stages={stages}, length={self._length})"

    def _shared_out(self, of_run: Indices) -> tuple[Indices, Indices]:
        """The source of each position, and its number among those of that source."""
        found = np.searchsorted(self._span_starts, of_run, "right") - 1
        sources, numbers = np.empty_like(of_run), np.empty_like(of_run)
        for number in np.unique(found).tolist():
            span, rows = self._spans[number], np.flatnonzero(found == number)
            sources[rows], before = span.shares.of(of_run[rows] - span.start)
            numbers[rows] = before + span.taken[sources[rows]]
        return sources, numbers

    def _of_sources(self, sources: Indices, passes: Indices, offsets: Indices) -> Indices:
        """The samples at offsets in passes over sources, by their number in the source."""
        if self._orders is None:
            return self._permutations(sources, passes * len(self._sizes) + sources, offsets)
        samples: Indices = np.empty_like(offsets)
        for source in np.unique(sources).tolist():
            rows = np.flatnonzero(sources == source)
            for number in np.unique(passes[rows]).tolist():
                of_pass = rows[passes[rows] == number]
                samples[of_pass] = self._orders[source].indices(number, offsets[of_pass])
        return samples

    def _numbers_of(self, source: int, sample: int, first: int, end: int) -> Indices:
        """Of the numbers of a source from `first` to before `end`, those that give a sample."""
        size = int(self._sizes[source])
        passes = np.arange(first // size, -(-end // size))
        if self._orders is None:
            sources = np.full_like(passes, source)
            samples = np.full_like(passes, sample)
            of_passes = passes * len(self._sizes) + sources
            numbers = passes * size + self._permutations.positions(sources, of_passes, samples)
        else:
            order = self._orders[source]
            numbers = np.concatenate(
                [number * size + positions_of(order, number, sample) for number in passes.tolist()]
            )
        return numbers[(numbers >= first) & (numbers < end)]


def _spans(
    stages: Sequence[tuple[int, Sequence[Fraction]]],
    most: Sequence[int | None],
    sizes: Sequence[int],
) -> list[_Span]:
    """The stages, each cut where a source is used up.

    Args:
        stages: (start, shares).
        most: samples that are taken of each source, or None.
        sizes: of the sources.
    """
    spans: list[_Span] = []
    taken = [0] * len(sizes)
    for number, (begin, of_stage) in enumerate(stages):
        end = stages[number + 1][0] if number + 1 < len(stages) else MAX_SAMPLES
        while begin < end:
            left = [
                share if size and (limit is None or had < limit) else Fraction(0)
                for share, size, limit, had in zip(of_stage, sizes, most, taken, strict=True)
            ]
            if not any(left):
                raise ArgumentError(
                    f"shares must leave a source for all positions, but from position {begin} of "
                    "the run on, all that have a share are empty or have had their passes. Give a "
                    "source without a limit a share."
                )
            shares = Shares(left)
            spans.append(_Span(begin, shares, np.array(taken)))
            used_up = [
                begin + shares.position(source, limit - taken[source])
                for source, limit in enumerate(most)
                if limit is not None and left[source]
            ]
            stop = min([end, *used_up])
            counts = shares.counts(stop - begin)
            taken = [had + count for had, count in zip(taken, counts, strict=True)]
            begin = stop
    return spans


def _seed_of(seed: int, source: int) -> int:
    key = np.random.SeedSequence(seed, spawn_key=(streams.MIX_SOURCE, source))
    return int.from_bytes(key.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")


def _text(stages: Sequence[tuple[int, Sequence[Fraction]]]) -> str:
    """Stages with the same samples have the same text, whatever the unit of their shares."""
    return repr([(start, Shares(shares).integers) for start, shares in stages])
