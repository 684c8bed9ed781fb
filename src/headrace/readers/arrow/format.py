"""How Parquet and Arrow files, and folders of them, are opened by their path."""

from headrace import readers
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.reader import Reader


def _open_parquet(path: str, options: Options) -> Reader:
    return readers.Parquet(
        with_manifest(path), options.columns, dtype=options.dtype, ragged=options.any_length
    )


def _open_arrow(path: str, options: Options) -> Reader:
    return readers.Arrow(path, options.columns, dtype=options.dtype, ragged=options.any_length)


FORMATS = (
    Format(
        "parquet",
        _open_parquet,
        "parquet.md",
        options=("columns", "dtype", "ragged"),
        path_suffixes=(".parquet",),
        file_suffixes=(".parquet",),
    ),
    Format(
        "arrow",
        _open_arrow,
        "arrow.md",
        options=("columns", "dtype", "ragged"),
        path_suffixes=(".arrow", ".feather"),
        file_suffixes=(".arrow", ".feather"),
    ),
)
