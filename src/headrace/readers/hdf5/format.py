"""How HDF5 files are opened by their path."""

from headrace import readers
from headrace.readers.format import Format, Options
from headrace.readers.reader import Reader


def _open(path: str, options: Options) -> Reader:
    return readers.Hdf5(path, options.columns, dtype=options.dtype, ragged=options.any_length)


FORMATS = (
    Format(
        "hdf5",
        _open,
        "hdf5.md",
        options=("columns", "dtype", "ragged"),
        path_suffixes=(".h5", ".hdf5"),
    ),
)
