"""What Pillow reads: an image file that is opened, checked, decoded, turned and resized.

Why Pillow: docs/decisions/image_decoder.md.
"""

import contextlib
import functools
import io
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.arrays import Array
from headrace.errors import HeadraceError, missing_extra
from headrace.readers.shared.format_error import FormatError

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageFile

# Left, top, right and bottom of a part of an image, also between its pixels.
Box = tuple[float, float, float, float]

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

_WHITE_IS_ZERO, _SIGNED, _PNG_BITS = 0, 2, "bits"
_NO_PIXELS = (
    "it has signed numbers, fractions, or more than 16 bits. Read it with hr.Files and a function "
    "of your own"
)
_MAX_SCANS = 500
# The second bytes of markers: of a scan, and of the kinds of frames, which say how many channels an
# image has.
_SCAN = 0xDA
_SEQUENTIAL = (0xC0, 0xC1)
_OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_installed() -> None:
    """Raises the error for an image without Pillow; what reads it is imported with the first."""
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra("Decoding images", "Pillow", "images") from error


@functools.cache
def openers() -> "dict[bytes, type[PIL.ImageFile.ImageFile]]":
    """What opens an image, by the bytes that it begins with."""
    # These, as Image.open would try more formats, and warn by a limit of its own.
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.GifImagePlugin import GifImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    return {
        b"\xff\xd8\xff": JpegImageFile,
        b"\x89PNG\r\n\x1a\n": PngImageFile,
        b"RIFF": WebPImageFile,
        b"BM": BmpImageFile,
        b"GIF8": GifImageFile,
        b"II*\0": TiffImageFile,
        b"MM\0*": TiffImageFile,
        b"II+\0": TiffImageFile,  # BigTIFF
    }


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """What is raised within over an image comes as a `FormatError`."""
    try:
        yield
    except (FormatError, HeadraceError, MemoryError):
        raise
    except Exception as error:  # Pillow raises whatever its many parsers meet
        raise FormatError(f"it can't be decoded: {error or type(error).__name__}") from None


def opened(data: bytes) -> "PIL.ImageFile.ImageFile":
    """The image, with its header read and its pixels yet to be decoded."""
    for start, opener in openers().items():
        if data.startswith(start):
            image = opener(io.BytesIO(data))
            if image.format == "PNG":
                image.info[_PNG_BITS] = data[24]
                _set_clear(image, data[24])
            return image
    if not data:
        raise FormatError("it is empty")
    kinds = "JPEG, PNG, WebP, BMP, GIF or TIFF"
    raise FormatError(f"it begins with {data[:12]!r}, as no {kinds} does")


def _set_clear(image: "PIL.Image.Image", bits: int) -> None:
    """Makes the grey or the colour that is clear in a PNG one of 8 bits, as its pixels become.

    Pillow compares these with the number that is stored.
    """
    clear = image.info.get("transparency")
    if bits == 16 and clear is not None:
        high = np.asarray(clear) >> 8
        image.info["transparency"] = tuple(high.tolist()) if high.ndim else int(high)
    elif image.mode in ("1", "L") and clear is not None:
        most = 2**bits - 1
        # Newer versions of Pillow have 255 for the 1 of a single bit.
        image.info["transparency"] = min(clear, most) * (255 // most)


def orientation(image: "PIL.Image.Image") -> int:
    """What its EXIF data say; 1, which is as it is, if they say nothing that can be read.

    `ImageOps.exif_transpose` also writes the EXIF data again, and fails at odd ones.
    """
    try:
        said = int(image.getexif().get(0x0112, 1))
    except Exception:  # Pillow raises whatever it meets; the pixels have nothing to do with it
        return 1
    return said if 2 <= said <= 8 else 1


def turned(image: "PIL.Image.Image", said: int) -> "PIL.Image.Image":
    """The image as it is meant, if its EXIF data say the orientation `said`."""
    from PIL import Image

    return image if said == 1 else image.transpose(Image.Transpose[_TURNS[said - 2]])


def turned_pixels(pixels: Array, said: int) -> Array:
    """The same of an array of shape (height, width, channels)."""
    if said >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = (slice(None, None, -1 if each else 1) for each in mirrored(said))
    return pixels[rows, columns]


def mirrored(said: int) -> tuple[bool, bool]:
    """Whether turning an image reverses the order of its rows, and of its columns."""
    return said in (3, 4, 7, 8), said in (2, 3, 6, 7)


def is_jpeg(data: bytes) -> bool:
    """Whether it is a JPEG.

    Raises:
        FormatError: it has so many scans that decoding it could take minutes. Each is as long as
            the image, whatever little it stores; a progressive JPEG has about ten.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    if not _has_one_scan(data):
        scans = data.count(b"\xff\xda\0")  # the third byte is the first of a small length
        if scans > _MAX_SCANS:
            raise FormatError(f"it has {scans} scans; at most {_MAX_SCANS} are decoded")
    return True


def _has_one_scan(data: bytes) -> bool:
    """Whether the segments before the first scan of a JPEG say that no other one is decoded.

    libjpeg looks for others where an image is progressive, or the first lacks one of its channels.
    """
    channels, at = 0, 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SCAN:
            return data[at + 4] == channels
        if marker in _SEQUENTIAL:
            channels = data[at + 9]
        elif marker in _OTHER_FRAMES:
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def check_png(data: memoryview) -> None:
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


def check_tiff(image: "PIL.Image.Image") -> None:
    """Raises an error unless a TIFF has as many strips or tiles as its height and width need.

    Pillow leaves what lies in none of them black. And one if its numbers are signed, of which
    Pillow takes those of 8 bits for others: -1 for 255.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    if _SIGNED in tags.get(339, ()):
        raise FormatError(_NO_PIXELS)
    width, height = tags[256], tags[257]
    if 324 in tags:
        found, needed = len(tags[324]), -(-width // tags[322]) * -(-height // tags[323])
    else:
        found, needed = len(tags[273]), -(-height // min(height, tags.get(278, height)))
    if found < needed:
        raise FormatError(f"it has {found} strips or tiles of the {needed} that it needs")


def sixteen_bits(image: "PIL.Image.Image") -> Array | None:
    """The pixels of an image of one channel of 16 bits, as uint16; None of others.

    Raises:
        FormatError: it has one channel of numbers that are neither that nor of 8 bits.
    """
    # A PNG has no more than 16 bits, for which the mode was "I" before Pillow 11.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        raise FormatError(_NO_PIXELS)
    return None


def high_bits(image: "PIL.Image.Image", deep: Array) -> "PIL.Image.Image":
    """An image with those pixels of 16 bits, as one of the brightness."""
    from PIL import Image

    bright = (deep >> 8).astype(np.uint8)
    found = Image.fromarray(~bright if _is_inverted(image) else bright)
    found.info = image.info
    return found


def _is_inverted(image: "PIL.Image.Image") -> bool:
    """Whether larger numbers are darker, as in TIFFs of X-rays and of fax machines."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and bool(tags.get(262) == _WHITE_IS_ZERO)


def indices(image: "PIL.Image.Image") -> Array:
    """The numbers that an image with a palette, or of grey, stores, as uint8.

    Raises:
        FormatError: it is neither, has more than 8 bits, or was stored with loss.
    """
    if image.format == "JPEG":
        raise FormatError("it is a JPEG, which does not keep the numbers of a mask")
    if image.mode not in ("P", "L", "1"):
        raise FormatError(
            f"it has no numbers of 8 bits, as channels='indices' needs; Pillow calls it "
            f"{image.mode!r}"
        )
    found: Array = np.asarray(image).astype(np.uint8)
    if image.mode == "P":
        return found
    # Of grey, Pillow has the brightness: fewer bits are spread out.
    bits = image.info.get(_PNG_BITS, 8)
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))[0]  # type: ignore[attr-defined]
    most = 2**bits - 1 if bits in (1, 2, 4) else 255
    if image.mode == "L":
        found //= 255 // most
    return most - found if _is_inverted(image) else found


def as_image(pixels: Array) -> "PIL.Image.Image":
    """An image of pixels of shape (height, width, channels)."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def resized(
    image: "PIL.Image.Image",
    size: tuple[int, int],
    interpolation: str,
    antialias: bool,
    box: Box | None = None,
) -> "PIL.Image.Image":
    """The image at another size, (height, width); of a box of it, with what is round it."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        exact = Image.fromarray(np.asarray(image).astype(np.float32))
        found = np.asarray(resized(exact, size, interpolation, antialias, box))
        return Image.fromarray(np.rint(found).clip(0, 2**16 - 1).astype(np.uint16))
    wanted = size[1], size[0]
    resampling = Image.Resampling[interpolation.upper()]
    if antialias:
        return image.resize(wanted, resampling, box)
    # Band by band, as Keras does: Pillow would weigh the colours by the opacity.
    bands = [
        band.transform(wanted, Image.Transform.EXTENT, box or (0, 0, *image.size), resampling)
        for band in ([image] if image.mode != "RGBA" else image.split())
    ]
    return bands[0] if len(bands) == 1 else Image.merge(image.mode, bands)
