"""ImageDecoder: the bytes of an image file become pixels of the wanted size and layout.

Requires Pillow, imported when a decoder is made. Why Pillow: docs/decisions/image_decoder.md.
"""

import functools
import io
import math
import zlib
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from headrace.arguments import check_bool, check_dtype, check_int
from headrace.arrays import Array
from headrace.errors import ArgumentError, bad_value, missing_extra
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageFile

Channels = Literal[1, 3, 4, "grayscale", "rgb", "rgba"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Layout = Literal["HWC", "CHW"]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_NAMED_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_WITHOUT_ANTIALIAS = ("nearest", "bilinear", "bicubic")
# What undoes them, as Pillow calls it: the orientations 2 to 8 of EXIF data.
_TURNS = (
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
)
_MAX_SIDE = 2**16
_MAX_PIXELS = 2**26


class ImageOptions(TypedDict, total=False):
    """What all readers of images pass on to `ImageDecoder`, which describes it."""

    channels: Channels
    layout: Layout
    dtype: Literal["uint8", "float32"]
    interpolation: Interpolation
    antialias: bool
    crop_to_aspect_ratio: bool
    exif_orientation: bool
    jpeg_scaling: bool
    max_pixels: int


class ImageDecoder:
    """Decodes JPEG, PNG, WebP, BMP and GIF images and resizes them: `decoder(data)` is an array.

    Of an animation, it is the first frame. Sixteen bits a channel become their higher eight, and a
    palette's numbers the colours that they stand for.

    Args:
        size: (height, width) of the array, or one int for both.
        channels: 1, 3 or 4, or "grayscale", "rgb" or "rgba". Where an image has no transparency to
            fill a fourth channel, it is 255; where it has some that is not asked for, it is
            dropped, as if the image were opaque.
        layout: "HWC" for arrays of shape (height, width, channels), "CHW" for (channels, height,
            width).
        dtype: "uint8", or "float32"; both from 0 to 255.
        interpolation: the filter that resizes, one of Pillow's: "nearest", "box", "bilinear",
            "hamming", "bicubic", "lanczos".
        antialias: whether the filter is as wide as a pixel of the result where that is smaller than
            the image, so that all pixels of the image count. False, for "bilinear" and "bicubic",
            only interpolates between the nearest pixels, as Keras and TensorFlow do.
        crop_to_aspect_ratio: cut off two sides of an image, equally much, so that what is left can
            be resized without distortion. Otherwise it is stretched.
        exif_orientation: turn images as their EXIF data say; where these can't be read, images stay
            as they are. Keras does not.
        jpeg_scaling: decode a JPEG at a half, a fourth or an eighth of its size where that is still
            no smaller than `size`, which is faster for large images. Their pixels then differ from
            those of an image that was decoded whole and resized.
        max_pixels: an image with more is refused before it is decoded. Default: 64 Mi.

    Raises:
        ArgumentError: (a ValueError) an argument is not one of these.
        MissingExtraError: (an ImportError) Pillow is not installed.

    Example:
        >>> import headrace as hr
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (640, 480), (255, 0, 0)).save(file, "PNG")
        >>> decoder = hr.ImageDecoder((2, 2), channels="grayscale")
        >>> decoder(file.getvalue())[..., 0]
        array([[76, 76],
               [76, 76]], dtype=uint8)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        channels: Channels = 3,
        layout: Layout = "HWC",
        dtype: Literal["uint8", "float32"] = "uint8",
        interpolation: Interpolation = "bilinear",
        antialias: bool = True,
        crop_to_aspect_ratio: bool = False,
        exif_orientation: bool = False,
        jpeg_scaling: bool = False,
        max_pixels: int = _MAX_PIXELS,
    ) -> None:
        _openers()
        height, width = _check_size(size)
        number = _NAMED_CHANNELS.get(channels, channels) if isinstance(channels, str) else channels
        if isinstance(number, bool) or number not in tuple(_MODES):
            allowed = "1, 3, 4, 'grayscale', 'rgb' or 'rgba'"
            raise bad_value("channels", channels, allowed)
        if layout not in ("HWC", "CHW"):
            raise bad_value("layout", layout, "'HWC' or 'CHW'")
        if interpolation not in _INTERPOLATIONS:
            raise bad_value("interpolation", interpolation, f"one of {', '.join(_INTERPOLATIONS)}")
        if not check_bool("antialias", antialias) and interpolation not in _WITHOUT_ANTIALIAS:
            raise ArgumentError(
                f"antialias must be True with interpolation={interpolation!r}; without it there "
                f"are {', '.join(_WITHOUT_ANTIALIAS)}."
            )
        if check_dtype(dtype) not in (np.dtype(np.uint8), np.dtype(np.float32)):
            raise bad_value("dtype", dtype, "'uint8' or 'float32'")
        self._channels = int(number)
        self._size = height, width
        self._layout = layout
        self._interpolation = interpolation
        self._antialias = antialias
        self._crops = check_bool("crop_to_aspect_ratio", crop_to_aspect_ratio)
        self._turns = check_bool("exif_orientation", exif_orientation)
        self._scales = check_bool("jpeg_scaling", jpeg_scaling)
        self._max_pixels = check_int("max_pixels", max_pixels, 1, 2**62)
        shape = (height, width, self._channels)
        self.spec = Spec(shape if layout == "HWC" else (shape[2], *shape[:2]), check_dtype(dtype))

    def __repr__(self) -> str:
        return f"ImageDecoder(size={self._size}, {self._layout}, {self.spec})"

    def __call__(self, data: bytes | memoryview) -> Array:
        """The pixels of the image file with the bytes `data`, shape and dtype as in `spec`.

        Raises:
            FormatError: they are no image that can be decoded whole.
        """
        try:
            pixels = self._pixels(bytes(data))
        except (FormatError, MemoryError):
            raise
        except Exception as error:  # Pillow raises whatever its many parsers meet
            raise FormatError(f"it can't be decoded: {error or type(error).__name__}") from None
        array = pixels.reshape(*self._size, self._channels)
        if self._layout == "CHW":
            array = array.transpose(2, 0, 1)
        return array.astype(self.spec.dtype, copy=False)

    def _pixels(self, data: bytes) -> Array:
        from PIL import ImageChops

        image: PIL.Image.Image = _opened(data)
        if image.width * image.height > self._max_pixels:
            raise FormatError(
                f"it has {image.width} x {image.height} pixels; at most {self._max_pixels} are "
                "decoded. If that is what it should have, pass a larger max_pixels"
            )
        if image.format == "JPEG":
            # A JPEG stores grey apart from the colours, which need not be decoded then.
            mode = "L" if self._channels == 1 else None
            image.draft(mode, self._least_size(image.size) if self._scales else None)
        elif image.format == "PNG":
            _check_png(memoryview(data))
        image.load()
        if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
            # Adobe stores how much ink there is not, and Pillow takes every CMYK file for Adobe's.
            image = ImageChops.invert(image)
        return np.asarray(self._resized(self._turned(image)))

    def _least_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """What (width, height) an image of `size` must have at least to be made smaller, if any."""
        width, height = self._wanted()
        if self._turns:  # perhaps by a right angle
            width = height = max(width, height)
        left, top, right, bottom = self._box(size, (width, height))
        return math.ceil(size[0] * width / (right - left)), math.ceil(
            size[1] * height / (bottom - top)
        )

    def _turned(self, image: "PIL.Image.Image") -> "PIL.Image.Image":
        """The image, turned if wanted, with the wanted channels."""
        from PIL import Image

        if self._turns:
            orientation = _orientation(image)
            if 2 <= orientation <= 8:
                image = image.transpose(Image.Transpose[_TURNS[orientation - 2]])
        mode = _MODES[self._channels]
        if image.mode.startswith("I"):  # sixteen bits, which Pillow would clip to eight
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if self._channels != 4:
            image.info.pop("transparency", None)
        return image if image.mode == mode else image.convert(mode)

    def _resized(self, image: "PIL.Image.Image") -> "PIL.Image.Image":
        from PIL import Image

        wanted = self._wanted()
        box = self._box(image.size, wanted)
        if box != (0, 0, *image.size):
            image = image.crop(box)
        if image.size == wanted:
            return image
        resampling = Image.Resampling[self._interpolation.upper()]
        if self._antialias:
            return image.resize(wanted, resampling)
        # Band by band, as Keras does: Pillow would weigh the colours by the opacity.
        whole = (0, 0, *image.size)
        bands = [
            band.transform(wanted, Image.Transform.EXTENT, whole, resampling)
            for band in ([image] if image.mode != "RGBA" else image.split())
        ]
        return bands[0] if len(bands) == 1 else Image.merge(image.mode, bands)

    def _wanted(self) -> tuple[int, int]:
        """Width and height, in Pillow's order."""
        return self._size[1], self._size[0]

    def _box(self, size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the part of an image of `size` that is resized."""
        width, height = size
        if self._crops:
            # In integers as Keras has them, to cut off the same pixels.
            width = min(width, max(1, int(height * wanted[0] / wanted[1])))
            height = min(height, max(1, int(size[0] * wanted[1] / wanted[0])))
        left, top = int((size[0] - width) / 2), int((size[1] - height) / 2)
        return left, top, left + width, top + height


@functools.cache
def _openers() -> "dict[bytes, type[PIL.ImageFile.ImageFile]]":
    """What opens an image, by the bytes that it begins with."""
    try:
        # These, as Image.open would try more formats, and warn by a limit of its own.
        from PIL.BmpImagePlugin import BmpImageFile
        from PIL.GifImagePlugin import GifImageFile
        from PIL.JpegImagePlugin import JpegImageFile
        from PIL.PngImagePlugin import PngImageFile
        from PIL.WebPImagePlugin import WebPImageFile
    except ModuleNotFoundError as error:
        raise missing_extra("Decoding images", "Pillow", "images") from error
    return {
        b"\xff\xd8\xff": JpegImageFile,
        b"\x89PNG\r\n\x1a\n": PngImageFile,
        b"RIFF": WebPImageFile,
        b"BM": BmpImageFile,
        b"GIF8": GifImageFile,
    }


def _opened(data: bytes) -> "PIL.ImageFile.ImageFile":
    """The image, with its header read and its pixels yet to be decoded."""
    for start, opener in _openers().items():
        if data.startswith(start):
            return opener(io.BytesIO(data))
    if not data:
        raise FormatError("it is empty")
    raise FormatError(f"it begins with {data[:12]!r}, as no JPEG, PNG, WebP, BMP or GIF does")


def _orientation(image: "PIL.Image.Image") -> int:
    """What its EXIF data say; 1, which is as it is, if they say nothing that can be read.

    `ImageOps.exif_transpose` also writes the EXIF data again, and fails at odd ones.
    """
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # Pillow raises whatever it meets; the pixels have nothing to do with it
        return 1


def _check_png(data: memoryview) -> None:
    """Raises an error unless a PNG has its end, and its pixels the checksums that they should.

    Pillow compares only those of other chunks, and does not look at what follows the last row.
    """
    at, kind = 8, b""
    while kind != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            raise FormatError("it has no end: it was cut short")
        kind = bytes(data[at + 4 : at + 8])
        checksum = int.from_bytes(data[end : end + 4], "big")
        if kind == b"IDAT" and zlib.crc32(data[at + 4 : end]) != checksum:
            raise FormatError("its pixels do not have the checksum (CRC-32) that they should")
        at = end + 4


def _check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise bad_value("size", size, "an int, or a tuple of two ints, (height, width)")
    height, width = (check_int("size", side, 1, _MAX_SIDE) for side in sides)
    return height, width
