"""How long samples of any length are, and how much padding each way to batch them would take."""

from typing import NamedTuple

import numpy as np

from headrace.arrays import Array, Indices
from headrace.readers.views.packed.best_fit import best_fit


class Padding(NamedTuple):
    """Which share of what is batched would be padding.

    Attributes:
        to_longest: if all were as long as the longest sample.
        to_longest_of_batch: if those of a batch were as long as the longest one in it.
        buckets: if each were as long as the next power of two, with those of its own kind.
        packed: if they were put into rows, as long as the power of two that holds the longest.
    """

    to_longest: float
    to_longest_of_batch: float
    buckets: float
    packed: float


class Lengths(NamedTuple):
    """The lengths of an array of samples.

    Attributes:
        samples: how many of them they were told from.
        row: of what they are packed into.
    """

    samples: int
    shortest: int
    mean: float
    median: int
    percent_90: int
    percent_99: int
    longest: int
    row: int
    padding: Padding


def lengths_found(lengths: Indices, batch_size: int) -> Lengths:
    """What there is to say of lengths, of one sample at least, and of batches of so many."""
    ordered = np.sort(lengths)
    n, total, longest = len(ordered), int(ordered.sum()), int(ordered[-1])
    half, most, nearly_all = (int(ordered[-(-n * of_100 // 100) - 1]) for of_100 in (50, 90, 99))
    row = int(_powers(ordered[-1:])[0])
    filled = ordered[ordered > 0][::-1]
    rows = int(best_fit(filled, row, n).max(initial=-1)) + 1
    shuffled = np.random.default_rng(0).permutation(ordered)
    starts = np.arange(0, n, batch_size)
    in_batches = np.maximum.reduceat(shuffled, starts) * np.diff(starts, append=n)
    padding = Padding(
        _share(total, n * longest),
        _share(total, int(in_batches.sum())),
        _share(total, int(_powers(ordered).sum())),
        _share(total, rows * row),
    )
    shortest, mean = int(ordered[0]), total / n
    return Lengths(n, shortest, mean, half, most, nearly_all, longest, row, padding)


def lines(name: str, found: Lengths, batch_size: int) -> list[str]:
    """The same, to be read."""
    return [
        f"lengths        {name}: {found.shortest} to {found.longest}, {found.mean:.1f} on average, "
        f"told from {found.samples} samples",
        f"               half are at most {found.median} long, 90% {found.percent_90}, "
        f"99% {found.percent_99}",
        f"padding        {found.padding.to_longest:.1%} if all are padded to the longest",
        f"               {found.padding.to_longest_of_batch:.1%} to the longest of a batch of "
        f"{batch_size}: hr.pad()",
        f"               {found.padding.buckets:.1%} in batches of like length, to powers of two: "
        "hr.Buckets",
        f"               {found.padding.packed:.1%} packed into rows of {found.row}: hr.Packed",
    ]


def _powers(lengths: Array) -> Indices:
    """The least powers of two that hold them; of none, 1."""
    powers: Indices = 1 << np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    return powers


def _share(total: int, batched: int) -> float:
    return 1 - total / batched if batched else 0.0
