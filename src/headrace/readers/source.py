"""Sources: what a loader is given, as readers.

Requires the readers. A source is a reader, an array, or a structure of them, all equally long.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.arrays import Array, fingerprint
from headrace.arrays.conversion import MaskedError, plain_array
from headrace.errors import ArgumentError, bad_type
from headrace.pytree import Tree, map_leaves, named_leaves
from headrace.ragged import Ragged
from headrace.readers.access import (
    fingerprint_of,
    ids_fingerprint_of,
    ids_of,
    original_of,
    part_readers_of,
)
from headrace.readers.array import ANY_LENGTH_REMEDY, ArrayReader
from headrace.readers.reader import Reader, Spec, Specs, is_specs
from headrace.readers.shared.frames import has_default_index, ids_of_frame, is_frame, rows_of
from headrace.readers.shared.ids import first_difference


def readers_of(
    source: object, argument: str = "source", *, match_ids: bool = False
) -> Tree[Reader]:
    """The readers of a source, in its structure: one for each part that is read by itself.

    Args:
        argument: what to call it in errors.
        match_ids: whether Series and DataFrames of pandas are brought into the order of the ids of
            the other parts, if they have the same.

    Raises:
        ArgumentTypeError: (a TypeError) a part of it is neither a reader nor an array.
        ArgumentError: (a ValueError) the order and the index of a frame would give different rows.
    """
    leaves = list(named_leaves(source, argument))
    names = iter([name for name, _ in leaves])
    readers = map_leaves(lambda leaf: _reader_of(leaf, next(names)), source)
    frames = {name: leaf for name, leaf in leaves if is_frame(leaf)}
    if not frames or not match_ids:
        return readers
    ids = _ids_to_follow(readers, frames, argument)
    if ids is None:
        return readers
    names = iter([name for name, _ in leaves])

    def in_order(leaf: object) -> Tree[Reader]:
        name = next(names)
        return _reader_of(_by_index(leaf, ids, name) if name in frames else leaf, name)

    return map_leaves(in_order, source)


def _ids_to_follow(
    readers: Tree[Reader], frames: Mapping[str, object], argument: str
) -> list[str] | None:
    """The ids of the first part that is no frame; of the first frame if there is no other."""
    known = {name: ids for name, ids in _known_ids(readers, argument) if ids is not None}
    others = [ids for name, ids in known.items() if name not in frames]
    first = next(iter(others or known.values()), None)
    return None if first is None else list(map(str, first))


def _by_index(frame: Any, ids: list[str], name: str) -> object:
    """The frame with its rows in the order of the ids, if its index has the same ones."""
    if len(frame) != len(ids):
        return frame  # which is an error soon
    try:
        rows = rows_of(frame, ids, name, has_default_index(frame))
    except KeyError:
        return frame  # likewise
    return frame if rows is None else frame.iloc[rows]


def _known_ids(
    readers: Tree[Reader], argument: str = "source"
) -> list[tuple[str, Sequence[object] | None]]:
    return [(name, ids_of(reader)) for name, reader in named_leaves(readers, argument)]


def _reader_of(leaf: object, name: str) -> Tree[Reader]:
    if isinstance(leaf, np.ndarray):
        return ArrayReader(leaf)
    if isinstance(leaf, list) or _library_of(leaf) in _LIBRARIES_OF_ARRAYS:
        array = _array_of(leaf, name)
        if array is not None:
            return ArrayReader(array, ids_of_frame(leaf) if is_frame(leaf) else None)
    if isinstance(leaf, Reader) and not isinstance(leaf, type):
        if not is_specs(leaf.spec):
            raise bad_type(f"{name}.spec", leaf.spec, "a headrace.Spec, or a tuple or dict of them")
        return part_readers_of(leaf)
    remedy = "Pass numpy.asarray(...) of it, if it fits in memory."
    if hasattr(leaf, "__fspath__") or isinstance(leaf, str):
        remedy = "Pass a reader, such as NpyFiles(root) or Hdf5(path); docs/formats.md has all."
    elif hasattr(leaf, "columns") and hasattr(leaf, "__array__"):
        remedy = "Pass dict(...) of it, for a dict of its columns, or those that are numbers."
    elif isinstance(leaf, Ragged):
        remedy = "Pass RaggedArray(ragged.values, ragged.offsets)."
    elif _library_of(leaf) in _LIBRARIES_OF_ARRAYS and getattr(leaf, "shape", None) != ():
        remedy = (
            "Pass numpy.asarray(..., dtype) of it, with the dtype 'U' for strings; or Labels(...), "
            "if it holds labels."
        )
    elif hasattr(leaf, "__getitem__") and not isinstance(leaf, list):
        remedy = "For a dataset with samples by number use GetItem(dataset)."
    raise bad_type(name, leaf, "a reader, a numpy array, or a tuple or dict of them", remedy)


# Their tensors, series and frames are in memory, so that an array of them costs little.
_LIBRARIES_OF_ARRAYS = ("torch", "jax", "jaxlib", "pandas", "polars", "tensorflow")


def _library_of(leaf: object) -> str:
    has_rows = hasattr(leaf, "__array__") and not isinstance(leaf, type)
    return type(leaf).__module__.partition(".")[0] if has_rows else ""


def _array_of(leaf: object, name: str) -> Array | None:
    """The array of a list, a tensor, a series or a frame; None if it would be one of objects.

    None, too, for a list of anything else than numbers: it may be one of names of files.
    """
    try:
        array = plain_array(leaf)
    except MaskedError:
        allowed = "a reader, or arrays without masked values"
        raise bad_type(name, leaf, allowed, "Pass array.filled(value) of each.") from None
    except Exception as error:
        remedy = f"numpy.asarray(...) of it fails: {error}"
        if isinstance(leaf, list):
            parts = [len(part) for part in leaf if hasattr(part, "__array__") and np.ndim(part)]
            if len(parts) == len(leaf) and len(set(parts)) == 1:
                remedy = f"Of arrays that belong together, pass a tuple. {remedy}"
            remedy = f"{ANY_LENGTH_REMEDY} {remedy}"
        if str(getattr(leaf, "dtype", "")).startswith(("torch.bfloat16", "torch.float8")):
            remedy = f"Pass tensor.float(), as numpy has no such type. {remedy}"
        allowed = "a reader, a numpy array, or a tuple or dict of them"
        raise bad_type(name, leaf, allowed, remedy) from error
    if isinstance(leaf, list) and array.dtype.kind not in "biufc":
        return None
    return array if array.ndim and not array.dtype.hasobject else None


def common_length(
    readers: Tree[Reader], argument: str = "source", *, match_ids: bool = False
) -> int:
    """The number of samples that all of them have.

    Args:
        readers: as `readers_of` gives them.
        argument: what to call them in errors.
        match_ids: whether those that have ids must have the same, in the same order.

    Raises:
        ArgumentError: (a ValueError) they have different ones, or none, or other ids.
    """
    lengths = {name: len(reader) for name, reader in named_leaves(readers, argument)}
    if not lengths:
        raise ArgumentError(f"{argument} must have at least one reader or array, but has none.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ArgumentError(f"all parts of {argument} must have as many samples: {listed}.")
    n = next(iter(lengths.values()))
    if not n:
        raise ArgumentError(f"{argument} must have at least one sample, but is empty.")
    if match_ids and len(lengths) > 1:
        _check_ids(readers)
    return n


def _check_ids(readers: Tree[Reader]) -> None:
    known = [(name, ids) for name, ids in _known_ids(readers) if ids is not None]
    for name, ids in known[1:]:
        first_name, first = known[0]
        index = first_difference(first, ids)
        if index is not None:
            raise ArgumentError(
                f"parts of source must have the same ids, in the same order, but sample {index} is "
                f"{first[index]!r} in {first_name} and {ids[index]!r} in {name}. Give both the "
                "same ids; or pass match_ids=False to pair them by position."
            )


def samples_hash(readers: Tree[Reader]) -> str:
    """A hash of all that tells the samples of readers from others, for fingerprints of views."""
    return data_hash(readers) + ids_hash(readers)


def ids_hash(readers: Tree[Reader]) -> str:
    """A hash of the ids that fingerprints leave out, for states; nothing if there are none."""
    parts = [
        (name, ids_fingerprint_of(original_of(reader))) for name, reader in named_leaves(readers)
    ]
    return fingerprint(repr(parts)) if any(ids for _, ids in parts) else ""


def data_hash(readers: Tree[Reader]) -> str:
    """A hash of the structure, the specs and the fingerprints of readers, for states."""
    parts = []
    for name, leaf in named_leaves(readers):
        reader = original_of(leaf)
        said = fingerprint_of(reader)
        parts.append((name, type(reader).__name__, *_described(reader.spec), said))
    return fingerprint(repr(parts))


def _described(spec: Specs) -> tuple[object, ...]:
    if isinstance(spec, Spec):
        return spec.shape, str(spec.dtype)
    return _plain(spec), ""


def _plain(spec: Specs) -> object:
    """The spec in tuples and dicts alone, also that of a named tuple, as its repr is hashed."""
    if isinstance(spec, Spec):
        return spec.shape, str(spec.dtype)
    if isinstance(spec, dict):
        return {key: _plain(part) for key, part in spec.items()}
    return tuple(map(_plain, spec))
