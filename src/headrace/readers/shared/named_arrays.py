"""ChosenArrays: the arrays of a file that were chosen for a sample, and how they become one.

What readers of files with several named arrays have in common, such as HDF5 and Zarr.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

from headrace.arguments import check_dtype, check_ids, hint_of_raw, keeps_kind
from headrace.arrays import DType, fingerprint
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.ragged import RaggedOut
from headrace.readers.reader import Out, Spec, Specs

# Not a share of the cache, as the order of samples must not depend on it.
_LARGE_BYTES = 2**25

# One name, names by the keys of a sample, or all there are.
Chosen: TypeAlias = str | dict[str, str] | None
# What arrays are converted to: all to one, some of them by key, or none.
DTypes: TypeAlias = npt.DTypeLike | Mapping[str, npt.DTypeLike] | None


class StoredArray(NamedTuple):
    """An array whose first axis runs over the samples.

    Attributes:
        name: in the file.
        length: number of samples.
        spec: of a sample as it is stored.
        block: how many samples have to be read together.
    """

    name: str
    length: int
    spec: Spec
    block: int


class ChosenArrays:
    """What is asked for of the arrays of a file.

    Args:
        argument: of the reader, which chooses the arrays.
        chosen: as `check_chosen` gives it.
        found: the arrays by their keys in a sample, at least one.
        dtype: what to convert them to; perhaps by key.
        location: of the file, for messages.
    """

    def __init__(
        self,
        argument: str,
        chosen: Chosen,
        found: dict[str, StoredArray],
        dtype: DTypes,
        location: str,
    ) -> None:
        self.found = found
        lengths = {array.name: array.length for array in found.values()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name!r}: {n}" for name, n in lengths.items())
            raise ArgumentError(
                f"{argument} must be equally long, but in {location!r} their lengths are {listed}. "
                f"Name those to read, such as with {argument}=[...]."
            )
        dtypes = dtypes_by_key(dtype, found)
        self._specs = {key: _converted(array, dtypes[key]) for key, array in found.items()}
        self._several = isinstance(chosen, dict) or len(found) > 1
        self.length = next(iter(lengths.values()))
        in_blocks = [array for array in found.values() if array.block > 1]
        # Labels are often one chunk in all, which stays in memory, so only what is large counts.
        large = [one for one in in_blocks if one.length * one.spec.nbytes > _LARGE_BYTES]
        counted = large or in_blocks
        self.block = max((array.block for array in counted), default=1)
        self.block_nbytes = self.block * sum(array.spec.nbytes for array in counted)

    @property
    def names(self) -> dict[str, str]:
        """The names of the arrays, by key."""
        return {key: array.name for key, array in self.found.items()}

    @property
    def spec(self) -> Specs:
        return dict(self._specs) if self._several else next(iter(self._specs.values()))

    def parts(self, out: Out) -> Iterator[tuple[str, Any]]:
        """The key and rows of each array in a batch that has any bytes."""
        for key in self.found:
            part = part_of(out, key)
            if isinstance(part, RaggedOut) or part.size:
                yield key, part

    def check_again(self, found: dict[str, StoredArray]) -> str | None:
        """Why arrays that were opened again are not those that were chosen, if they are not."""
        for key, array in found.items():
            was = self.found[key]
            if array[:3] != was[:3]:
                return (
                    f"{array.name!r} is not what it was when the reader was made: it has "
                    f"{array.length} samples of {array.spec}; expected are {was.length} of "
                    f"{was.spec}"
                )
        return None

    def fingerprint(self) -> str:
        """A hash of the names."""
        return fingerprint("\0".join(self.names.values()))


def part_of(out: Out, key: str) -> Any:
    """The array of this key in a batch; or all of the batch, if its samples are no dicts."""
    return out[key] if isinstance(out, dict) else out


def check_chosen(argument: str, chosen: str | Iterable[str] | Mapping[str, str] | None) -> Chosen:
    """`chosen` as a name, or names by their keys in a sample, or None."""
    if chosen is None or isinstance(chosen, str):
        return chosen
    if isinstance(chosen, Mapping):
        names = dict(chosen)
    else:
        names = {name: name for name in check_ids(chosen, argument)}
    if not names:
        raise bad_value(argument, chosen, "at least one name")
    for key, name in names.items():
        if not isinstance(key, str) or not isinstance(name, str):
            raise bad_type(argument, chosen, "a str, a list of them, or a dict of them by keys")
    return names


def dtypes_by_key(dtype: DTypes, keys: Iterable[str]) -> dict[str, Any]:
    """What the array of each key is converted to, None for its own dtype."""
    if not isinstance(dtype, Mapping):
        return dict.fromkeys(keys, dtype)
    keys = list(keys)
    if dtype.keys() - set(keys):
        raise bad_value("dtype", dtype, f"a dtype by key for {', '.join(map(repr, keys))}")
    return {key: dtype.get(key) for key in keys}


def stored_array(
    argument: str,
    name: str,
    shape: tuple[int, ...],
    dtype: DType,
    block: int,
    location: str,
    remedy: str = "",
) -> StoredArray:
    """The description of an array, unless samples can't be of its dtype; with another remedy."""
    if dtype.hasobject or dtype.kind == "T":
        raise ArgumentError(
            f"{argument} must hold elements of a fixed size, but {name!r} in {location!r} holds "
            f"others, such as strings or arrays of any length. {remedy}Store them with a fixed "
            f"size, such as dtype='S10', or name the arrays to read with {argument}=[...]."
        )
    # An element may itself be an array.
    dtype, inner = dtype.subdtype or (dtype, ())
    return StoredArray(name, shape[0], Spec((*shape[1:], *inner), check_dtype(dtype)), block)


def _converted(array: StoredArray, dtype: npt.DTypeLike | None) -> Spec:
    if dtype is None:
        return array.spec
    wanted = check_dtype(dtype)
    if not keeps_kind(array.spec.dtype, wanted):
        raise bad_value(
            "dtype",
            dtype,
            f"one that {array.name!r}, of dtype {array.spec.dtype}, can become without changing "
            f"its kind{hint_of_raw(array.spec.dtype)}",
        )
    return Spec(array.spec.shape, wanted)
