"""How folders of images are opened by their path."""

import io
from collections.abc import Iterable

from headrace import readers
from headrace.errors import FileMissingError, StorageError
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.images.images import SUFFIXES
from headrace.readers.reader import Reader
from headrace.readers.shared.listing import chosen_among
from headrace.storage import Request, Storage, open_storage


def _open(path: str, options: Options) -> Reader:
    root = open_storage(with_manifest(path))
    ids = None if options.ids is None else list(options.ids)
    names = chosen_among(root.names(), SUFFIXES, any_case=True) if ids is None else ids
    size = options.size or _size_of_first(root, map(str, names))
    if ids is not None or not any("/" in str(name) for name in names):
        return readers.Images(root, ids, size=size)
    return readers.ImageFolder(root, size)


def _size_of_first(root: Storage, names: Iterable[str]) -> tuple[int, int]:
    """The height and width of the first image that has any."""
    readers.ImageDecoder(1)  # says so if Pillow is not there
    from PIL import Image

    for name in names:
        try:
            (data,) = (bytes(part) for _, part in root.fetch([Request(name, 0, None)]))
            with Image.open(io.BytesIO(data)) as image:
                return image.height, image.width
        except StorageError as error:
            if not isinstance(error, FileMissingError):
                raise
        except Exception:  # Pillow raises whatever its many parsers meet; reading it says what
            continue
    return 1, 1  # will do for images of which none can be read


FORMATS = (
    Format(
        "images",
        _open,
        "images.md",
        options=("ids", "size"),
        file_suffixes=SUFFIXES,
        guesses_size=True,
    ),
)
