"""Shares: which source each position goes to, so that each has its exact share up to any of them.

Sources are the leaves of a binary tree. A node that has had c positions has given
floor(c * left / both + 1/2) of them to its left side, where left and both are shares, and the rest
to its right side. So each position goes to one source, with no memory of those before, and no
remainder is ever lost:

    shares 2, 1, 1       (2, (1, 1))

    position             0 1 2 3 4 5 6 7
    source               2 0 1 0 2 0 1 0

With the tree of Huffman's code, no source is ever 1.7 samples from its share, with two sources half
a sample. Largest remainders alone would not do: there, a source can have more of 100 positions than
of 101.

Requires numpy. All is computed with integers.
"""

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from headrace.arrays import Indices

# Shares become integers with this sum, or a smaller one if that is exact.
_MOST = 2**31


class _Node(NamedTuple):
    """Two sides, and their shares."""

    left: "_Tree"
    right: "_Tree"
    left_share: int
    both: int

    def of_left(self, count: int) -> int:
        """How many of the first `count` positions go left."""
        return (count * self.left_share + self.both // 2) // self.both


_Tree: TypeAlias = int | _Node
_Count = TypeVar("_Count", int, Indices)


class Shares:
    """Positions 0, 1, 2, ... shared out among sources.

    Args:
        shares: of each source, from 0 on, not all 0.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self.integers: list[int] = _as_integers(shares)
        self._tree = _huffman(self.integers)

    def of(self, positions: Indices) -> tuple[Indices, Indices]:
        """The source of each position, and how many the source had before: int64 both."""
        sources, before = np.empty_like(positions), np.empty_like(positions)
        _descend(self._tree, positions, np.arange(len(positions)), sources, before)
        return sources, before

    def counts(self, position: int) -> list[int]:
        """How many positions before this one each source has."""
        counts = [0] * len(self.integers)
        _count(self._tree, position, counts)
        return counts

    def position(self, source: int, before: _Count) -> _Count:
        """The position that a source gets after so many others; of an array, int64 for each."""
        for node in reversed(_path(self._tree, source)):
            left_share, right_share = node.left_share, node.both - node.left_share
            # Whole multiples are apart, as the product with all of them might not fit.
            if _holds(node.left, source):  # the first position of which more go left
                whole, rest = divmod(before + 1, left_share)
                before = whole * node.both - (node.both // 2 - rest * node.both) // left_share - 1
            else:
                whole, rest = divmod(before, right_share)
                before = whole * node.both + (rest * node.both + node.both // 2) // right_share
        return before


def _descend(
    tree: _Tree,
    positions: Indices,
    where: Indices,
    sources: Indices,
    before: Indices,
) -> None:
    """Fills in what becomes of positions of a node, which are those at `where` of the whole."""
    if not isinstance(tree, _Node):
        sources[where], before[where] = tree, positions
        return
    # As `of_left`, of which products would not fit: shares are at most 2**31, positions are not.
    whole, rest = np.divmod(positions, tree.both)
    rest *= tree.left_share
    rest += tree.both // 2
    of_left, rest = np.divmod(rest, tree.both)
    of_left += whole * tree.left_share
    goes_left = rest >= tree.both - tree.left_share
    left, right = np.flatnonzero(goes_left), np.flatnonzero(~goes_left)
    of_right = (positions - of_left)[right]
    _descend(tree.left, of_left[left], where[left], sources, before)
    _descend(tree.right, of_right, where[right], sources, before)


def _count(tree: _Tree, position: int, counts: list[int]) -> None:
    if not isinstance(tree, _Node):
        counts[tree] = position
        return
    of_left = tree.of_left(position)
    _count(tree.left, of_left, counts)
    _count(tree.right, position - of_left, counts)


def _path(tree: _Tree, source: int) -> list[_Node]:
    """The nodes from the root to a source."""
    path = []
    while isinstance(tree, _Node):
        path.append(tree)
        tree = tree.left if _holds(tree.left, source) else tree.right
    return path


def _holds(tree: _Tree, source: int) -> bool:
    if not isinstance(tree, _Node):
        return tree == source
    return _holds(tree.left, source) or _holds(tree.right, source)


def _huffman(shares: list[int]) -> _Tree:
    heap: list[tuple[int, int, _Tree]] = [
        (share, number, number) for number, share in enumerate(shares) if share
    ]
    heapq.heapify(heap)
    number = len(shares)  # so that the tree is the same where shares are
    while len(heap) > 1:
        light, heavy = heapq.heappop(heap), heapq.heappop(heap)
        both = light[0] + heavy[0]
        heapq.heappush(heap, (both, number, _Node(heavy[2], light[2], heavy[0], both)))
        number += 1
    return heap[0][2]


def _as_integers(shares: Sequence[Fraction]) -> list[int]:
    """Integers in the proportions of the shares; exact, if their sum is not too large."""
    total = sum(shares, Fraction(0))
    parts = [share / total for share in shares]
    sum_of_exact = math.lcm(*(part.denominator for part in parts))
    if sum_of_exact <= _MOST:
        return [int(part * sum_of_exact) for part in parts]
    rounded = [max(1, int(part * _MOST)) if part else 0 for part in parts]
    # By largest remainder; where tiny shares were rounded up, the largest gives it back.
    left = _MOST - sum(rounded)
    remainders = sorted(range(len(parts)), key=lambda i: rounded[i] - parts[i] * _MOST)
    for i in remainders[: max(0, left)]:
        rounded[i] += 1
    if left < 0:
        rounded[rounded.index(max(rounded))] += left
    return rounded
