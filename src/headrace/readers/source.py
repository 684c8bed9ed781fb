"""Sources: what a loader is given, as readers.

Requires the readers. A source is a reader, an array, or a structure of them, all equally long.
"""

import numpy as np

from headrace.arrays import Array, fingerprint
from headrace.errors import ArgumentError, bad_type
from headrace.pytree import Tree, map_leaves, named_leaves
from headrace.readers.access import fingerprint_of, part_readers_of
from headrace.readers.array import ArrayReader
from headrace.readers.reader import Reader, Spec, Specs, is_specs


def readers_of(source: object, argument: str = "source") -> Tree[Reader]:
    """The readers of a source, in its structure: one for each part that is read by itself.

    Args:
        argument: what to call it in errors.

    Raises:
        ArgumentTypeError: (a TypeError) a part of it is neither a reader nor an array.
    """
    names = iter([name for name, _ in named_leaves(source, argument)])
    return map_leaves(lambda leaf: _reader_of(leaf, next(names)), source)


def _reader_of(leaf: object, name: str) -> Tree[Reader]:
    if isinstance(leaf, np.ndarray):
        return ArrayReader(leaf)
    if isinstance(leaf, list) or _library_of(leaf) in _LIBRARIES_OF_ARRAYS:
        array = _array_of(leaf, name)
        if array is not None:
            return ArrayReader(array)
    if isinstance(leaf, Reader) and not isinstance(leaf, type):
        if not is_specs(leaf.spec):
            raise bad_type(f"{name}.spec", leaf.spec, "a headrace.Spec, or a tuple or dict of them")
        return part_readers_of(leaf)
    remedy = "Pass numpy.asarray(...) of it, if it fits in memory."
    if hasattr(leaf, "__fspath__") or isinstance(leaf, str):
        remedy = "Pass a reader, such as NpyFiles(root) or Hdf5(path); docs/formats.md has all."
    elif hasattr(leaf, "columns") and hasattr(leaf, "__array__"):
        remedy = "Pass dict(...) of it, for a dict of its columns, or those that are numbers."
    elif hasattr(leaf, "__getitem__") and not isinstance(leaf, list):
        remedy = "For a dataset with samples by number use GetItem(dataset)."
    raise bad_type(name, leaf, "a reader, a numpy array, or a tuple or dict of them", remedy)


# Their tensors, series and frames are in memory, so that an array of them costs little.
_LIBRARIES_OF_ARRAYS = ("torch", "jax", "jaxlib", "pandas", "polars", "tensorflow")


def _library_of(leaf: object) -> str:
    has_rows = hasattr(leaf, "__array__") and not isinstance(leaf, type)
    return type(leaf).__module__.partition(".")[0] if has_rows else ""


def _array_of(leaf: object, name: str) -> Array | None:
    """The array of a list, a tensor, a series or a frame; None if it is not one of numbers."""
    try:
        array = np.asarray(leaf)
    except Exception as error:
        raise bad_type(
            name,
            leaf,
            "a reader, a numpy array, or a tuple or dict of them",
            f"numpy.asarray(...) of it fails: {error}",
        ) from error
    return array if array.dtype.kind in "biufc" and array.ndim else None


def common_length(readers: Tree[Reader]) -> int:
    """The number of samples that all of them have.

    Raises:
        ArgumentError: (a ValueError) they have different ones, or none.
    """
    lengths = {name: len(reader) for name, reader in named_leaves(readers, "source")}
    if not lengths:
        raise ArgumentError("source must have at least one reader or array, but has none.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ArgumentError(f"all parts of source must have as many samples: {listed}.")
    n = next(iter(lengths.values()))
    if not n:
        raise ArgumentError("source must have at least one sample, but is empty.")
    return n


def data_hash(readers: Tree[Reader]) -> str:
    """A hash of the structure, the specs and the fingerprints of readers, for states."""
    parts = []
    for name, reader in named_leaves(readers):
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
