"""Checks of arguments that several classes share."""

import operator
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arrays import DType
from headrace.errors import bad_type, bad_value

_NUMERIC = "biufc"

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


def check_no_class(argument: str, function: object, allowed: str) -> None:
    """Raises an ArgumentTypeError for a class of functions, such as hr.pad in place of hr.pad()."""
    if isinstance(function, type) and "__call__" in dir(function):
        raise bad_type(argument, function, allowed, f"Call it: {function.__name__}(...).")


def check_version(argument: str, value: object) -> str:
    """`value` itself, if it is a text that may name what functions do."""
    if not isinstance(value, str):
        raise bad_type(argument, value, "a str, such as '2'")
    return value


def check_path(argument: str, value: Any) -> str:
    """The absolute path of the file `value`."""
    if not isinstance(value, (str, os.PathLike)):
        raise bad_type(argument, value, "the path of a file")
    return os.path.abspath(os.fspath(value))


def check_ids(ids: Iterable[object], argument: str = "ids") -> list[Any]:
    """`ids` as a list, if they are several and in an order."""
    if isinstance(ids, (str, bytes)):
        raise bad_type(argument, ids, f"an iterable of {argument}, not a single one")
    if isinstance(ids, (set, frozenset)):
        raise bad_type(
            argument,
            ids,
            "in an order that is the same in every run",
            f"Pass sorted({argument}).",
        )
    try:
        return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    except TypeError:
        raise bad_type(argument, ids, f"an iterable of {argument}") from None


def check_dtype(dtype: npt.DTypeLike) -> DType:
    """`dtype` in the machine's byte order, if arrays in plain memory can have it."""
    try:
        checked = np.dtype(dtype).newbyteorder("=")
    except (TypeError, ValueError):
        raise bad_value("dtype", dtype, "a dtype of numpy") from None
    if checked.hasobject or checked.subdtype is not None or not checked.itemsize:
        raise bad_value(
            "dtype", dtype, "a dtype of a fixed size, without Python objects or axes of its own"
        )
    return checked


def hint_of_raw(dtype: DType) -> str:
    """What raw bytes may be, as the rest of a message; "" if the dtype is not one of raw bytes."""
    types = {1: "float8 and other types of one byte", 2: "bfloat16"}
    if dtype.kind != "V" or dtype.names is not None or dtype.itemsize not in types:
        return ""
    return (
        f". {dtype.str[1:]} is what files have of {types[dtype.itemsize]}, which numpy can't name: "
        "leave dtype= out, and view the batches as what they are in a transform, such as "
        "x.view(ml_dtypes.bfloat16)"
    )


def keeps_kind(source: DType, target: DType) -> bool:
    """Whether numbers stay numbers of their kind, or of a more general one, and all else itself."""
    if source.kind in _NUMERIC and target.kind in _NUMERIC:
        return np.can_cast(source, target, "same_kind")
    return source.kind == target.kind and np.can_cast(source, target, "same_kind")
