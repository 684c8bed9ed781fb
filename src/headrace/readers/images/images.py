"""Images: one image file for each sample.

Requires Pillow, imported when a reader is made that decodes.
"""

from collections.abc import Iterable, Sequence
from typing import Unpack

from headrace.arguments import check_bool, check_ids
from headrace.arrays import Indices, fingerprint
from headrace.errors import bad_type, bad_value
from headrace.readers.images.decoder import ImageDecoder
from headrace.readers.images.pixels import ImageOptions
from headrace.readers.reader import Out, Spec, check_read
from headrace.readers.shared.listing import samples_below
from headrace.readers.shared.sample_files import ENCODED, InFiles, SampleFiles
from headrace.storage.opening import Root, open_storage

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


class Images(InFiles):
    """Samples in image files, decoded and resized: JPEG, PNG, WebP, BMP, GIF, TIFF.

    Args:
        root: a folder, or a URL such as "s3://bucket/images".
        ids: the names of the files below root, with their suffixes ("cats/17.jpg"), in the order of
            the samples. Default: all that end with one of `suffixes`, sorted; those whose name, or
            that of a folder, begins with a dot or an underscore are passed over.
        size: (height, width) of the samples, or one int for both.
        decode: False for the bytes of the files, as samples of any length, of dtype uint8: what
            augments pictures has to see the original, as `RandomResizedCrop` does in a transform.
            `size` and the options are then its own, and left out here.
        suffixes: what the names of images end with, in lower or upper case. Name those of TIFFs:
            [".tif", ".tiff"].
        **options: channels, layout, dtype, interpolation, antialias, crop_to_aspect_ratio,
            exif_orientation, jpeg_scaling, max_pixels, decoder, fast_dct: see `ImageDecoder`.

    Raises:
        ArgumentError: (a ValueError) there is no such folder or no image, or an option is not
            allowed.
        ArgumentTypeError: (a TypeError) there is no size.
        MissingExtraError: (an ImportError) Pillow is not installed.
        SampleNotFoundError: (a FileNotFoundError) a file does not exist.
        SampleFormatError: (a ValueError) a file is damaged, or no image.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import os, tempfile
        >>> from PIL import Image
        >>> root = tempfile.mkdtemp()
        >>> Image.new("RGB", (64, 48), "red").save(os.path.join(root, "a.png"))
        >>> Image.new("L", (30, 30), 200).save(os.path.join(root, "b.png"))
        >>> images = hr.Images(root, size=(8, 12))
        >>> images.ids, images.spec.shape
        (['a.png', 'b.png'], (8, 12, 3))
        >>> hr.Loader(images, batch_size=2, shuffle=False).batch(0, 0)[:, 0, 0].tolist()
        [[255, 0, 0], [200, 200, 200]]
    """

    def __init__(
        self,
        root: Root,
        ids: Iterable[str | int] | None = None,
        *,
        size: int | tuple[int, int] | None = None,
        decode: bool = True,
        suffixes: Sequence[str] = SUFFIXES,
        **options: Unpack[ImageOptions],
    ) -> None:
        self._decoder = _decoder(size, check_bool("decode", decode), options)
        endings = check_suffixes(suffixes)
        storage = open_storage(root)
        if ids is None:
            ids = samples_below(storage, endings, "ids", any_case=True)
        self._files = SampleFiles(storage, ids, SUFFIXES)

    @property
    def spec(self) -> Spec:
        return ENCODED if self._decoder is None else self._decoder.spec

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._files.storage.root!r}, n={len(self)}, "
            f"shape={self.spec.shape}, dtype={self.spec.dtype})"
        )

    def fingerprint(self) -> str:
        """A hash of the names of the files, and of what decodes them if that is not Pillow."""
        names = self._files.names
        decoder = "" if self._decoder is None else self._decoder.fingerprint()
        return fingerprint(names.encoded, decoder.encode()) if decoder else names.fingerprint()

    def sample_lengths(self) -> Indices | None:
        """With `decode=False`, the bytes of all files, int64; else None."""
        return self._files.sizes() if self._decoder is None else None

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        decoder = self._decoder
        if decoder is None:
            self._files.read_encoded(indices, out)
        else:
            self._files.read(indices, lambda data, row: decoder.decode_into(data, out[row]))


def _decoder(
    size: int | tuple[int, int] | None, decode: bool, options: ImageOptions
) -> ImageDecoder | None:
    """What decodes, if that is wanted."""
    if decode:
        if size is None:
            raise bad_type("size", None, "an int, or (height, width)", "Or pass decode=False.")
        return ImageDecoder(size, **options)
    given = [*([] if size is None else ["size"]), *options]
    if given:
        raise bad_value(
            "decode",
            False,
            f"True with {', '.join(given)}",
            "Pass these to what decodes the samples, such as hr.RandomResizedCrop.",
        )
    return None


def is_image(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file of that name is taken for an image."""
    return name.lower().endswith(suffixes)


def check_suffixes(suffixes: Sequence[str]) -> tuple[str, ...]:
    """The suffixes in lower case."""
    checked = tuple(check_ids(suffixes, "suffixes"))
    if not checked or not all(isinstance(one, str) and one.startswith(".") for one in checked):
        raise bad_value("suffixes", suffixes, "one or more such as '.png'")
    return tuple(suffix.lower() for suffix in checked)
