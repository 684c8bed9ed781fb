"""Nested tuples and dicts: the structure that a source and its batches share.

Requires nothing. A structure is a leaf, a tuple (or named tuple) of structures, or a dict of them;
everything else, lists too, is a leaf. Leaves are visited in the order of the tuple, or of the
dict's insertion.
"""

from collections.abc import Callable, Iterator
from typing import Any


def leaves(structure: Any) -> Iterator[Any]:
    """The leaves of `structure`, in order."""
    for _, leaf in named_leaves(structure):
        yield leaf


def named_leaves(structure: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves, each with the subscripts that lead to it, such as `[0]['image']`."""
    if isinstance(structure, tuple):
        for position, part in enumerate(structure):
            yield from named_leaves(part, f"{name}[{position}]")
    elif isinstance(structure, dict):
        for key, part in structure.items():
            yield from named_leaves(part, f"{name}[{key!r}]")
    else:
        yield name, structure


def map_leaves(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """The structure with each leaf replaced by `function(leaf, *leaves of the others)`.

    The others must have the first one's structure.
    """
    if isinstance(structure, tuple):
        parts = [
            map_leaves(function, part, *(other[position] for other in others))
            for position, part in enumerate(structure)
        ]
        return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)
    if isinstance(structure, dict):
        return {
            key: map_leaves(function, part, *(other[key] for other in others))
            for key, part in structure.items()
        }
    return function(structure, *others)


def nbytes(structure: Any) -> int:
    """The bytes of all leaves that know their `nbytes`, as does perhaps the structure itself."""
    known: int | None = getattr(structure, "nbytes", None)
    if known is not None:
        return known
    return sum(getattr(leaf, "nbytes", 0) for leaf in leaves(structure))
