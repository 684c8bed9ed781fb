"""Frames: a Series or a DataFrame of pandas beside ids, by its index or in its order.

The rule: a frame is taken by its index. One with the default index of pandas (0, 1, 2, ...), which
names nothing, is taken in its order. Where both can be meant, and differ, it is an error.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from headrace.arrays import Indices
from headrace.errors import ArgumentError
from headrace.readers.shared.ids import stem


def is_frame(thing: object) -> TypeGuard[Any]:
    """Whether it is a Series or a DataFrame, of pandas or of what is like it."""
    return all(hasattr(thing, name) for name in ("index", "iloc", "to_numpy")) and not isinstance(
        thing, type
    )


def has_default_index(frame: Any) -> bool:
    """Whether its index is the one that pandas gives where none was set: 0, 1, 2, ..."""
    index = frame.index
    return (getattr(index, "start", None), getattr(index, "step", None)) == (0, 1)


def ids_of_frame(frame: Any) -> list[str] | None:
    """The labels of the index as text; None for the default index."""
    return None if has_default_index(frame) else list(map(str, frame.index))


def rows_of(frame: Any, ids: Sequence[str], name: str, in_order: bool) -> Indices | None:
    """The rows of a frame that belong to the ids; None for all of them in their order.

    Args:
        frame: a Series or a DataFrame.
        ids: as text.
        name: of the frame, for errors.
        in_order: whether its rows may also be those of the ids in their order, if as many.

    Raises:
        ArgumentError: (a ValueError) its index and its order would give different rows.
        KeyError: an id is not in the index, and the rows can't be in the order of the ids.
    """
    index = list(map(str, frame.index))
    if index == list(ids):
        return None
    in_order = in_order and len(index) == len(ids)
    positions = {stem(label): row for row, label in enumerate(index)}
    rows = []
    for one in ids:
        row = positions.get(stem(one))
        if row is None or len(positions) != len(index):
            if in_order:
                return None
            raise KeyError(one)
        rows.append(row)
    if in_order and rows != list(range(len(index))):
        raise ArgumentError(
            f"{name} must be in an order that is certain, but is a {type(frame).__name__} whose "
            f"index has the ids, in another order: by its order, {ids[0]!r} has its first row, and "
            f"by its index row {rows[0]}. For its order pass {name}.to_numpy(), for its index "
            f"{name}.loc[...].to_numpy() in the order of the ids."
        )
    return np.array(rows, np.int64)
