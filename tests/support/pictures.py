"""Pictures, as the tests of images need them, and how resizing is defined.

Requires Pillow.
"""

import functools
import io

import numpy as np
import pytest
from PIL import Image

import headrace as hr
from headrace.readers.images import jpeg, turbo


def _has_turbo():
    try:
        jpeg.check_installed("turbo")
        turbo.library()
    except hr.MissingExtraError:
        return False
    return True


needs_turbo = pytest.mark.skipif(not _has_turbo(), reason="needs headrace[turbo]")
DECODERS = pytest.mark.parametrize("decoder", ["pillow", pytest.param("turbo", marks=needs_turbo)])


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    """EXIF data that say so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@functools.cache
def photograph(width=500, height=375):
    """Something with the soft shapes, edges and noise of a photograph."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width] / 40
    waves = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(3)], axis=-1)
    pixels = 128 + 90 * waves + 30 * (x.astype(int) % 3 == 0)[..., None]
    pixels += rng.normal(scale=4, size=pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


INKS = np.stack(
    [
        f.astype(np.uint8)
        for y, x in [np.mgrid[:32, :48]]
        for f in (x * 5, y * 7, 255 - x * 5, x + y)
    ],
    axis=-1,
)


def cmyk_jpeg(inks, with_marker):
    """A JPEG of four inks, from 0 for none to 255, with Adobe's marker or without.

    With it, files have how much ink there is not.
    """
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)  # as Adobe does
    if with_marker:
        return data
    at = data.index(b"\xff\xee")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    assert data[at + 4 : at + 9] == b"Adobe"
    return data[:at] + data[at + 2 + length :]


def triangle_filter(pixels, length):
    """Each row of the result, and the weights of those of the image: the definition."""
    scale = len(pixels) / length
    centres = (np.arange(length) + 0.5) * scale
    distances = np.abs(np.arange(len(pixels)) + 0.5 - centres[:, None]) / max(scale, 1)
    weights = np.maximum(0, 1 - distances)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, pixels, 1)


def nearest_two(pixels, length):
    """Linear interpolation between the centres of the two nearest pixels."""
    at = ((np.arange(length) + 0.5) * len(pixels) / length - 0.5).clip(0, len(pixels) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(pixels) - 1)
    share = (at - low)[:, None, None]
    return pixels[low] * (1 - share) + pixels[high] * share


def two_ways(resize, pixels, size):
    """What `resize` makes of the rows, and of the columns."""
    rows = resize(np.asarray(pixels, np.float64), size[0])
    return resize(rows.transpose(1, 0, 2), size[1]).transpose(1, 0, 2)
