"""Which of the arrays of a sample may have any length: the argument `ragged` of readers."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from headrace.errors import bad_type, bad_value
from headrace.readers.reader import Spec

# All that may have any length, some by their keys, or none.
AnyLength: TypeAlias = bool | tuple[str, ...]

REMEDY = "For samples of any length, pass ragged=True"


def check_ragged(ragged: bool | Iterable[str] | Mapping[str, bool]) -> AnyLength:
    """`ragged` as a bool, or a tuple of keys."""
    if isinstance(ragged, bool):
        return ragged
    allowed = "True, False, or a list of the keys of those arrays that may have any length"
    if isinstance(ragged, str) or not isinstance(ragged, Iterable):
        raise bad_type("ragged", ragged, allowed)
    told = dict(ragged) if isinstance(ragged, Mapping) else dict.fromkeys(ragged, True)
    if not all(isinstance(key, str) and isinstance(each, bool) for key, each in told.items()):
        raise bad_type("ragged", ragged, allowed)
    return tuple(key for key, each in told.items() if each)


def ragged_keys(ragged: AnyLength, keys: Iterable[str]) -> tuple[str, ...]:
    """The keys that are named; none where all are meant, or none."""
    keys = list(keys)
    for key in () if isinstance(ragged, bool) else ragged:
        if key not in keys:
            raise bad_value("ragged", key, f"among {', '.join(map(repr, keys))}")
    return () if isinstance(ragged, bool) else ragged


def with_any_length(ragged: AnyLength, specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """The specs of arrays, with None for the first axis of those that may have any length.

    Those are all that have an axis, if none are named.
    """
    named = ragged_keys(ragged, specs)
    for key in named:
        if not specs[key].shape:
            raise bad_value("ragged", key, f"a key of an array; the first {key!r} is one number")
    return {
        key: Spec((None, *spec.shape[1:]), spec.dtype)
        if spec.shape and (ragged is True or key in named)
        else spec
        for key, spec in specs.items()
    }


def differ_in_length(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether shapes differ in their first axis alone."""
    return len(shape) == len(expected) > 0 and shape[1:] == expected[1:] and shape != expected
