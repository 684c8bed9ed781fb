"""What decodes JPEGs and resizes images in less time than Pillow: simplejpeg and cykooz.resizer.

How they were chosen: docs/decisions/image_decoder.md.
"""

import functools
import importlib
from types import ModuleType
from typing import Any

import numpy as np

from headrace.arrays import Array
from headrace.errors import missing_extra
from headrace.readers.images.pillow import Box

# By the name of the filter, and whether it is as wide as a pixel of the result.
FILTERS = {
    ("box", True): "box",
    ("bilinear", True): "bilinear",
    ("bicubic", True): "catmull_rom",
    ("lanczos", True): "lanczos3",
    ("bilinear", False): "bilinear",
}
# Larger images are resized in parts, as the resizer's copies are then made in the CPU's cache.
_PART_BYTES = 2**20
_KEPT_BYTES = 2**24


@functools.cache
def libraries() -> tuple[ModuleType, ModuleType]:
    """simplejpeg and cykooz_resizer."""
    found = []
    for module, package in (("simplejpeg", "simplejpeg"), ("cykooz_resizer", "cykooz.resizer")):
        try:
            found.append(importlib.import_module(module))
        except ModuleNotFoundError as error:
            raise missing_extra("decoder='turbo'", package, "turbo") from error
    # glibc then keeps as much of what is freed: memory that is new takes as long as resizing.
    np.empty(_KEPT_BYTES, np.uint8)
    return found[0], found[1]


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The height and width of a JPEG; None if Pillow has to decode it, or to say what is wrong."""
    simplejpeg, _ = libraries()
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (height, width) if colours in ("YCbCr", "Gray") else None


def decode_jpeg(
    data: bytes,
    channels: int,
    least_size: tuple[int, int] | None,
    fast_dct: bool,
    buffer: Array | None,
) -> Array | None:
    """The pixels, shape (height, width, channels), in `buffer` if given; None as in `jpeg_size`.

    With `least_size`, (height, width), scaled to no less than that, if that is at most a half.
    """
    simplejpeg, _ = libraries()
    height, width = least_size or (0, 0)
    try:
        pixels: Array = simplejpeg.decode_jpeg(
            data,
            {1: "GRAY", 3: "RGB"}[channels],
            fastdct=fast_dct,
            min_height=height,
            min_width=width,
            min_factor=2 if least_size else 1,
            buffer=buffer,
        )
    except ValueError:  # also for what libjpeg warns of, as all that is damaged is among it
        return None
    return pixels if buffer is None else buffer


def resized(
    pixels: Array,
    size: tuple[int, int],
    interpolation: str,
    antialias: bool,
    box: Box | None = None,
) -> Array:
    """Pixels of uint8, shape (height, width, 1 or 3), at another size, by one of `FILTERS`.

    Of a box of them, with what is round it.
    """
    chosen = FILTERS[interpolation, antialias], antialias
    height, width, channels = pixels.shape
    left, top, right, bottom = box or (0, 0, width, height)
    if pixels.size <= _PART_BYTES:
        return _resized(pixels, size, chosen, (left, top, right, bottom))
    narrow = np.empty((height, size[1], channels), np.uint8)
    rows = max(1, _PART_BYTES // (width * channels))
    for first in range(0, height, rows):
        part = pixels[first : first + rows]
        columns = left, 0, right, len(part)
        narrow[first : first + rows] = _resized(part, (len(part), size[1]), chosen, columns)
    return _resized(narrow, size, chosen, (0, top, size[1], bottom))


def _resized(pixels: Array, size: tuple[int, int], chosen: tuple[str, bool], box: Box) -> Array:
    _, resizer = libraries()
    options = _options(*chosen)
    height, width, channels = pixels.shape
    if box != (0, 0, width, height):
        left, top, right, bottom = box
        options = options.copy()
        options.crop_box = resizer.CropBox(left, top, right - left, bottom - top)
    kind = {1: resizer.PixelType.U8, 3: resizer.PixelType.U8x3}[channels]
    result = resizer.ImageData(size[1], size[0], kind)
    image = resizer.ImageData(width, height, kind, pixels.tobytes())
    resizer.Resizer().resize(image, result, options)  # a new one, as it holds what one thread uses
    return np.frombuffer(result.get_buffer(), np.uint8).reshape(*size, channels)


@functools.cache
def _options(name: str, antialias: bool) -> Any:
    _, resizer = libraries()
    kind = resizer.FilterType[name]
    options = resizer.ResizeOptions(resizer.ResizeAlg.convolution(kind), use_alpha=False)
    if not antialias:
        # cykooz.resizer 4.0.1 has this algorithm, and no function of `ResizeAlg` that makes it.
        chosen = resizer.Algorithm.interpolation.value, kind.value, 2
        options.rust_options = options.rust_options.set_resize_alg(*chosen)
    return options
