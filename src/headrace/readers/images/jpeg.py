"""JPEGs decoded by simplejpeg, in less time than by Pillow.

How it was chosen: docs/decisions/image_decoder.md.
"""

import functools
import importlib
from types import ModuleType

import numpy as np

from headrace.arrays import Array
from headrace.errors import missing_extra

_KEPT_BYTES = 2**24


def check_installed(decoder: str) -> None:
    """Raises the error for `decoder` without simplejpeg."""
    try:
        library()
    except ModuleNotFoundError as error:
        raise missing_extra(f"decoder={decoder!r}", "simplejpeg", decoder) from error


@functools.cache
def library() -> ModuleType:
    """simplejpeg."""
    found = importlib.import_module("simplejpeg")
    # glibc then keeps as much of what is freed: memory that is new takes as long as resizing.
    np.empty(_KEPT_BYTES, np.uint8)
    return found


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The height and width of a JPEG; None if Pillow has to decode it, or to say what is wrong."""
    try:
        height, width, colours, _ = library().decode_jpeg_header(data)
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
    height, width = least_size or (0, 0)
    try:
        pixels: Array = library().decode_jpeg(
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
