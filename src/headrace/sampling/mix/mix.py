"""Mix: samples of several sources, each by its share.

Requires its order. Promises to say which of its arguments does not fit the sources.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.sampling.mix.mix_order import MixOrder
from headrace.sampling.order import Order, Parts, Sampling

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
            over all ranks and epochs: `epoch * length + step * batch_size * world_size`. A state
            may be loaded by a loader with other stages, if they begin at its position or later.
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
        more = (
            f", stages={[tuple(stage) for stage in self._stages[1:]]}" if self._stages[1:] else ""
        )
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

    def order_of_parts(self, parts: Parts, seed: int) -> Order:
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
        length = self._length or sum(length for length, _, _ in parts)
        return MixOrder(parts, seed, stages, limits, self._shuffle, length)


def _by_part(argument: str, given: Any, parts: Parts) -> list[object]:
    """What is given for each source, in their order."""
    if isinstance(given, Mapping):
        names = [name for _, _, name in parts]
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
            f"{len(parts)} sources, of {', '.join(str(length) for length, _, _ in parts)} samples."
        )
    return list(given)


def _check_shares(argument: str, shares: OfSources) -> None:
    values = list(shares.values() if isinstance(shares, Mapping) else shares)
    for value in values:
        if not _fraction(value) >= 0:
            raise bad_value(argument, shares, "numbers from 0 on")
    if not any(values):
        raise bad_value(argument, shares, "numbers of which one is above 0")


def _fraction(share: object) -> Fraction:
    """The number as it is written: 0.1 is one tenth, which no float is."""
    try:
        return share if isinstance(share, Fraction) else Fraction(str(share))
    except ValueError:
        raise bad_type("a share", share, "a finite number") from None
