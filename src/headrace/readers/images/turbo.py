"""Images resized by cykooz.resizer, in less time than by Pillow.

How it was chosen: docs/decisions/image_decoder.md.
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


@functools.cache
def library() -> ModuleType:
    """cykooz_resizer."""
    try:
        return importlib.import_module("cykooz_resizer")
    except ModuleNotFoundError as error:
        raise missing_extra("decoder='turbo'", "cykooz.resizer", "turbo") from error


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
    resizer = library()
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
    resizer = library()
    kind = resizer.FilterType[name]
    options = resizer.ResizeOptions(resizer.ResizeAlg.convolution(kind), use_alpha=False)
    if not antialias:
        # cykooz.resizer 4.0.1 has this algorithm, and no function of `ResizeAlg` that makes it.
        chosen = resizer.Algorithm.interpolation.value, kind.value, 2
        options.rust_options = options.rust_options.set_resize_alg(*chosen)
    return options
