"""Permutations: many permutations of small ranges, at once.

`Permutation` is one permutation, whose keys take longer to make than a batch to permute. Where each
class or source is gone through in passes, a batch has positions of many, so here their keys are
computed with the positions, in arrays.

Requires numpy. Promises what `Permutation` does, for each of the permutations.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arrays import Indices

_U64 = np.uint64
# Of 32 bits, or of 64.
_Words: TypeAlias = npt.NDArray[np.unsignedinteger]
_Scramble: TypeAlias = Callable[[_Words, npt.NDArray[_U64], _Words, _Words], None]
# As many as in `Permutation`. With 8, one in a hundred tests fails: docs/decisions/permutation.md
_ROUNDS = 10
# Positions and words that are computed at a time, so that they stay in the CPU's cache.
_AT_ONCE = 16384


class Permutations:
    """Permutations of the ranges of `sizes`, as many of each as there are int64 numbers.

    Args:
        sizes: of the ranges, each 1 to 2**62.
        seed: a `numpy.random.SeedSequence`.

    Source: the rounds of `Permutation`. Their keys come from a hash of the permutation's number,
    the finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number
    Generators", 2014), by multiply-shift hashing (M. Dietzfelbinger and others, "A Reliable
    Randomized Algorithm for the Closest-Pair Problem", 1997).
    """

    def __init__(self, sizes: Indices, seed: np.random.SeedSequence) -> None:
        bits = [max(1, (size - 1).bit_length()) for size in sizes.tolist()]
        # As in `Permutation`, numbers of 32 bits give the same, if there are no larger ones.
        kind = np.uint32 if max(bits) <= 32 else np.uint64
        self._lasts = (sizes - 1).astype(kind)
        self._masks: _Words = np.array([(1 << count) - 1 for count in bits], kind)
        self._shifts: _Words = np.array([max(1, count // 2) for count in bits], kind)
        self._start = seed.generate_state(1, _U64)[0]

    def __call__(self, which: Indices, numbers: Indices, positions: Indices) -> Indices:
        """What stands at positions of permutations.

        Args:
            which: of the ranges each position is in, int64, one-dimensional like all of them.
            numbers: of the permutation of that range.
            positions: in it.

        Returns:
            int64, of the same length.
        """
        return self._walked(_scramble_part, which, numbers, positions)

    def positions(self, which: Indices, numbers: Indices, found: Indices) -> Indices:
        """Where numbers stand in permutations: the arguments and the result are as of a call."""
        return self._walked(_unscramble_part, which, numbers, found)

    def _walked(
        self, scramble: _Scramble, which: Indices, numbers: Indices, positions: Indices
    ) -> Indices:
        """Scrambled until each is in its range: cycle walking, as in `Permutation`."""
        keys = _hashed(numbers.astype(_U64) * _U64(_GOLDEN) + self._start)
        mapped = positions.astype(self._lasts.dtype)
        lasts, masks, shifts = self._lasts[which], self._masks[which], self._shifts[which]
        _in_parts(scramble, mapped, keys, masks, shifts)
        outside = np.flatnonzero(mapped > lasts)
        while outside.size:
            walkers = mapped[outside]
            _in_parts(scramble, walkers, keys[outside], masks[outside], shifts[outside])
            mapped[outside] = walkers
            outside = outside[walkers > lasts[outside]]
        return mapped.astype(np.int64)


def _hashed(words: npt.NDArray[_U64]) -> npt.NDArray[_U64]:
    """A bijection of 64 bits, in place, whose every bit depends on all of them."""
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> _U64(shift)
        words *= _U64(multiplier)
    words ^= words >> _U64(31)
    return words


_GOLDEN = 0x9E3779B97F4A7C15
# What keys are multiplied by in each round, in a row of its own: odd numbers without a pattern.
_FACTORS = (_hashed(np.arange(1, _ROUNDS + 1, dtype=_U64) * _U64(_GOLDEN)) | _U64(1))[:, None]


def _in_parts(
    scramble: _Scramble, numbers: _Words, keys: npt.NDArray[_U64], masks: _Words, shifts: _Words
) -> None:
    for begin in range(0, len(numbers), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        scramble(numbers[part], keys[part], masks[part], shifts[part])


def _scramble_part(numbers: _Words, keys: npt.NDArray[_U64], masks: _Words, shifts: _Words) -> None:
    """A bijection of range(2**bits) for each of the keys, in place.

    The numbers, masks and shifts are of 32 bits or of 64, all of them alike.
    """
    shifted = np.empty_like(numbers)
    for adds, multipliers in _words(keys, numbers.dtype.type, _FACTORS):
        for add, multiplier in zip(adds, multipliers, strict=True):
            numbers += add
            numbers *= multiplier
            numbers &= masks
            np.right_shift(numbers, shifts, out=shifted)
            numbers ^= shifted


def _unscramble_part(
    numbers: _Words, keys: npt.NDArray[_U64], masks: _Words, shifts: _Words
) -> None:
    """The inverse of `_scramble_part`."""
    kind = numbers.dtype.type
    for adds, multipliers in _words(keys, kind, _FACTORS[::-1]):
        # Each step of Newton's method makes twice as many bits of the inverses right, from 5 on.
        inverses = multipliers * kind(3) ^ kind(2)
        for _ in range(4):
            inverses *= kind(2) - multipliers * inverses
        for add, inverse in zip(adds, inverses, strict=True):
            mixed = numbers.copy()
            for _ in range(3):  # each time, as many more bits are right as it is shifted by
                np.right_shift(numbers, shifts, out=numbers)
                numbers ^= mixed
            numbers *= inverse
            numbers -= add
            numbers &= masks


def _words(
    keys: npt.NDArray[_U64], kind: type[np.unsignedinteger], factors: npt.NDArray[_U64]
) -> Iterator[tuple[_Words, _Words]]:
    """What is added and multiplied in the rounds: of several in one call, where keys are few.

    It is overwritten by the next.
    """
    at_once = min(_ROUNDS, max(1, _AT_ONCE // len(keys)))
    words = np.empty((at_once, len(keys)), _U64)
    adds: _Words = np.empty(words.shape, kind)
    multipliers: _Words = np.empty_like(adds)
    for first in range(0, _ROUNDS, at_once):
        of_rounds = factors[first : first + at_once]
        count = len(of_rounds)
        np.multiply(keys, of_rounds, out=words[:count])
        words >>= _U64(32)  # the low bits of a product depend on few of the key's
        adds[...] = words
        np.right_shift(adds, kind(9), out=multipliers)
        multipliers |= kind(1)
        yield adds[:count], multipliers[:count]


def shuffled_rows(size: int, numbers: Indices, start: _U64) -> Indices:
    """A permutation of range(size) for each of the numbers: int64, shape (len(numbers), size).

    Where whole permutations are wanted, this is faster than `Permutations`: random words with their
    place in the last bits, sorted.

    Args:
        size: 1 to 2**31.
        numbers: int64, one-dimensional.
        start: random; of each stream another one.
    """
    places = np.arange(size, dtype=_U64)
    last_bits = _U64((1 << (size - 1).bit_length()) - 1)
    keys = _hashed(numbers.astype(_U64) * _U64(_GOLDEN) + start)
    rows = _hashed(keys[:, None] + (places + _U64(1)) * _U64(_GOLDEN))
    rows &= ~last_bits
    rows |= places
    rows.sort(axis=1)
    rows &= last_bits
    return rows.view(np.int64)
