"""What the folder of each format declares, so that `hr.open` and the command line can open it.

A format is declared as a `Format` in the module `format` of its folder, which imports its reader
when something is opened; `headrace.formats` lists these modules.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy.typing as npt

from headrace import storage
from headrace.errors import AccessDeniedError, FileMissingError
from headrace.readers.reader import Reader
from headrace.storage.opening import Root, is_url, open_storage

# Manifests within a folder, as `headrace pack` names them.
MANIFESTS = ("manifest.json", "_manifest.json")


@dataclass(frozen=True)
class Options:
    """What a reader is told besides the path; each format takes some of them.

    Attributes:
        ids: the samples in their order, for formats with a file for each.
        columns: the arrays of a sample: one, which then is the sample, or several.
        dtype: of the samples; of several arrays perhaps a dict.
        size: height and width of images, or one int for both.
        missing: what a part that is not there is: its "fill" value, or an "error".
        decode: what makes a sample of the bytes of a file.
        suffixes: what the names of such files end with.
        ragged: which arrays may have any length, as the reader takes it.
    """

    ids: Iterable[str | int] | None = None
    columns: str | Iterable[str] | None = None
    dtype: npt.DTypeLike | dict[str, npt.DTypeLike] | None = None
    size: int | tuple[int, int] | None = None
    missing: Literal["fill", "error"] | None = None
    decode: Callable[[bytes], object] | None = None
    suffixes: str | Iterable[str] | None = None
    ragged: bool | Iterable[str] | None = None

    def given(self) -> dict[str, object]:
        """Those that are not left out, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def any_length(self) -> Any:
        """`ragged`, as readers take it."""
        return False if self.ragged is None else self.ragged

    def spelled(self, option: str) -> str:
        """The option as whoever gave the options writes it, for messages."""
        return option

    def size_missing(self) -> str:
        """What to pass as `size`, for messages."""
        return "the height and width of the samples, such as (224, 224)"


@dataclass(frozen=True)
class Format:
    """One of the formats that can be opened by path.

    Attributes:
        name: what `format=` and `--format` call it.
        open: the reader of what lies at a path, by the options that were given.
        page: its page in docs/formats.
        options: which of the `Options` it takes.
        path_suffixes: what the name of a file or folder that holds all samples ends with.
        is_file: whether that is always a file, so that a folder of such a name is something else.
        file_suffixes: what the names of the files in a folder end with, in lower case.
        file_names: what all these files are called, where others have the same suffix. It is then
            taken rather than a format that is listed before it.
        marks: files of which any one in a folder tells that it is of this format.
        sample_suffix: where each sample is a small file `<id><suffix>`, this suffix.
        guesses_size: whether `size`, if left out, is that of the first sample.
    """

    name: str
    open: Callable[[str, Options], Reader]
    page: str
    options: tuple[str, ...] = ()
    path_suffixes: tuple[str, ...] = ()
    is_file: bool = False
    file_suffixes: tuple[str, ...] = ()
    file_names: re.Pattern[str] | None = None
    marks: tuple[str, ...] = ()
    sample_suffix: str | None = None
    guesses_size: bool = False


def with_manifest(path: str) -> Root:
    """The path; of a URL, the storage that compares what it fetches with the manifest there."""
    if is_url(path):
        for name in MANIFESTS:
            if has_file(path, name):
                return storage.Remote(path, manifest=name)
    return path


def has_file(path: str, name: str) -> bool:
    """Whether there is a file of that name below the folder or URL.

    Raises:
        StorageError: (an OSError) that can't be told, as the storage fails.
    """
    if not is_url(path):
        return os.path.exists(os.path.join(path, name))
    try:
        open_storage(path).size(name)
    except (FileMissingError, AccessDeniedError):
        return False  # the latter is what stores answer who may not list what there is
    return True
