"""What is typed on the command line, as values."""

import importlib
import json
import operator
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from headrace.cli.opening import TypedOptions
from headrace.errors import ArgumentError, bad_value
from headrace.readers.views.chosen import Choice

_MISSING: dict[str, Literal["fill", "error"]] = {"fill": "fill", "error": "error"}
_SLICE = re.compile(r"-?\d*:-?\d*(:-?\d*)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_bytes(argument: str, text: str) -> int:
    """A number of bytes, such as "1000000", "64MiB" or "2 GB"."""
    match = _SIZE.fullmatch(text.strip())
    nbytes = 0
    if match is not None:
        number, prefix, binary = match.groups()
        unit = (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
        nbytes = int(float(number) * unit)
    if not nbytes:
        raise bad_value(argument, text, "a number of bytes above 0, such as 64MiB or 2GB")
    return nbytes


def parse_image_size(text: str) -> tuple[int, int]:
    """Height and width, such as "224x224"."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise bad_value("--size", text, "height and width of the images, such as 224x224")
    return int(match[1]), int(match[2])


def read_ids(path: Path) -> list[str]:
    """The ids in a file: a JSON list, or lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            ids = json.loads(text)
        else:
            ids = [line for line in text.splitlines() if line]
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--ids must be a file of ids: {path}: {error}") from None
    if not isinstance(ids, list):
        raise bad_value("--ids", str(path), "a JSON list of ids, or a text file of an id a line")
    return [str(name) for name in ids]


def parse_subset(text: str | None) -> Choice | None:
    """A slice, such as "1000:2000"; or the ints in a file: .npy, a JSON list, or lines."""
    if text is None:
        return None
    if _SLICE.fullmatch(text):
        bounds = [int(bound) if bound else None for bound in text.split(":")]
        if bounds[2:] != [0]:
            return slice(*bounds)
    try:
        path = Path(text)
        if path.suffix.lower() == ".npy":
            indices: Choice = np.load(path, allow_pickle=False)
        elif path.suffix.lower() == ".json":
            indices = json.loads(path.read_text(encoding="utf-8-sig"))
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            indices = [int(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise bad_value(
            "--subset",
            text,
            "a slice, such as 1000:2000 or ::10, or a file of the samples' numbers",
            f"It can't be read: {error}.",
        ) from None
    return indices


def _parse_columns(text: str) -> str | list[str]:
    """One name alone is that of the sample itself."""
    names = _listed(text)
    return names[0] if len(names) == 1 else names


def _parse_ragged(text: str) -> bool | list[str]:
    """The names of arrays, or "all"."""
    return True if text == "all" else _listed(text)


def _listed(text: str) -> list[str]:
    return list(filter(None, map(str.strip, text.split(","))))


def import_function(argument: str, text: str) -> Callable[[bytes], object]:
    """The function `name` of a module, given as "package.module:name"; also of this folder."""
    module, _, name = text.partition(":")
    allowed = "a function of a module, such as my_module:decode"
    if not module or not name:
        raise bad_value(argument, text, allowed)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it
    try:
        function = operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise bad_value(argument, text, allowed, f"{error}.") from error
    if not callable(function):
        raise bad_value(argument, text, allowed, f"It is a {type(function).__name__}.")
    return function  # type: ignore[no-any-return]


def parse_options(
    ids: Path | None,
    columns: str | None,
    dtype: str | None,
    size: str | None,
    missing: str | None,
    decode: str | None = None,
    suffixes: str | None = None,
    ragged: str | None = None,
) -> TypedOptions:
    """The options of a reader."""
    if missing is not None and missing not in _MISSING:
        raise bad_value("--missing", missing, "fill or error")
    return TypedOptions(
        None if ids is None else read_ids(ids),
        None if columns is None else _parse_columns(columns),
        dtype,
        None if size is None else parse_image_size(size),
        None if missing is None else _MISSING[missing],
        None if decode is None else import_function("--decode", decode),
        None if suffixes is None else _listed(suffixes),
        None if ragged is None else _parse_ragged(ragged),
    )
