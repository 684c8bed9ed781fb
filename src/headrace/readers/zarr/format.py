"""How Zarr arrays and groups are opened by their path."""

from headrace import readers
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.reader import Reader


def _open(path: str, options: Options) -> Reader:
    return readers.Zarr(
        with_manifest(path), options.columns, dtype=options.dtype, missing=options.missing or "fill"
    )


FORMATS = (
    Format(
        "zarr",
        _open,
        "zarr.md",
        options=("columns", "dtype", "missing"),
        path_suffixes=(".zarr",),
        marks=("zarr.json", ".zarray", ".zgroup"),
    ),
)
