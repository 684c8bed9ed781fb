"""Mix: samples of several sources, each by its share.

Positions are shared out by `Shares`, and each source is gone through in passes:

    positions of the run    0 1 2 3 4 5 6 7 8 9 ...
    source, by its share    1 0 1 0 1 1 0 1 0 1         shares 2 and 3
    number in the source    0 0 1 1 2 3 2 4 3 5
    pass, offset of source 0, of 3 samples              0 0, 0 1, 0 2, 1 0, ...

Requires the orders. Promises that, as far as a stage goes, each source has its share of the
positions up to any of them, to less than two samples; that each pass of a source is an order of its
own; and that the samples up to a position depend on no stage that begins later. Epochs go on where
the one before has ended.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_int, check_seed
from headrace.arrays import Indices
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.fingerprints import fingerprint
from headrace.part import Part
from headrace.sampling import streams
from headrace.sampling.order import Order, Sampling, order_of
from headrace.sampling.permutations import Permutations
from headrace.sampling.shares import Shares

# By number of the source, or by its name.
OfSources: TypeAlias = "Sequence[float] | Mapping[str, float]"


class Stage(NamedTuple):
    """Shares that hold from a position of the run on."""

    start: int
    shares: OfSources


class Mix:
    """Mixes the sources of a `Concat` by shares. To be passed as `shuffle=`.

    Of the positions up to any of them, each source has its share, to less than two samples: a share
    of 10**-4 is one sample in 10,000. Each source is gone through in passes, from epoch to epoch:
    all of its samples come before any comes again.

    Args:
        shares: of the sources, in their order, or by the names that `Concat` was given: numbers
            from 0 on, in whatever unit. Decimals are taken as they are written: 0.1 is one tenth.
        length: positions of an epoch. Default: as many as there are samples.
        stages: (start, shares) for each change of the shares, in order. `start` counts samples
            over all ranks and epochs: with epochs of `length` positions, it is `epoch * length +
            step * batch_size * world_size`. A state may be loaded by a loader with other stages, if
            they begin at its position or later.
        passes: how many passes over a source there are at most, in the whole run, by number or
            name; None is no limit. When a source is used up, the others share its share.
        shuffle: the order within each pass: a new one in each, that of the source, or a `Sampling`
            such as `BlockShuffle`, for each source by itself.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed;
            from a loader: its source is no `Concat`, or has other sources; or all sources that
            have a share are used up.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> large, small = np.arange(100), np.arange(1000, 1010)
        >>> mix = hr.Mix([0.75, 0.25], length=80)
        >>> loader = hr.Loader(hr.Concat(large, small), batch_size=8, shuffle=mix)
        >>> [int((batch >= 1000).sum()) for batch in loader]
        [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    """

    def __init__(
        self,
        shares: OfSources,
        length: int | None = None,
        stages: Sequence[tuple[int, OfSources]] | None = None,
        passes: Sequence[int | None] | Mapping[str, int | None] | None = None,
        shuffle: bool | Sampling = True,
    ) -> None:
        self._stages = [Stage(0, shares)]
        for number, stage in enumerate(stages or ()):
            if not isinstance(stage, Sequence) or len(stage) != 2:
                raise bad_value(f"stages[{number}]", stage, "a pair (start, shares)")
            least = self._stages[-1].start + 1
            start = check_int(f"stages[{number}][0]", stage[0], least, MAX_SAMPLES)
            self._stages.append(Stage(start, stage[1]))
        for number, (_, of_sources) in enumerate(self._stages):
            _check_shares("shares" if not number else f"stages[{number - 1}][1]", of_sources)
        self._length = None if length is None else check_int("length", length, 1, MAX_SAMPLES)
        self._passes = passes
        self._shuffle = shuffle

    def __repr__(self) -> str:
        more = f", stages={[tuple(stage) for stage in self._stages[1:]]}" if self._stages[1:] else ""
        length = "" if self._length is None else f", length={self._length}"
        return f"Mix({self._stages[0].shares}{length}{more})"

    def order(self, n: int, seed: int, block: int | None = None) -> Order:
        """Raises an ArgumentError: (a ValueError) these samples are of one source."""
        raise bad_value(
            "shuffle",
            self,
            f"for a source that says its parts, which these {n} samples do not",
            "Pass hr.Concat(...) of the sources to the loader.",
        )

    def order_of_parts(self, parts: Sequence[Part], seed: int) -> Order:
        """The order of the samples of sources that lie one after another."""
        stages = [
            (start, [_fraction(share) for share in _by_part("shares", shares, parts)])
            for start, shares in self._stages
        ]
        limits: list[int | None] = [None] * len(parts)
        if self._passes is not None:
            limits = [
                None if limit is None else check_int("passes", limit, 0, MAX_SAMPLES)
                for limit in _by_part("passes", self._passes, parts)
            ]
        length = self._length or sum(part.length for part in parts)
        return MixOrder(parts, seed, stages, limits, self._shuffle, length)


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
    """

    repeats = True

    def __init__(
        self,
        parts: Sequence[Part],
        seed: int,
        stages: Sequence[tuple[int, Sequence[Fraction]]],
        limits: Sequence[int | None],
        shuffle: bool | Sampling,
        length: int,
    ) -> None:
        self._length = length
        sizes = np.array([part.length for part in parts])
        self._starts = np.cumsum(sizes) - sizes
        self._orders: list[Order] | None = None
        order = "shuffled"
        if shuffle is True:
            # One for all, as a batch may have positions of many passes of small sources.
            key = np.random.SeedSequence(check_seed(seed), spawn_key=(streams.MIX_SAMPLES,))
            self._permutations = Permutations(np.maximum(sizes, 1), key)
            self._sizes = sizes
        else:
            self._orders = [
                order_of(shuffle, part.length, _seed_of(seed, number), part.block)
                for number, part in enumerate(parts)
            ]
            order = repr([order.describe() for order in self._orders])
            self._sizes = np.array([len(order) for order in self._orders])
        most = [None if k is None else k * size for k, size in zip(limits, self._sizes.tolist())]
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
        return (self._of_sources(sources, passes, offsets) + self._starts[sources]).reshape(
            positions.shape
        )

    def describe(self) -> str:
        return self._described(len(self._hashes))

    def describe_until(self, epoch: int, position: int) -> str:
        """What tells the samples before a place from others: no stage that begins there or later."""
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
        samples = np.empty_like(offsets)
        for source in np.unique(sources).tolist():
            rows = np.flatnonzero(sources == source)
            for number in np.unique(passes[rows]).tolist():
                of_pass = rows[passes[rows] == number]
                samples[of_pass] = self._orders[source].indices(number, offsets[of_pass])
        return samples


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


def _by_part(argument: str, given: object, parts: Sequence[Part]) -> list:
    """What is given for each source, in their order."""
    if isinstance(given, Mapping):
        names = [part.name for part in parts]
        if set(given) != set(names):
            named = f"{names}" if any(names) else "no names: pass hr.Concat(name=source, ...)"
            raise ArgumentError(
                f"{argument} must have a value for each source by its name, but has "
                f"{list(given)}, and the sources have {named}."
            )
        return [given[name] for name in names]
    if len(given) != len(parts):
        raise ArgumentError(
            f"{argument} must be one for each source, but {len(given)} were given for "
            f"{len(parts)} sources, of {', '.join(str(part.length) for part in parts)} samples."
        )
    return list(given)


def _check_shares(argument: str, shares: OfSources) -> None:
    values = list(shares.values() if isinstance(shares, Mapping) else shares)
    for value in values:
        if not 0 <= _fraction(value):
            raise bad_value(argument, shares, "numbers from 0 on")
    if not any(values):
        raise bad_value(argument, shares, "numbers of which one is above 0")


def _fraction(share: object) -> Fraction:
    """The number as it is written: 0.1 is one tenth, which no float is."""
    try:
        return share if isinstance(share, Fraction) else Fraction(str(share))
    except ValueError:
        raise bad_type("a share", share, "a finite number") from None


def _seed_of(seed: int, source: int) -> int:
    key = np.random.SeedSequence(seed, spawn_key=(streams.MIX_SOURCE, source))
    return int.from_bytes(key.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")


def _text(stages: Sequence[tuple[int, Sequence[Fraction]]]) -> str:
    """Stages with the same samples have the same text, whatever the unit of their shares."""
    return repr([(start, Shares(shares).integers) for start, shares in stages])
