"""FolderColumn: a column that stands in the names of folders, as Hive and Spark write it.

    label=0/a.parquet  label=0/b.parquet  label=1/c.parquet      the rows of c have the label 1

Numbers and dates alone, as samples are arrays. Requires no pyarrow.
"""

import re
import urllib.parse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype, keeps_kind
from headrace.arrays import Array, DType
from headrace.errors import ArgumentError, SampleFormatError, bad_value
from headrace.readers.reader import Spec

_FOLDER = re.compile(r"([^/=]+)=([^/]*)/")
_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:nan|inf)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class FolderColumn(NamedTuple):
    """A number for each file.

    Attributes:
        spec: of the number.
        values: shape (files,); perhaps of another dtype than that of the spec.
        is_null: of each file, whether it has none.
    """

    spec: Spec
    values: Array
    is_null: npt.NDArray[np.bool_]


def names_in_folders(names: Sequence[str]) -> list[str]:
    """The columns in the folders of these files."""
    found = [name for file in names for name, _ in _FOLDER.findall(file)]
    return list(dict.fromkeys(found))


def folder_column(
    name: str, files: Sequence[str], locations: Sequence[str], dtype: npt.DTypeLike | None
) -> FolderColumn:
    """The column of that name.

    Args:
        name: one of `names_in_folders`.
        files: the names of the files.
        locations: of the files, for messages.
        dtype: what to convert the numbers to.

    Raises:
        SampleFormatError: a file lies in no folder that says the column's value.
        ArgumentError: the values are no numbers, or can't become `dtype`.
    """
    texts = []
    for file, location in zip(files, locations, strict=True):
        found = dict(_FOLDER.findall(file))
        if name not in found:
            raise SampleFormatError(
                f"{location!r} lies in no folder of the form {name}=..., as other files do"
            )
        texts.append(urllib.parse.unquote(found[name]))
    is_null = np.array([text == _NULL for text in texts])
    given = [text for text in texts if text != _NULL]
    stored = _dtype_of(given)
    if stored is None:
        text = next(one for one in given if not _NUMBER.fullmatch(one))
        raise ArgumentError(
            f"columns must be numbers or dates, but {name!r} in the folders' names is text, such "
            f"as {text!r}. Leave it out, or name the folders by numbers."
        )
    target = stored if dtype is None else check_dtype(dtype)
    if not keeps_kind(stored, target):
        allowed = f"one that column {name!r}, of dtype {stored}, can become"
        raise bad_value("dtype", dtype, f"{allowed} without changing its kind")
    values = np.zeros(len(texts), stored)
    values[~is_null] = np.array(given, stored)
    return FolderColumn(Spec((), target), values, is_null)


def _dtype_of(texts: list[str]) -> DType | None:
    if all(map(_WHOLE.fullmatch, texts)) and all(-(2**63) <= int(one) < 2**63 for one in texts):
        return np.dtype(np.int64)
    if all(map(_NUMBER.fullmatch, texts)):
        return np.dtype(np.float64)
    if all(map(_DATE.fullmatch, texts)):
        return np.dtype("M8[D]")
    return None
