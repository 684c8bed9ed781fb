"""Images resized by OpenCV, in less time than by cykooz.resizer, if without antialiasing.

How it was chosen: docs/decisions/image_decoder.md.
"""

import functools
import importlib
from types import ModuleType

import numpy as np

from headrace.arrays import Array
from headrace.errors import missing_extra

# By the name of the filter, and whether it is as wide as a pixel of the result. Its bicubic filter
# is not Pillow's, and what it has for antialiasing weighs pixels by area.
FILTERS = {("bilinear", False): "INTER_LINEAR"}


@functools.cache
def library() -> ModuleType:
    """cv2."""
    try:
        return importlib.import_module("cv2")
    except ModuleNotFoundError as error:
        raise missing_extra("decoder='opencv'", "opencv-python-headless", "opencv") from error


def resized(
    pixels: Array,
    size: tuple[int, int],
    interpolation: str,
    antialias: bool,
    out: Array | None = None,
) -> Array:
    """Pixels of uint8, shape (height, width, 1 or 3), at another size, by one of `FILTERS`.

    In `out` if given, which is C-contiguous and of the shape of the result.
    """
    cv2 = library()
    if out is None:
        out = np.empty((*size, pixels.shape[2]), np.uint8)
    kind = getattr(cv2, FILTERS[interpolation, antialias])
    # Rows may have gaps between them, but lie as they follow each other; one channel has no axis.
    image = np.ascontiguousarray(pixels).reshape(pixels.shape[0], pixels.shape[1], -1)
    cv2.resize(image, size[::-1], dst=out, interpolation=kind)
    return out
