"""How tar shards, one or a folder of them, are opened by their path."""

from collections.abc import Mapping

from headrace import readers
from headrace.arguments import check_ids
from headrace.errors import bad_value
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.images.images import SUFFIXES, is_image
from headrace.readers.reader import Reader
from headrace.readers.shared.listing import samples_below
from headrace.readers.shared.samples.calling import Decode
from headrace.readers.tar.index import TarIndex
from headrace.storage import open_storage

_SUFFIX = ".tar"


def _open(path: str, options: Options) -> Reader:
    root, shards = with_manifest(path), None
    if path.lower().endswith(_SUFFIX):
        parent, _, name = path.rpartition("/")
        root, shards = parent or ("/" if path.startswith("/") else "."), [name]
    columns = options.columns
    if not columns:
        storage = open_storage(root)
        found = (shards or samples_below(storage, (_SUFFIX,), "shards"))[:1]
        listed = TarIndex.of(storage, found).counted()
        allowed = f"some of the extensions that the samples have: {listed}"
        raise bad_value(options.spelled("columns"), columns, allowed)
    if isinstance(columns, Mapping):  # each with what decodes it
        return readers.TarFiles(root, columns, shards=shards, ragged=options.any_length)
    names = [columns] if isinstance(columns, str) else check_ids(columns, "columns")
    if not any(map(_is_of_images, names)):
        return readers.TarFiles(
            root,
            columns if isinstance(columns, str) else names,
            shards=shards,
            ragged=options.any_length,
        )
    if options.size is None:
        raise bad_value(options.spelled("size"), None, options.size_missing())
    decoders = {name: _decoder(name, options.size) for name in names}
    return readers.TarFiles(root, decoders, shards=shards, ragged=options.any_length)


def _decoder(field: str, size: int | tuple[int, int]) -> Decode | None:
    if _is_of_images(field):
        return readers.ImageDecoder(size)
    return None if field.lower().endswith("npy") else int  # texts of a number, such as .cls


def _is_of_images(field: str) -> bool:
    return all(is_image(f".{name}", SUFFIXES) for name in field.split(";"))


FORMATS = (
    Format(
        "tar",
        _open,
        "tar.md",
        options=("columns", "size", "ragged"),
        path_suffixes=(_SUFFIX,),
        file_suffixes=(_SUFFIX,),
    ),
)
