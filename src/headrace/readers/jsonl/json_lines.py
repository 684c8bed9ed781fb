"""JsonLines: a sample in each line of JSON, read at random through an index of the lines."""

import codecs
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from headrace.arguments import check_version
from headrace.arrays import Indices
from headrace.readers.jsonl.scan import scan
from headrace.readers.reader import Out, Specs, check_read
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.listing import chosen_among
from headrace.readers.shared.samples.calling import SampleWriter
from headrace.readers.shared.samples.chosen_columns import ChosenColumns, Columns
from headrace.readers.shared.samples.sample_values import RaggedLeaves
from headrace.readers.shared.sharded.record_reader import RecordReader
from headrace.readers.shared.sharded.records import RecordKind, Records
from headrace.storage.opening import Root

SUFFIXES = (".jsonl", ".ndjson")


def _are_json_lines(names: list[str]) -> list[str]:
    return chosen_among(names, SUFFIXES)


_KIND = RecordKind(
    name="json-lines-1",
    reader="hr.JsonLines",
    record="line",
    numbered_from=1,
    suffixes=SUFFIXES,
    chosen=_are_json_lines,
    scan=scan,
)


class JsonLines(RecordReader):
    """Samples in lines of JSON: numbers, lists of them, and objects and lists of these.

    The lines of all files are found once, when the reader is made, or come from an index file. Each
    line is then read by itself, and neighbours of a batch together. Blank lines are passed over.

    Args:
        root: a file; or a folder, a URL or a storage with files that end with .jsonl or .ndjson.
        columns: the members of the objects to read: one, whose values are the samples; several, for
            samples that are dicts; or a dict of functions, each of which makes an array or a number
            of a value, such as {"label": int, "text": encode}, None for what is one. Default: all
            members of the first line, which all others must then have, and no more.
        shards: the names of the files below root, in order; one of them may name many, such as
            "part-{000..146}.jsonl". Default: all, sorted.
        spec: of a sample. Numbers are converted to its dtypes if that does not change their kind.
            Default: that of the first line, which all others must then have. None as its first axis
            lets an array have any length.
        ragged: which arrays may differ from those of the first line in the length of their first
            axis: True for all that have one, a list of keys, or bools in the structure of a sample.
        index: a file of `save_index`, so that the files are not gone through.
        version: names what the functions of `columns` do, for states, as of `headrace.Files`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such folder or
            file, there are no lines, or an argument is not allowed; the index is of other files.
        SampleFormatError: (a ValueError) a line is not JSON, lacks a column, or its values differ
            from the spec; a file is compressed.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.jsonl"
        >>> _ = path.write_text('{"x": [1, 2], "name": "a"}\\n{"x": [3, 4], "name": "b"}\\n')
        >>> lines = hr.JsonLines(path, columns={"x": None, "name": ord})
        >>> batch = hr.Loader(lines, batch_size=2, shuffle=False).batch(0, 0)
        >>> batch["x"].tolist(), batch["name"].tolist()
        ([[1, 2], [3, 4]], [97, 98])
    """

    def __init__(
        self,
        root: Root,
        columns: Columns = None,
        *,
        shards: str | Iterable[str] | None = None,
        spec: Specs | None = None,
        ragged: RaggedLeaves = False,
        index: str | os.PathLike[str] | None = None,
        version: str = "",
    ) -> None:
        self._columns = ChosenColumns(columns, spec)
        self._writer = SampleWriter(spec, self._columns.ragged(ragged))
        self._version = check_version("version", version)
        self._records = Records(_KIND, root, shards, index)
        if not self._writer.is_known:
            self._records.read(np.array([0]), self._learn, before=1)

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        starts = self._records.index.start[indices]

        def put(data: memoryview, row: int) -> None:
            self._writer.write(self._sample(_parsed(data, bool(starts[row]))), out, row)

        self._records.read(indices, put, before=1)

    def _learn(self, data: memoryview, row: int) -> None:
        value = _parsed(data, bool(self._records.index.start[0]))
        if isinstance(value, dict):
            self._columns.check(value, "line")
        sample = self._sample(value)
        try:
            self._writer.learn(sample)
        except FormatError as error:
            raise FormatError(
                f"{error}. Name the columns to read with columns=, perhaps in a dict with what "
                "makes a number or an array of each"
            ) from None

    def _sample(self, value: object) -> object:
        if self._columns.names is None:
            return value
        if not isinstance(value, dict):
            raise FormatError(f"it is a {type(value).__name__}; expected is an object")
        return self._columns.sample(value)


def _parsed(data: memoryview, has_before: bool) -> Any:
    """The value in a line, which comes with the byte before it, the end of another."""
    line = bytes(data)
    if has_before:
        if line[:1] != b"\n":
            raise FormatError("no line begins here any more: the file was changed")
        line = line[1:]
    # Blank lines that follow belong to it; to JSON they are spaces, but for a mark in them.
    line = line.replace(b"\n" + codecs.BOM_UTF8, b"\n").removeprefix(codecs.BOM_UTF8)
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is not JSON: {error}") from error
