"""Index files: where the samples in shards lie, in an .npz, so that no shard has to be read."""

import errno
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array
from headrace.atomic_file import saved_file
from headrace.errors import ArgumentError, unreadable
from headrace.storage.local.regular import opener
from headrace.storage.storage import Storage

Index = TypeVar("Index")


def save_index_file(
    path: str | os.PathLike[str],
    kind: int | str,
    shards: list[str],
    sizes: Array,
    arrays: Mapping[str, Any],
) -> None:
    """Writes an index to a file, which appears when it is whole.

    Args:
        path: of the file.
        kind: what is in it, and in which form; what is loaded must have the same.
        shards: the names of the shards.
        sizes: their bytes.
        arrays: all else.

    Raises:
        StorageError: (an OSError) it can't be written.
    """
    with saved_file(path) as file:
        np.savez(file, format=kind, shards=packed(shards), sizes=sizes, **arrays)


def load_index_file(
    path: str | os.PathLike[str],
    kind: int | str,
    storage: Storage,
    made_of: Callable[[list[str], dict[str, Array]], Index],
    reader: str,
) -> Index:
    """The index in a file of `save_index_file`, if it is of the shards that lie in the storage.

    Args:
        made_of: makes an index of the names of the shards and of the arrays; raises a ValueError
            if they do not fit together.
        reader: whose index it is, for messages.

    Raises:
        ArgumentError: (a ValueError) there is no such file, it is damaged, or of other shards.
        StorageError: (an OSError) it can't be read, or a shard can't.
    """
    path = os.fspath(path)
    remedy = f"Write it again with save_index(path) of an {reader} made without index=."
    try:
        with open(path, "rb", opener=opener) as file:
            stored = _loaded(file)
        if stored["format"].item() != kind:
            raise ValueError(f"its format is {stored['format']}, not {kind}")
        shards = unpacked(stored["shards"])
        index = made_of(shards, stored)
        if len(stored["sizes"]) != len(shards):
            raise ValueError("its parts do not fit together")
    except FileNotFoundError:
        raise ArgumentError(f"index must be a file, but there is no {path!r}. {remedy}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # np.load raises whatever its many steps meet
        raise ArgumentError(
            f"index must be a file of save_index, but {path!r} is damaged or another: {error}. "
            f"{remedy}"
        ) from None
    for name, size, then in zip(shards, storage.sizes(shards), stored["sizes"], strict=True):
        if size != then:
            raise ArgumentError(
                f"index must be of the shards as they are, but in {path!r} {name!r} has "
                f"{then} bytes, and {storage.location(name)!r} has {size}. {remedy}"
            )
    return index


def _loaded(file: BinaryIO) -> dict[str, Array]:
    try:
        return dict(np.load(file, allow_pickle=False))
    except OSError as error:
        if error.errno == errno.EINVAL:  # a damaged one points to before its beginning
            raise ValueError("a part of it is not where it should be") from None
        raise


def same_shards(path: str | os.PathLike[str], indexed: list[str], shards: list[str]) -> None:
    """Raises an ArgumentError unless an index is of the shards that are asked for."""
    if shards != indexed:
        raise ArgumentError(
            f"index must be of the same shards, but {os.fspath(path)!r} is of {indexed}, not "
            f"of {shards}. Write it again with save_index(path) of a reader of these."
        )


def packed(texts: list[str]) -> npt.NDArray[np.uint8]:
    """Texts without NUL characters, as an array."""
    return np.frombuffer("\0".join(texts).encode("utf-8", "surrogateescape"), np.uint8)


def unpacked(array: Array) -> list[str]:
    """The texts of such an array."""
    return array.tobytes().decode("utf-8", "surrogateescape").split("\0")
