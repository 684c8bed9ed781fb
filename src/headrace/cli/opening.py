"""Which reader reads a path: by what its name ends with, or by what a folder holds."""

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import headrace as hr
from headrace.errors import ArgumentError, HeadraceError, bad_value
from headrace.readers.tar.index import TarIndex
from headrace.storage import Request, Storage
from headrace.storage.opening import Root, is_url, open_storage

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
# What the name of a file, or of a folder, that holds all samples ends with.
_BY_SUFFIX = {
    ".npy": "npy",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".zarr": "zarr",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".tar": "tar",
}
# What the names of most files in a folder end with.
_BY_CONTENTS = {
    ".npy": "npy-files",
    ".npz": "npz-files",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".tar": "tar",
    **dict.fromkeys(IMAGES, "images"),
}
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
IMAGE_SIZE = "the height and width of the samples, such as 224x224"
# As `headrace pack` names them.
INSIDE = ("manifest.json", "_manifest.json")
_SHARD = re.compile(r"shard-[0-9]+\.npy")


class Options(NamedTuple):
    """What the readers are told beside the path; each takes what it can use.

    Attributes:
        ids: the samples in their order, for formats with a file for each.
        columns: the arrays of a sample, such as keys, columns or fields.
        dtype: of the samples.
        size: height and width of images.
    """

    ids: list[str] | None = None
    columns: tuple[str, ...] | None = None
    dtype: str | None = None
    size: tuple[int, int] | None = None


NONE = Options()


class Opened(NamedTuple):
    """A reader, and what is known beside.

    Attributes:
        labels: of the samples, where folders say their classes.
        classes: the names of the classes, by label.
    """

    reader: hr.Reader
    format: str
    labels: hr.Reader | None = None
    classes: list[str] | None = None


def open_reader(path: str, format_name: str | None = None, options: Options = NONE) -> Opened:
    """The reader of what lies at `path`, a file, a folder or a URL.

    Args:
        format_name: one of `FORMATS`. Default: found out.

    Raises:
        ArgumentError: (a ValueError) nothing is there, its format is not clear, or an option is not
            one of the format.
        SampleError: the first sample is damaged, or the one file of all.
    """
    if format_name is None:
        format_name = guess_format(path)
    if format_name not in FORMATS:
        raise bad_value("--format", format_name, f"one of {', '.join(FORMATS)}")
    check_exists(path)
    opening, takes = FORMATS[format_name]
    for name, value in options._asdict().items():
        if value is not None and name not in takes:
            allowed = ", ".join(f"--{name}" for name in takes) or "none"
            raise ArgumentError(
                f"--{name} is not an option of the format {format_name!r}, "
                f"whose options are: {allowed}."
            )
    opened = opening(path, options)
    return opened if isinstance(opened, Opened) else Opened(opened, format_name)


def guess_format(path: str) -> str:
    """The format of what lies at `path`: a key of `FORMATS`."""
    check_exists(path)
    is_folder = not is_url(path) and os.path.isdir(path)
    suffix = os.path.splitext(path.rstrip("/").lower())[1]
    if suffix in _BY_SUFFIX and not (is_folder and suffix == ".npy"):
        return _BY_SUFFIX[suffix]
    if not is_url(path) and not is_folder:
        raise _unclear(path, f"its name ends with {suffix!r}")
    root = root_of(path)
    try:
        names = open_storage(root).names()
    except (HeadraceError, OSError) as error:
        raise _unclear(path, f"its files can't be listed ({error})") from error
    if any(_is_there(path, name) for name in _ZARR_FILES):
        return "zarr"
    suffixes = Counter(os.path.splitext(name.lower())[1] for name in names)
    formats: Counter[str] = Counter()
    for suffix, count in suffixes.items():
        if suffix in _BY_CONTENTS:
            formats[_BY_CONTENTS[suffix]] += count
    if len(formats) != 1:
        listed = ", ".join(
            f"{count} {suffix or 'other'}" for suffix, count in suffixes.most_common(8)
        )
        raise _unclear(path, f"it holds {listed} files" if names else "it has no files")
    arrays = [os.path.basename(name) for name in names if name.lower().endswith(".npy")]
    if arrays and all(map(_SHARD.fullmatch, arrays)):
        return "npy-shards"
    return next(iter(formats))


def check_exists(path: str) -> None:
    """Raises an ArgumentError if `path` is one of this machine, and nothing is there."""
    if not is_url(path) and not os.path.exists(path):
        raise bad_value("the path", path, "that of an existing file or folder, or a URL")


def _is_there(path: str, name: str) -> bool:
    if not is_url(path):
        return os.path.exists(os.path.join(path, name))
    try:
        open_storage(path).size(name)
    except hr.FileMissingError:
        return False
    except hr.StorageError as error:
        if "access is denied" in str(error):  # so stores answer who may not list what there is
            return False
        raise
    return True


def _unclear(path: str, why: str) -> ArgumentError:
    return ArgumentError(
        f"the format of {path!r} is not clear, as {why}. Say it with --format: one of "
        f"{', '.join(FORMATS)}."
    )


def root_of(path: str) -> Root:
    """The path; of a URL, the storage that compares what it fetches with the manifest there."""
    if is_url(path):
        for name in INSIDE:
            if _is_there(path, name):
                return hr.Remote(path, manifest=name)
    return path


def _columns(columns: tuple[str, ...]) -> str | list[str]:
    """One alone is the sample itself."""
    return columns[0] if len(columns) == 1 else list(columns)


def _open_npy(path: str, options: Options) -> hr.Reader:
    return hr.NpyFile(path)


def _open_npy_files(path: str, options: Options) -> hr.Reader:
    return hr.NpyFiles(root_of(path), options.ids, dtype=options.dtype)


def _open_npy_shards(path: str, options: Options) -> hr.Reader:
    return hr.NpyShards(root_of(path))


def _open_npz_files(path: str, options: Options) -> hr.Reader:
    keys = options.columns and _columns(options.columns)
    return hr.NpzFiles(root_of(path), options.ids, keys=keys, dtype=options.dtype)


def _open_hdf5(path: str, options: Options) -> hr.Reader:
    columns = options.columns and _columns(options.columns)
    return hr.Hdf5(path, columns, dtype=options.dtype)


def _open_zarr(path: str, options: Options) -> hr.Reader:
    columns = options.columns and _columns(options.columns)
    return hr.Zarr(root_of(path), columns, dtype=options.dtype)


def _open_parquet(path: str, options: Options) -> hr.Reader:
    columns = options.columns and _columns(options.columns)
    return hr.Parquet(root_of(path), columns, dtype=options.dtype)


def _open_arrow(path: str, options: Options) -> hr.Reader:
    columns = options.columns and _columns(options.columns)
    return hr.Arrow(path, columns, dtype=options.dtype)


def _open_images(path: str, options: Options) -> hr.Reader | Opened:
    root = open_storage(root_of(path))
    names = root.names(IMAGES) if options.ids is None else options.ids
    size = options.size or _size_of_first(root, names)
    if options.ids is not None or not any("/" in name for name in names):
        return hr.Images(root, options.ids, size=size)
    images = hr.ImageFolder(root, size)
    return Opened(images, "images", images.labels(), images.class_names)


def _size_of_first(root: Storage, names: Iterable[str]) -> tuple[int, int]:
    """The height and width of the first image that has any."""
    hr.ImageDecoder(1)  # says so if Pillow is not there
    from PIL import Image

    for name in names:
        try:
            (data,) = (bytes(part) for _, part in root.fetch([Request(name, 0, None)]))
            with Image.open(io.BytesIO(data)) as image:
                return image.height, image.width
        except hr.StorageError as error:
            if not isinstance(error, hr.FileMissingError):
                raise
        except Exception:  # Pillow raises whatever its many parsers meet; reading it says what
            continue
    return 1, 1  # will do for images of which none can be read


def _open_tar(path: str, options: Options) -> hr.Reader:
    root, shards = root_of(path), None
    if path.lower().endswith(".tar"):
        parent, _, name = path.rpartition("/")
        root, shards = parent or ("/" if path.startswith("/") else "."), [name]
    fields = options.columns
    if not fields:
        storage = open_storage(root)
        found = TarIndex.of(storage, (shards or storage.names((".tar",)))[:1]).extensions
        allowed = f"some of the extensions that the samples have: {','.join(found)}"
        raise bad_value("--columns", fields, allowed)
    if not any(_is_image(field) for field in fields):
        return hr.TarFiles(root, list(fields), shards=shards)
    if options.size is None:
        raise bad_value("--size", None, IMAGE_SIZE)
    size = options.size
    decoders = {name: hr.ImageDecoder(size) if _is_image(name) else int for name in fields}
    return hr.TarFiles(root, decoders, shards=shards)


def _is_image(field: str) -> bool:
    return all(f".{name.lower()}" in IMAGES for name in field.split(";"))


# What opens each format, and the options that it takes.
FORMATS: dict[str, tuple[Callable[[str, Options], hr.Reader | Opened], tuple[str, ...]]] = {
    "npy": (_open_npy, ()),
    "npy-files": (_open_npy_files, ("ids", "dtype")),
    "npy-shards": (_open_npy_shards, ()),
    "npz-files": (_open_npz_files, ("ids", "columns", "dtype")),
    "hdf5": (_open_hdf5, ("columns", "dtype")),
    "zarr": (_open_zarr, ("columns", "dtype")),
    "parquet": (_open_parquet, ("columns", "dtype")),
    "arrow": (_open_arrow, ("columns", "dtype")),
    "images": (_open_images, ("ids", "size")),
    "tar": (_open_tar, ("columns", "size")),
}
