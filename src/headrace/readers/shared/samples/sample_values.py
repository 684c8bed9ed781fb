"""Samples as functions and datasets give them: what they are, and how they get into a batch.

A number, an array or a tensor is an array; so is a list of numbers, nested at will. Tuples, dicts,
and lists of anything else, which become tuples, are several.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from headrace.arguments import check_dtype, hint_of_raw, keeps_kind
from headrace.arrays import Array, DType
from headrace.arrays.conversion import MaskedError, UnheldError, held, plain_array
from headrace.errors import bad_type, bad_value
from headrace.pytree import Tree, leaves, map_leaves
from headrace.readers.reader import Out, Spec, Specs, is_specs
from headrace.readers.shared.samples.ragged_parts import REMEDY, differ_in_length

# Which arrays may have any length: all, some in the structure of a sample, or some by their keys.
RaggedLeaves: TypeAlias = Tree[bool] | list[str]

# Up to here, float64 has all ints.
_EXACT_INTS = 2**53
_NUMBERS = int | float | complex | np.generic


class UnfitError(Exception):
    """A sample is not what it must be; the message names it and says why.

    Args:
        what: is wrong, as it is kept without `remedy`.
        remedy: an argument of readers, which what is no reader has not.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}. {remedy}" if remedy else what)
        self.what = what


def check_spec(spec: object) -> Specs:
    """A spec that a user gave, with dtypes in place of what numpy makes one of."""
    if not is_specs(spec):
        raise bad_type("spec", spec, "a headrace.Spec, or a tuple or dict of them")
    return map_leaves(_checked, spec)


def _checked(spec: Spec) -> Spec:
    return Spec(spec.shape, check_dtype(spec.dtype))


def learned(sample: object, where: str, ragged: RaggedLeaves = False) -> Specs:
    """The spec of a sample.

    Args:
        ragged: which arrays may differ in the length of their first axis: all that have one, or
            bools in the structure of the sample; or a list of the keys of some, in a dict.
    """
    if isinstance(ragged, list):
        specs = learned(sample, where, _by_key(ragged, sample))
        assert isinstance(specs, dict)  # else the keys were refused
        for key in ragged:
            spec = specs[key]
            if isinstance(spec, Spec) and not spec.ragged:
                allowed = f"a key of an array; {where}[{key!r}] is one number"
                raise bad_value("ragged", key, allowed)
        return specs
    if isinstance(sample, Mapping) and sample:
        return {
            key: learned(part, f"{where}[{key!r}]", _part(ragged, key))
            for key, part in sample.items()
        }
    if _is_tuple(sample):
        return tuple(
            learned(part, f"{where}[{i}]", _part(ragged, i)) for i, part in enumerate(sample)
        )
    if not isinstance(ragged, bool):
        raise bad_value("ragged", ragged, f"in the structure of a sample: {where} is one array")
    if ragged and _is_empty_list(sample):
        raise UnfitError(
            f"{where} is an empty list, which does not say what is in the others. Pass spec=, such "
            "as headrace.Spec((None,), 'int64'), which commands can't be told; or have one with "
            "elements come first"
        )
    array = array_of(sample, where)
    shape = (None, *array.shape[1:]) if ragged and array.ndim else array.shape
    return Spec(shape, array.dtype.newbyteorder("="))


def _is_empty_list(sample: object) -> bool:
    """Whether it has no elements, and does not say what they would be.

    An array of objects is what `datasets` makes of a list that would hold lists.
    """
    if isinstance(sample, list):
        return not sample
    return isinstance(sample, np.ndarray) and sample.dtype.hasobject and sample.shape == (0,)


def check_ragged(ragged: object) -> None:
    """Raises an ArgumentTypeError unless it says which arrays may have any length."""
    if isinstance(ragged, list):
        allowed = ragged and all(isinstance(key, str) for key in ragged)
    else:
        allowed = all(isinstance(each, bool) for each in leaves(ragged))
    if not allowed:
        raise bad_type("ragged", ragged, "a bool, a list of keys, or a tuple or dict of bools")


def _by_key(keys: list[str], sample: object) -> Tree[bool]:
    if not isinstance(sample, Mapping):
        raise bad_value("ragged", keys, "a bool or a tuple of bools, as a sample is no dict")
    for key in keys:
        if key not in sample:
            raise bad_value("ragged", key, f"among {', '.join(map(repr, sample))}")
    return {key: key in keys for key in sample}


def _part(ragged: Any, key: object) -> Any:
    if isinstance(ragged, bool):
        return ragged
    try:
        return ragged[key]
    except LookupError:
        raise bad_value("ragged", ragged, f"one with a bool for {key!r}") from None


def write_sample(
    sample: object, spec: Specs, out: Out, row: int, where: str, converts: bool
) -> None:
    """Writes a sample into row `row` of the arrays of a batch."""
    if isinstance(spec, Spec):
        if (
            type(sample) is np.ndarray and sample.shape == spec.shape and sample.dtype == spec.dtype
        ):  # nearly always, but where samples have any length
            out[row] = sample
            return
        if spec.ragged and _is_empty_list(sample):
            sample = np.empty((0, *spec.element), spec.dtype)
        array = array_of(sample, where)
        shape = (None, *array.shape[1:]) if spec.ragged and array.ndim else array.shape
        if shape != spec.shape:
            remedy = ""
            if differ_in_length(array.shape, spec.shape):
                in_spec = ", or None in the shapes of spec=" if converts else ""
                remedy = f"{REMEDY}{in_spec}"
            raise UnfitError(
                f"{where} has the shape {array.shape}; expected is {spec.shape}", remedy
            )
        if not fits(array, spec, converts):
            found = f"{where} has the dtype {array.dtype}"
            if not converts:
                remedy = "To convert numbers, pass spec= to the reader"
                raise UnfitError(f"{found}; expected is {spec.dtype}", remedy)
            raise UnfitError(
                f"{found}, which can't become the {spec.dtype} of spec without changing its kind"
                f"{hint_of_raw(array.dtype)}"
            )
        out[row] = held_of(array, spec.dtype, where)
    elif isinstance(spec, dict):
        if not isinstance(sample, Mapping):
            raise UnfitError(f"{where} is a {type(sample).__name__}; expected is a dict")
        for key, part in spec.items():
            if key not in sample:
                raise UnfitError(f"{where} has no {key!r}, which is expected")
            write_sample(sample[key], part, out[key], row, f"{where}[{key!r}]", converts)
        if not converts and len(sample) != len(spec):
            extra = [key for key in sample if key not in spec]
            raise UnfitError(f"{where} has {extra}, which sample 0 has not")
    else:
        if not isinstance(sample, list | tuple) or len(sample) != len(spec):
            got = len(sample) if isinstance(sample, list | tuple) else type(sample).__name__
            raise UnfitError(f"{where} is {got!r} parts; expected is a tuple of {len(spec)}")
        for i, part in enumerate(spec):
            write_sample(sample[i], part, out[i], row, f"{where}[{i}]", converts)


def _is_tuple(sample: object) -> TypeGuard[Sequence[object]]:
    """Whether it is several arrays in an order; a list of numbers, nested at will, is one array."""
    if isinstance(sample, tuple):
        return len(sample) > 0
    return isinstance(sample, list) and not _is_numbers(sample)


def _is_numbers(sample: list[object]) -> bool:
    return all(
        _is_numbers(part) if isinstance(part, list) else isinstance(part, _NUMBERS)
        for part in sample
    )


def array_of(sample: object, where: str) -> Array:
    """An array of the sample, or of one of its parts."""
    if not isinstance(sample, np.ndarray | list | _NUMBERS) and not (
        hasattr(sample, "__array__") or hasattr(sample, "__array_interface__")
    ):
        raise UnfitError(
            f"{where} is a {type(sample).__name__}. Return numbers in its place, or leave it out"
        )
    try:
        array = plain_array(sample)
    except MaskedError:
        raise UnfitError(
            f"{where} has masked values. Return its filled(...) with some in their place"
        ) from None
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise UnfitError(f"{where} can't become an array: {error}") from None
    if array.dtype == np.float64 and isinstance(sample, list):
        _check_ints(sample, array, where)
    if array.dtype.hasobject or (array.dtype.kind in "UT" and not isinstance(sample, np.ndarray)):
        raise UnfitError(f"{where} can't become an array of numbers: it is {array.dtype}")
    return array


def _check_ints(sample: list[object], array: Array, where: str) -> None:
    """Raises an `UnfitError` if numpy has made floats of ints, which are others then.

    It does so where no integer dtype holds them all, such as of -1 and 2**63.
    """
    large = np.abs(array) >= _EXACT_INTS
    if large.any():
        found = np.array(sample, object)
        ints = [value for value in found[large].tolist() if isinstance(value, int)]
        if any(int(float(value)) != value for value in ints):
            raise UnfitError(
                f"{where} can't become an array: no dtype holds {ints[0]} and the rest"
            )


def held_of(array: Array, dtype: DType, where: str) -> Array:
    """The array itself, if it can be written as that dtype; else an `UnfitError`."""
    try:
        return held(array, dtype)
    except UnheldError as error:
        raise UnfitError(f"{where} {error}") from None


def fits(array: Array, spec: Spec, converts: bool) -> bool:
    if array.dtype == spec.dtype:
        return True
    if converts:
        # Ints stay ints, also without a sign: `held_of` looks at the values.
        are_ints = array.dtype.kind in "iu" and spec.dtype.kind in "iu"
        return are_ints or keeps_kind(array.dtype, spec.dtype)
    return bool(np.can_cast(array.dtype, spec.dtype, "safe"))
