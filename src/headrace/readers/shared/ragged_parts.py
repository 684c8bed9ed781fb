"""Which of the arrays of a sample may have any length: the argument `ragged` of readers."""

from collections.abc import Iterable
from typing import TypeAlias

from headrace.errors import bad_type, bad_value

# All that may have any length, some by their keys, or none.
AnyLength: TypeAlias = bool | tuple[str, ...]

REMEDY = "For samples of any length, pass ragged=True"


def check_ragged(ragged: bool | Iterable[str]) -> AnyLength:
    """`ragged` as a bool, or a tuple of keys."""
    if isinstance(ragged, bool):
        return ragged
    allowed = "True, False, or a list of the keys of those arrays that may have any length"
    if isinstance(ragged, str) or not isinstance(ragged, Iterable):
        raise bad_type("ragged", ragged, allowed)
    keys = tuple(ragged)
    if not all(isinstance(key, str) for key in keys):
        raise bad_type("ragged", ragged, allowed)
    return keys


def ragged_keys(ragged: AnyLength, keys: Iterable[str]) -> tuple[str, ...]:
    """The keys that are named; none where all are meant, or none."""
    keys = list(keys)
    for key in () if isinstance(ragged, bool) else ragged:
        if key not in keys:
            raise bad_value("ragged", key, f"among {', '.join(map(repr, keys))}")
    return () if isinstance(ragged, bool) else ragged
