"""How TFRecords, in one file or in several, are opened by their path."""

from headrace import readers
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.reader import Reader
from headrace.readers.tfrecord.tf_records import SUFFIXES


def _open(path: str, options: Options) -> Reader:
    return readers.TFRecords(with_manifest(path), options.columns, ragged=options.any_length)


FORMATS = (
    Format(
        "tfrecord",
        _open,
        "tfrecord.md",
        options=("columns", "ragged"),
        path_suffixes=SUFFIXES,
        file_suffixes=SUFFIXES,
    ),
)
