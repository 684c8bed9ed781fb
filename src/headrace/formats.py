"""Which reader reads what lies at a path: by what its name ends with, or by what a folder holds.

The registry of formats. A format is declared next to its reader, in the module `format` of its
folder, and that module is listed here.
"""

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Literal, NamedTuple

import numpy.typing as npt

from headrace.arguments import check_ids
from headrace.errors import ArgumentError, HeadraceError, bad_type, bad_value
from headrace.readers.format import Format, Options, has_file, with_manifest
from headrace.readers.reader import Reader
from headrace.readers.shared.listing import (
    DECOMPRESS,
    counted,
    is_bookkeeping,
    is_compressed,
    suffix_of,
)
from headrace.storage.local import paths
from headrace.storage.opening import is_url, open_storage

_DECLARED_IN = (
    "headrace.readers.npy.format",
    "headrace.readers.hdf5.format",
    "headrace.readers.zarr.format",
    "headrace.readers.arrow.format",
    "headrace.readers.images.format",
    "headrace.readers.audio.format",
    "headrace.readers.tar.format",
    "headrace.readers.jsonl.format",
    "headrace.readers.tfrecord.format",
    "headrace.readers.files.format",
)

_TABLES = (".csv", ".tsv")
_NUMBER = re.compile(r"-\d+-of-\d+\Z")


@functools.cache
def formats() -> dict[str, Format]:
    """All formats, by name."""
    found: dict[str, Format] = {}
    for module in _DECLARED_IN:
        declared: tuple[Format, ...] = import_module(module).FORMATS
        found |= {each.name: each for each in declared}
    return found


def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
    ids: Iterable[str | int] | None = None,
    columns: str | Iterable[str] | None = None,
    dtype: npt.DTypeLike | dict[str, npt.DTypeLike] | None = None,
    size: int | tuple[int, int] | None = None,
    missing: Literal["fill", "error"] | None = None,
    decode: Callable[[bytes], object] | None = None,
    suffixes: str | Iterable[str] | None = None,
    ragged: bool | Iterable[str] | None = None,
) -> Reader:
    """The reader of what lies at a path: `NpyFiles` of a folder of .npy files, and so on.

    It is found out as the command line does: by what the name ends with, or by what a folder holds.
    Each format takes some of the options, which its reader may call otherwise (`columns` are the
    `keys` of `NpzFiles` and the `fields` of `TarFiles`). For what else a reader takes, use its
    class.

    Args:
        path: a file, a folder, or a URL. Of what is fetched from a URL, the checksums are compared
            if `headrace pack` has put a manifest there.
        format: "npy", "npy-files", "npy-shards", "ragged", "npz-files", "hdf5", "zarr", "parquet",
            "arrow", "images", "audio", "tar", "jsonl", "tfrecord" or "files". Default: found out.
        ids: the samples, in their order, where each has a file of its own. Default: all files.
        columns: one array of a sample, which then is the sample, or several, for samples that are
            dicts: keys, datasets, columns or extensions. A dict where the reader takes one.
            Default: all; but tar shards need it.
        dtype: of the samples that are read; of several arrays perhaps a dict. Default: as stored.
        size: (height, width) of images, or one int for both. Default for a folder: the size of the
            first image; tar shards of images need it.
        missing: what a chunk of Zarr that is not there is: "fill", its fill value, as zarr has it,
            or an "error". Default: "fill".
        decode: makes a sample of the bytes of a file, so that the format is "files".
        suffixes: of such files, if there are others.
        ragged: which arrays may have any length, as the format's reader takes it: True for all that
            may, or their keys.

    Returns:
        The reader; of images in folders an `ImageFolder`, whose `labels()` are the classes.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) nothing is there; its format
            is not clear; or an option is not allowed, or is not one of the format. The error lists
            what could be meant.
        MissingExtraError: (an ImportError) the format's library is not installed.
        SampleError: the first sample, or the one file of all, can't be read.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> np.save(root / "all.npy", np.arange(6.0).reshape(3, 2))
        >>> hr.open(root / "all.npy").spec
        Spec(shape=(2,), dtype=dtype('float64'))
        >>> (root / "data").mkdir()
        >>> for i in range(3):
        ...     np.savez(root / "data" / f"{i}.npz", x=np.full(2, i, "float32"), y=i)
        >>> type(hr.open(root / "data")).__name__
        'NpzFiles'
        >>> x = hr.open(root / "data", columns="x", ids=["2", "0"])
        >>> hr.Loader(x, batch_size=2, shuffle=False).batch(0, 0).tolist()
        [[2.0, 2.0], [0.0, 0.0]]
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise bad_type("path", path, "the path of a file or folder, or a URL")
    if format is not None and not isinstance(format, str):
        raise bad_type("format", format, "the name of a format")
    if columns is not None and not isinstance(columns, (str, Mapping)):
        columns = check_ids(columns, "columns")
    path = os.fspath(path)
    if not exists(path):
        allowed = "that of an existing file or folder, or a URL"
        raise bad_value("path", path, allowed, paths.begin_of_relative(path))
    try:
        options = Options(ids, columns, dtype, size, missing, decode, suffixes, ragged)
        return open_as(path, format, options).reader
    except FormatNotClear as unclear:
        raise ArgumentError(_explain(unclear)) from unclear.__cause__


class Opened(NamedTuple):
    """A reader, and the format that it reads."""

    reader: Reader
    format: Format


class FormatNotClear(Exception):
    """It can't be told which format is at a path. Whoever asked names the argument that says it.

    Attributes:
        path: what was to be opened.
        why: what is there, as the end of a sentence.
        candidates: how many files there are of each format that it may be, by name.
    """

    def __init__(self, path: str, why: str, candidates: Mapping[str, int]) -> None:
        super().__init__(path, why, candidates)
        self.path, self.why, self.candidates = path, why, candidates


def open_as(path: str, format_name: str | None, options: Options) -> Opened:
    """The reader of what lies at `path`, which exists, and its format.

    Raises:
        FormatNotClear: no format is given, and it can't be told.
        HeadraceError: as `open` raises them. The options spell their names.
    """
    chosen = find_format(path, options) if format_name is None else formats().get(format_name)
    if chosen is None:
        allowed = f"one of {', '.join(formats())}"
        raise bad_value(options.spelled("format"), format_name, allowed)
    for name in options.given():
        if name not in chosen.options:
            allowed = ", ".join(map(options.spelled, chosen.options)) or "none"
            raise ArgumentError(
                f"{options.spelled(name)} is not an option of the format {chosen.name!r}, "
                f"whose options are: {allowed}."
            )
    return Opened(chosen.open(path, options), chosen)


def exists(path: str) -> bool:
    """Whether `path` is a URL, or something of this machine is there.

    Raises:
        StorageError: (an OSError) that can't be told.
    """
    return is_url(path) or paths.exists(path)


def find_format(path: str, options: Options = Options()) -> Format:  # noqa: B008  (it is frozen)
    """The format of what lies at `path`, which exists.

    Raises:
        FormatNotClear: it can't be told.
        StorageError: (an OSError) a URL can't be asked, or a folder can't be read.
    """
    if options.decode is not None:
        return formats()["files"]
    is_folder = not is_url(path) and paths.is_folder(path)
    suffix = os.path.splitext(_unnumbered(path.rstrip("/").lower()))[1]
    for each in formats().values():
        if suffix in each.path_suffixes and not (is_folder and each.is_file):
            return each
    if not is_url(path) and not is_folder:
        why = f"its name ends with {suffix_of(path)!r}{_if_compressed([path])}"
        if path.lower().endswith(_TABLES):
            why += (
                ", a table of text: hr.ImageTable reads the pictures that one lists, and hr.Labels "
                "takes a column of it; other tables are read as Parquet, to which pandas converts"
            )
        raise FormatNotClear(path, why, {})
    root = with_manifest(path)
    try:
        names = open_storage(root).names()
    except HeadraceError as error:
        if not is_url(path):
            raise  # and no name of a format would help
        raise FormatNotClear(path, f"its files can't be listed ({error})", {}) from error
    for each in formats().values():
        if any(has_file(path, name) for name in each.marks):
            return each
    found = _formats_among([name for name in names if not is_bookkeeping(name)])
    if len(found) == 1:
        return formats()[next(iter(found))]
    held = f"it holds {counted(names)}{_if_compressed(names)}" if names else "it has no files"
    raise FormatNotClear(path, held, found)


def _unnumbered(name: str) -> str:
    """The name of a file without what counts it, as in "x.tfrecord-00000-of-00010"."""
    return _NUMBER.sub("", name)


def _if_compressed(names: list[str]) -> str:
    return f", and {DECOMPRESS}" if any(map(is_compressed, names)) else ""


def _formats_among(names: list[str]) -> dict[str, int]:
    """The formats that files of these names may be of, with the numbers of their files."""
    by_suffixes: dict[tuple[str, ...], tuple[str, int]] = {}
    lower = [_unnumbered(name.lower()) for name in names]
    for each in formats().values():
        files = [n for n, low in zip(names, lower, strict=True) if low.endswith(each.file_suffixes)]
        if each.file_names is not None and not all(
            each.file_names.fullmatch(os.path.basename(name)) for name in files
        ):
            continue
        if files:
            by_suffixes[each.file_suffixes] = each.name, len(files)
    return dict(by_suffixes.values())


def _explain(unclear: FormatNotClear) -> str:
    if not unclear.candidates:
        return (
            f"the format of {unclear.path!r} is not clear, as {unclear.why}. "
            f"Pass format: one of {', '.join(formats())}."
        )
    listed = ", ".join(
        f"{name!r} ({count} {'file' if count == 1 else 'files'})"
        for name, count in unclear.candidates.items()
    )
    return (
        f"the format of {unclear.path!r} is not clear, as it has files of several: {listed}. "
        "Pass one of them as format."
    )
