"""How JSON lines, in one file or in several, are opened by their path."""

from headrace import readers
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.jsonl.json_lines import SUFFIXES
from headrace.readers.reader import Reader


def _open(path: str, options: Options) -> Reader:
    return readers.JsonLines(with_manifest(path), options.columns, ragged=options.any_length)


FORMATS = (
    Format(
        "jsonl",
        _open,
        "jsonl.md",
        options=("columns", "ragged"),
        path_suffixes=SUFFIXES,
        file_suffixes=SUFFIXES,
    ),
)
