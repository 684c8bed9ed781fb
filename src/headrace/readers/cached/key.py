"""key_of: what tells the samples of a reader from others, for the file that they are kept in."""

import hashlib
import io
import pickle
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from headrace.errors import ArgumentError
from headrace.readers.access import original_of
from headrace.readers.cached.kept import Kept
from headrace.readers.cached.mapped import Mapped
from headrace.readers.reader import Reader

_FORMAT = "2"
# What to call, and with what.
_Reduced: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]


def key_of(reader: Reader, version: str) -> bytes:
    """A hash of all that the reader is made of: 16 bytes, the same in each process.

    That is its pickle, which has the options of its decoder, and where its files lie.

    Raises:
        ArgumentError: (a ValueError) it can't be pickled.
    """
    digest = hashlib.blake2b(f"{_FORMAT}\0{version}\0{reader.spec}\0".encode(), digest_size=16)
    pickled = io.BytesIO()
    try:
        _Pickler(pickled, 5).dump(reader)
    except Exception as error:
        raise ArgumentError(
            f"source must be one that pickle can store, to be kept in a folder, but {error}. "
            "Leave folder out to keep its samples in memory."
        ) from error
    digest.update(pickled.getbuffer())
    return digest.digest()


class _Pickler(pickle.Pickler):
    """Makes pickles for their bytes alone, which are equal where what is pickled is."""

    def persistent_id(self, obj: object) -> int | None:
        """Text as a number, which has no memo: another pickle would refer to a text that came
        before if it is the same object, as those that are equal may be or not."""
        if type(obj) is not str:
            return None
        return int.from_bytes(b"\1" + obj.encode("utf-8", "surrogatepass"))

    def reducer_override(self, obj: object) -> _Reduced:
        """Without the memory of what keeps samples, and functions that something names.

        Arrays without whether they may be written to, as a copy elsewhere may differ in that.
        """
        if type(obj) is np.ndarray and not obj.dtype.hasobject:
            dtype = obj.dtype.str if obj.dtype.names is None else obj.dtype
            return np.ndarray, (obj.shape, dtype, obj.tobytes())
        if isinstance(obj, Kept):
            return original_of, (obj.original,)
        if isinstance(obj, Mapped) and any(obj.function_name):
            return Mapped, (obj.readers, *obj.function_name)
        unchanged: _Reduced = NotImplemented
        return unchanged
