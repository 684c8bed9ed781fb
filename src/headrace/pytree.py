"""Pytrees: nested tuples and dicts, the form that a source, its specs and its batches share.

Requires nothing. A tree is a leaf, a tuple (or named tuple) of trees, or a dict of them; all else,
lists too, is a leaf. Leaves are visited in the order of the tuple, or of the insertion into a dict.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar, overload

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")

Tree: TypeAlias = T | tuple["Tree[T]", ...] | dict[str, "Tree[T]"]


def leaves(tree: Tree[T]) -> Iterator[T]:
    """The leaves of `tree`, in order."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from leaves(part)
    else:
        yield tree


def named_leaves(tree: Tree[T], name: str = "") -> Iterator[tuple[str, T]]:
    """The leaves, each with the subscripts that lead to it, such as `[0]['image']`."""
    if isinstance(tree, tuple):
        for position, part in enumerate(tree):
            yield from named_leaves(part, f"{name}[{position}]")
    elif isinstance(tree, dict):
        for key, part in tree.items():
            yield from named_leaves(part, f"{name}[{key!r}]")
    else:
        yield name, tree


@overload
def map_leaves(function: Callable[[T], R], tree: Tree[T]) -> Tree[R]: ...
@overload
def map_leaves(function: Callable[[T, S], R], tree: Tree[T], other: Tree[S], /) -> Tree[R]: ...
@overload
def map_leaves(function: Callable[..., R], tree: Tree[T], *others: Tree[S]) -> Tree[R]: ...
def map_leaves(function: Callable[..., R], tree: Tree[T], *others: Any) -> Tree[R]:
    """The tree with each leaf replaced by `function(leaf, *leaves of the others)`.

    The others must have the form of the first.
    """
    if isinstance(tree, tuple):
        parts = [
            map_leaves(function, part, *(other[position] for other in others))
            for position, part in enumerate(tree)
        ]
        same_kind: Any = type(tree)
        return same_kind(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, dict):
        return {
            key: map_leaves(function, part, *(other[key] for other in others))
            for key, part in tree.items()
        }
    return function(tree, *others)


def nbytes(tree: object) -> int:
    """The bytes of all leaves that know their `nbytes`, as does perhaps the tree itself."""
    known: int | None = getattr(tree, "nbytes", None)
    if known is not None:
        return known
    if isinstance(tree, tuple):
        return sum(map(nbytes, tree))
    if isinstance(tree, dict):
        return sum(map(nbytes, tree.values()))
    return 0
