"""Checks of arguments that several classes share. Requires the errors alone."""

import operator
from typing import Any

from headrace.errors import bad_type, bad_value

# The most samples, and the last epoch, position or seed bit, that 64-bit counters leave room for.
MAX_SAMPLES = 2**62
MAX_SEED = 2**128 - 1


def check_int(argument: str, value: Any, least: int, most: int) -> int:
    """`value` as an int from `least` to `most`; anything with `__index__` but a bool will do."""
    if isinstance(value, bool):
        raise bad_type(argument, value, "an int")
    try:
        number = operator.index(value)
    except TypeError:
        raise bad_type(argument, value, "an int") from None
    if not least <= number <= most:
        raise bad_value(argument, value, f"an int from {least} to {most}")
    return number


def check_seed(seed: Any) -> int:
    """`seed` as an int that `numpy.random.SeedSequence` and a state can hold."""
    return check_int("seed", seed, 0, MAX_SEED)


def check_bool(argument: str, value: Any) -> bool:
    """`value` itself, if it is True or False."""
    if value is not True and value is not False:
        raise bad_type(argument, value, "True or False")
    return value
