"""Weighted: samples as often as their weights say.

Requires the permutation. Promises, for the same weights, the same samples on every machine: weights
become integers once, and what is drawn is compared with integers alone.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import MAX_SAMPLES, check_bool, check_int, check_seed
from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.sampling import streams
from headrace.sampling.order import Order
from headrace.sampling.permutation import Permutation

# The weights' sum becomes an integer of at most so many bits, and draws have as many.
_BITS = 62
_AT_ONCE = 2**16
# A guide for so many weights: more, and the search has more steps; fewer, and it takes more memory.
_WEIGHTS_A_GUIDE = 8
# By then, most draws are found; the others lie among many small weights.
_GUIDED_STEPS = 6


class Weighted:
    """Draws samples by weight. To be passed as `shuffle=`.

    With replacement, each position of an epoch is drawn by itself: a sample comes, on average,
    `length * weight / sum(weights)` times, and at any position with the same probability. Without,
    each epoch is an order of its own in which heavy samples tend to come early, as if they were
    drawn one after the other; with a `length` below the number of samples, light ones are often
    left out.

    It takes 8 bytes a sample; without replacement, 4 more for the order of an epoch, which is
    sorted when it begins.

    Args:
        weights: of the samples, in their order: numbers from 0 on, shape (n,). Samples of weight 0
            never come. They are rounded to about 2**-60 of their sum.
        length: positions of an epoch. Default: n, or without replacement all that have a weight.
        replacement: whether a sample may come several times in an epoch.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed;
            from a loader: there are not as many weights as samples.

    Source: with replacement, the inversion method with a guide table: H.-C. Chen and Y. Asau, "On
    Generating Random Variates from an Empirical Distribution", 1974. Without, the smallest of
    exponential variables, each divided by its weight: P. Efraimidis and P. Spirakis, "Weighted
    Random Sampling with a Reservoir", 2006.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> labels = np.array([0] * 900 + [1] * 100)
        >>> weights = 1 / np.bincount(labels)[labels]  # both classes equally often
        >>> loader = hr.Loader(labels, batch_size=100, shuffle=hr.Weighted(weights))
        >>> len(loader)
        10
        >>> bool(400 < sum(batch.sum() for batch in loader) < 600)
        True
    """

    def __init__(
        self, weights: npt.ArrayLike, length: int | None = None, replacement: bool = True
    ) -> None:
        self._replacement = check_bool("replacement", replacement)
        self._sums = _cumulated(_checked(weights))
        n, most = len(self._sums), MAX_SAMPLES
        if not replacement:
            n = most = _count_positive(self._sums)
        if length is not None:
            length = check_int("length", length, 1, MAX_SAMPLES)
            if length > most:
                remedy = "Use replacement=True, or a shorter length."
                allowed = f"at most {most}, the samples that have a weight, without replacement"
                raise bad_value("length", length, allowed, remedy)
        self._length = n if length is None else length

    def __repr__(self) -> str:
        return (
            f"Weighted(n={len(self._sums)}, length={self._length}, replacement={self._replacement})"
        )

    def order(self, n: int, seed: int, block: int | None = None) -> Order:
        """The order of `n` samples."""
        if n != len(self._sums):
            raise ArgumentError(
                f"weights must be as many as the samples, which are {n}, but {len(self._sums)} "
                "were given."
            )
        kind = WithReplacement if self._replacement else WithoutReplacement
        return kind(self._sums, seed, self._length)


class _ByWeight:
    """What both orders have in common.

    Args:
        sums: the cumulated weights, int64, the last of them at most 2**62.
        seed: of the draws.
        length: positions of an epoch.
    """

    _name: str

    def __init__(self, sums: Indices, seed: int, length: int) -> None:
        self._sums = sums
        self._seed = check_seed(seed)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def describe(self) -> str:
        return f"weighted({self._hash}, {self._name}, length={self._length})"

    @functools.cached_property
    def _hash(self) -> str:
        return fingerprint(self._sums.astype("<i8", copy=False).view(np.uint8).data)

    def _draws(self, stream: int, epoch: int) -> Permutation:
        """Random numbers in range(2**62), by position."""
        key = np.random.SeedSequence(self._seed, spawn_key=(stream, epoch))
        return Permutation(2**_BITS, key)


class WithReplacement(_ByWeight):
    """Each position is drawn by itself, from (seed, epoch, position)."""

    repeats = True
    _name = "with replacement"

    def __init__(self, sums: Indices, seed: int, length: int) -> None:
        super().__init__(sums, seed, length)
        self._total = int(sums[-1])
        # Draws of a guide's range are among the samples from its entry to the next one's.
        self._range_bits = self._total.bit_length() - max(
            1, (len(sums) // _WEIGHTS_A_GUIDE).bit_length()
        )
        ranges = (self._total - 1 >> self._range_bits) + 1
        starts = np.arange(ranges, dtype=np.int64) << self._range_bits
        kind = np.uint32 if len(sums) < 2**32 else np.int64
        self._guide = np.append(sums.searchsorted(starts, "right"), len(sums) - 1).astype(kind)
        self._latest = 0, self._draws(streams.WEIGHTED_DRAWS, 0)

    def indices(self, epoch: int, positions: Indices) -> Indices:
        latest, draws = self._latest
        if latest != epoch:
            draws = self._draws(streams.WEIGHTED_DRAWS, epoch)
            self._latest = epoch, draws  # one tuple, as threads may be at different epochs
        drawn = _share(draws[positions.reshape(-1)], self._total)
        return self._found(drawn).reshape(positions.shape)

    def _found(self, drawn: Indices) -> Indices:
        """The samples into whose part of the total the numbers fall."""
        ranges = drawn >> self._range_bits
        low, high = self._guide[ranges].astype(np.int64), self._guide[ranges + 1].astype(np.int64)
        for _ in range(_GUIDED_STEPS):
            middle = (low + high) >> 1
            above = self._sums[middle] <= drawn
            low, high = np.where(above, middle + 1, low), np.where(above, high, middle)
        left = np.flatnonzero(low < high)
        if left.size:
            low[left] = self._sums.searchsorted(drawn[left], "right")
        samples: Indices = low
        return samples


class WithoutReplacement(_ByWeight):
    """Each epoch in an order drawn from (seed, epoch), which is kept until the next one's."""

    repeats = False
    _name = "without replacement"

    def __init__(self, sums: Indices, seed: int, length: int) -> None:
        super().__init__(sums, seed, length)
        self._latest: tuple[int, Array] | None = None

    def indices(self, epoch: int, positions: Indices) -> Indices:
        samples: Indices = self._order(epoch)[positions].astype(np.int64)
        return samples

    def positions(self, epoch: int, sample: int) -> Indices:
        return np.flatnonzero(self._order(epoch) == sample)

    def _order(self, epoch: int) -> Array:
        latest = self._latest
        if latest is None or latest[0] != epoch:
            latest = epoch, self._samples(epoch)
            self._latest = latest  # one tuple, as threads may be at different epochs
        return latest[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_latest": None}

    def _samples(self, epoch: int) -> Array:
        n = len(self._sums)
        draws = self._draws(streams.WEIGHTED_ORDER, epoch)
        number_bits = np.uint64((n - 1).bit_length())
        numbers = np.uint64((1 << int(number_bits)) - 1)
        # The sample's number takes the place of the last bits, so that no two are equal and the
        # order is the same however they are sorted.
        keys = np.empty(n, np.uint64)
        before = 0
        for begin in range(0, n, _AT_ONCE):
            samples = np.arange(begin, min(begin + _AT_ONCE, n))
            part = slice(begin, begin + len(samples))
            weights = np.diff(self._sums[part], prepend=before)
            before = int(self._sums[samples[-1]])
            with np.errstate(divide="ignore"):  # by weight 0: infinite, and last of all
                times = _exponential(draws[samples]) / weights
            # Floats from 0 on are in the order of their bits, of which the first is 0.
            keys[part] = times.view(np.uint64) << np.uint64(1)
            keys[part] &= ~numbers
            keys[part] |= samples.view(np.uint64)
        if self._length < n:
            keys.partition(self._length)
            keys = keys[: self._length].copy()
        keys.sort()
        keys &= numbers
        return keys.astype(np.uint32 if n <= 2**32 else np.uint64)


def _checked(weights: npt.ArrayLike) -> Array:
    try:
        checked = np.asarray(weights)
    except ValueError as error:
        raise ArgumentError(f"weights must be numbers, shape (n,): {error}") from None
    if checked.dtype.kind not in "biuf":
        raise bad_type("weights", weights, "an array of numbers", "They are in the samples' order.")
    if checked.ndim != 1 or not checked.size:
        raise bad_value("weights", checked, "of shape (n,), one for each sample")
    for begin in range(0, len(checked), _AT_ONCE):
        part = checked[begin : begin + _AT_ONCE]
        wrong = np.flatnonzero(~(np.isfinite(part) & (part >= 0)))
        if wrong.size:
            value = part[wrong[0]].item()
            raise bad_value(f"weights[{begin + wrong[0]}]", value, "a finite number from 0 on")
    if not checked.any():
        raise ArgumentError("weights must have one above 0, but all are 0.")
    return checked


def _cumulated(weights: Array) -> Indices:
    """The cumulated weights as integers, of which the last is above 2**60, at most 2**62.

    They are scaled by a power of two, so that only the last bits of small ones are rounded. No sum
    is of floats, which machines add in different orders.
    """
    # Scaled so that no sum can be too large, and then by what the sum leaves.
    largest = math.frexp(float(weights.max()))[1]
    scale = _BITS - 1 - largest - (len(weights) - 1).bit_length()
    total = sum(int(part.sum()) for part in _integers(weights, scale))
    scale += _BITS - 1 - total.bit_length()
    sums = np.empty(len(weights), np.int64)
    before, begin = 0, 0
    for part in _integers(weights, scale):
        end = begin + len(part)
        np.cumsum(part, out=sums[begin:end])
        sums[begin:end] += before
        before, begin = int(sums[end - 1]), end
    return sums


def _integers(weights: Array, scale: int) -> Iterator[Indices]:
    """The weights times 2**scale, rounded, in parts."""
    for begin in range(0, len(weights), _AT_ONCE):
        part = weights[begin : begin + _AT_ONCE].astype(np.float64)
        yield np.rint(np.ldexp(part, scale)).astype(np.int64)


def _count_positive(sums: Indices) -> int:
    return int(np.count_nonzero(sums[1:] > sums[:-1])) + int(sums[0] > 0)


def _share(draws: Indices, total: int) -> Indices:
    """`draws * total // 2**62`, where both are at most 2**62, without more than 64 bits."""
    half = np.uint64(_BITS // 2)
    low_bits = np.uint64(2 ** (_BITS // 2) - 1)
    numbers = draws.view(np.uint64)
    high, low = numbers >> half, numbers & low_bits
    total_high, total_low = np.uint64(total) >> half, np.uint64(total) & low_bits
    middle = high * total_low + low * total_high + (low * total_low >> half)
    share: Indices = (high * total_high + (middle >> half)).view(np.int64)
    return share


def _exponential(draws: Indices) -> npt.NDArray[np.float64]:
    """Exponential variables of draws from range(2**62): -log((draw + 1) / 2**62).

    Of `numpy.log`, the last bit differs from machine to machine, and with it the order. Sums,
    products and quotients of floats do not.
    """
    mantissas, exponents = np.frexp((draws + 1) * 2.0**-_BITS)
    small = mantissas < 0.7071
    mantissas[small] *= 2
    exponents = exponents - small
    z = (mantissas - 1) / (mantissas + 1)
    square = z * z
    series = np.zeros_like(z)
    for odd in range(17, 0, -2):  # log(m) = 2 * (z + z**3 / 3 + z**5 / 5 + ...)
        series = series * square + 1 / odd
    exponential: npt.NDArray[np.float64] = -(exponents * math.log(2) + 2 * z * series)
    return exponential
