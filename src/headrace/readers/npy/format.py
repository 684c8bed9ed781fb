"""How .npy and .npz files are opened by their path."""

import re

from headrace import readers
from headrace.errors import bad_type
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.npy.ragged_folder import open_ragged_folder
from headrace.readers.reader import Reader
from headrace.storage.opening import is_url


def _open_file(path: str, options: Options) -> Reader:
    return readers.NpyFile(path)


def _open_files(path: str, options: Options) -> Reader:
    if isinstance(options.dtype, dict):
        raise bad_type(options.spelled("dtype"), options.dtype, "one dtype, as of one array")
    root, ragged = with_manifest(path), options.any_length
    return readers.NpyFiles(root, options.ids, dtype=options.dtype, ragged=ragged)


def _open_shards(path: str, options: Options) -> Reader:
    return readers.NpyShards(with_manifest(path))


def _open_ragged(path: str, options: Options) -> Reader:
    return readers.RaggedFolder(with_manifest(path)) if is_url(path) else open_ragged_folder(path)


def _open_archives(path: str, options: Options) -> Reader:
    return readers.NpzFiles(
        with_manifest(path),
        options.ids,
        keys=options.columns,
        dtype=options.dtype,
        ragged=options.any_length,
    )


FORMATS = (
    Format("npy", _open_file, "npy.md", path_suffixes=(".npy",), is_file=True),
    Format(
        "npy-files",
        _open_files,
        "npy.md",
        options=("ids", "dtype", "ragged"),
        file_suffixes=(".npy",),
        sample_suffix=".npy",
    ),
    Format(
        "npy-shards",
        _open_shards,
        "npy_shards.md",
        file_suffixes=(".npy",),
        file_names=re.compile(r"shard-[0-9]+\.npy"),
    ),
    Format("ragged", _open_ragged, "ragged.md", path_suffixes=(".ragged",)),
    Format(
        "npz-files",
        _open_archives,
        "npz.md",
        options=("ids", "columns", "dtype", "ragged"),
        file_suffixes=(".npz",),
        sample_suffix=".npz",
    ),
)
