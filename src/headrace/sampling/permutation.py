"""Permutation: a keyed bijection of range(n) in O(1) memory.

Requires numpy. Promises that for every n from 1 to 2**62 and every seed, `Permutation(n, seed)`
maps range(n) one-to-one onto itself, that equal arguments give equal permutations on every machine
and in every release, and that nothing is stored but the keys.
"""

import operator
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from headrace.arguments import MAX_SAMPLES, check_int, check_seed
from headrace.arrays import Indices
from headrace.errors import OutOfRangeError, bad_type

# Statistical tests fail up to 7 rounds and pass from 8 on: docs/decisions/permutation.md
_ROUNDS = 10
# So few numbers are permuted in less time one by one, as a call of numpy takes most of it.
_ONE_BY_ONE = 6
# Numbers that are scrambled at a time, so that they stay in the CPU's cache.
_BYTES_AT_ONCE = 2**17


class Permutation:
    """A pseudo-random permutation of `range(n)`, computed, not stored.

    `permutation[i]` is the number at position `i`. An int gives an int; an integer array of any
    shape gives an int64 array of that shape. It costs the same at n = 10 and at n = 10**18.

    Args:
        n: how many numbers are permuted, 1 to 2**62.
        seed: a non-negative int, or a `numpy.random.SeedSequence`.

    Raises:
        ArgumentError: (a ValueError) n or seed is out of range.
        OutOfRangeError: (an IndexError) on indexing outside range(n).

    Source: rounds of keyed add, odd multiply and xorshift on the next power of two, each of them
    invertible, as in M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically
    Good Algorithms for Random Number Generation", 2014, section 5; brought down to range(n) by
    cycle walking: J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", 2002.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> permutation = hr.Permutation(5, seed=0)
        >>> sorted(permutation[np.arange(5)].tolist())
        [0, 1, 2, 3, 4]
        >>> [permutation[i] for i in range(5)] == permutation[np.arange(5)].tolist()
        True
    """

    __slots__ = ("_arrays", "_keys", "_mask", "_n", "_shift")

    def __init__(self, n: int, seed: int | np.random.SeedSequence = 0) -> None:
        self._n = check_int("n", n, 1, MAX_SAMPLES)
        if not isinstance(seed, np.random.SeedSequence):
            seed = np.random.SeedSequence(check_seed(seed))
        bits = max(1, (self._n - 1).bit_length())
        mask = (1 << bits) - 1
        words = [int(word) for word in seed.generate_state(2 * _ROUNDS, np.uint64)]
        # Of the numbers, `bits` matter at each step, so that those of 32 bits, which processors
        # multiply several at a time, give the same.
        kind = np.uint32 if bits <= 32 else np.uint64
        adds, multipliers = words[:_ROUNDS], words[_ROUNDS:]
        # What to add and what to multiply by, in each round.
        self._keys = [(a & mask, (b | 1) & mask) for a, b in zip(adds, multipliers, strict=True)]
        # As arrays of no axes, with which numpy computes in less time than with its scalars.
        self._arrays = [(np.array(a, kind), np.array(b, kind)) for a, b in self._keys]
        self._mask = np.array(mask, kind)
        self._shift = np.array(max(1, bits // 2), kind)

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"Permutation(n={self._n})"

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: npt.NDArray[np.integer]) -> Indices: ...

    def __getitem__(self, index: int | npt.NDArray[np.integer]) -> int | Indices:
        if isinstance(index, np.ndarray) and index.ndim:
            if index.dtype.kind not in "iu":
                raise bad_type("index", index.flat[:1], "an int or an array of integers")
            if index.size and (index.min() < 0 or index.max() >= self._n):
                raise OutOfRangeError(
                    f"index must lie in range({self._n}), but the array spans "
                    f"{index.min()} to {index.max()}."
                )
            return self._map(index.reshape(-1)).reshape(index.shape)
        try:
            position = operator.index(index)
        except TypeError:
            raise bad_type("index", index, "an int or an array of integers") from None
        if not 0 <= position < self._n:
            raise OutOfRangeError(f"index must lie in range({self._n}), but {position} was given.")
        return int(self._map(np.array([position]))[0])

    def position(self, number: int) -> int:
        """Where `number` is: `permutation[permutation.position(number)] == number`.

        Raises:
            OutOfRangeError: (an IndexError) it is not in range(n).
        """
        found = operator.index(number)
        if not 0 <= found < self._n:
            raise OutOfRangeError(f"number must lie in range({self._n}), but {found} was given.")
        while True:  # cycle walking, the other way round
            found = self._unscrambled(found)
            if found < self._n:
                return found

    def _map(self, index: npt.NDArray[np.integer]) -> Indices:
        """Permutes numbers of range(n)."""
        numbers: npt.NDArray[Any] = index.astype(self._mask.dtype)
        self._scramble(numbers)
        # The power of two is less than twice n, so each pass brings home more than half of the
        # rest.
        outside = np.flatnonzero(numbers >= self._n)
        while outside.size > _ONE_BY_ONE:
            walkers = numbers[outside]
            self._scramble(walkers)
            numbers[outside] = walkers
            outside = outside[walkers >= self._n]
        for at in outside.tolist():
            numbers[at] = self._brought_home(numbers.item(at))
        return numbers.view(np.int64) if numbers.itemsize == 8 else numbers.astype(np.int64)

    def _scramble(self, numbers: npt.NDArray[np.unsignedinteger]) -> None:
        """A bijection of range(2**bits), in place."""
        mask, shift = self._mask, self._shift
        at_once = _BYTES_AT_ONCE // numbers.itemsize
        for begin in range(0, len(numbers), at_once):
            part = numbers[begin : begin + at_once]
            shifted = np.empty_like(part)
            for add, multiplier in self._arrays:
                np.add(part, add, part)
                np.multiply(part, multiplier, part)
                np.bitwise_and(part, mask, part)
                np.right_shift(part, shift, shifted)
                np.bitwise_xor(part, shifted, part)

    def _brought_home(self, number: int) -> int:
        """What comes of a number outside range(n), in as many passes as it takes."""
        mask, shift = int(self._mask), int(self._shift)
        while number >= self._n:
            for add, multiplier in self._keys:
                number = (number + add) * multiplier & mask
                number ^= number >> shift
        return number

    def _unscrambled(self, number: int) -> int:
        """What `_scramble` makes `number` of."""
        mask, shift = int(self._mask), int(self._shift)
        for add, multiplier in reversed(self._keys):
            mixed = number
            for _ in range(mask.bit_length() // shift):  # each time, `shift` more bits are right
                number = mixed ^ (number >> shift)
            number = number * pow(multiplier, -1, mask + 1) - add & mask
        return number
