"""RegionDecoder: the pixels of a region of a picture, which is encoded, or decoded already.

Requires Pillow, imported with the first image that it decodes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from headrace.arrays import Array
from headrace.errors import bad_value
from headrace.readers.images import jpeg, pillow, turbo
from headrace.readers.images.crops.region import Region
from headrace.readers.images.decoder import ImageDecoder

if TYPE_CHECKING:
    import PIL.Image

# Gives the region of a picture of this height and width.
RegionOf = Callable[[int, int], Region]


class RegionDecoder(ImageDecoder):
    """Decodes regions of pictures, each of the shape and dtype of `spec`.

    Args: as of `ImageDecoder`.
    """

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self._size

    def of_encoded(self, data: bytes, region_of: RegionOf) -> Array:
        """The region of the image file with these bytes.

        Raises:
            FormatError: they are no image that can be decoded whole.
        """
        with pillow.decoding():
            is_jpeg = pillow.is_jpeg(data)
            if is_jpeg and self._decoder == "turbo" and self._has_colours():
                found = self._of_encoded_jpeg(data, region_of)
                if found is not None:
                    return found
            image = self._opened(data)
            if not is_jpeg:  # some are turned as they are loaded
                image = self._loaded(image, data, None)
            orientation = pillow.orientation(image) if self._turns else 1
            size = _turned((image.height, image.width), orientation)
            region = region_of(*size)
            if is_jpeg:
                least = self._least(region, size, orientation)
                image = self._loaded(image, data, None if least is None else least[::-1])
            image = pillow.turned(self._converted(image), orientation)
            return self._taken(image, region, size, orientation)

    def of_decoded(self, pixels: Array, region_of: RegionOf) -> Array:
        """The region of a picture that is decoded, shape (height, width, channels)."""
        shape, dtype = (*pixels.shape[:2], self._channels), np.uint16 if self._deep else np.uint8
        if pixels.ndim != 3 or pixels.shape != shape or pixels.dtype != dtype or 0 in shape:
            raise bad_value(
                "sample",
                f"an array of shape {pixels.shape} and dtype {pixels.dtype}",
                "the bytes of an image file, uint8 of one dimension, or a picture of shape "
                f"(height, width, {self._channels}) and dtype {np.dtype(dtype)}",
                "Pass channels= as the pictures have them." if pixels.ndim == 3 else "",
            )
        height, width, _ = shape
        return self._taken(pixels, region_of(height, width), (height, width))

    def _of_encoded_jpeg(self, data: bytes, region_of: RegionOf) -> Array | None:
        """As `of_encoded`; None if Pillow has to decode it, or to say what is wrong."""
        found = jpeg.jpeg_size(data)
        if found is None:
            return None
        self._check_pixels(found[1], found[0])
        orientation = pillow.orientation(pillow.opened(data)) if self._turns else 1
        size = _turned(found, orientation)
        region = region_of(*size)
        least = self._least(region, size, orientation)
        pixels = jpeg.decode_jpeg(data, self._channels, least, self._fast_dct, None)
        if pixels is None:
            return None
        pixels = pillow.turned_pixels(pixels, orientation)
        return self._taken(pixels, region, size, orientation)

    def _least(
        self, region: Region, size: tuple[int, int], orientation: int
    ) -> tuple[int, int] | None:
        """(height, width) that a JPEG must keep if it is decoded smaller; None if it may not be."""
        if not self._scales or self._interpolation == "nearest":
            return None
        return _turned(region.least_size(size), orientation)

    def _taken(
        self,
        picture: "Array | PIL.Image.Image",
        region: Region,
        size: tuple[int, int],
        orientation: int = 1,
    ) -> Array:
        """What lies in the window, among zeros, mirrored if it is to be.

        Args:
            picture: pixels of shape (height, width, channels), or an image; smaller than `size`,
                (height, width), if it was scaled while it was decoded, before it was turned.
        """
        pixels = self._inside(picture, region, size, orientation)
        left, top, right, bottom = region.inside
        x, y = region.window[:2]
        make = np.empty if region.inside == region.window else np.zeros
        out: Array = make(self.spec.shape, self.spec.dtype)
        target = out if self._layout == "HWC" else out.transpose(1, 2, 0)
        if region.flipped:
            target = target[:, ::-1]
        target = target[top - y : bottom - y, left - x : right - x]
        if not region.flipped:
            target[...] = pixels
            return out
        for channel in range(self._channels):  # which numpy does in a sixth of the time
            target[..., channel] = pixels[..., channel]
        return out

    def _inside(
        self,
        picture: "Array | PIL.Image.Image",
        region: Region,
        size: tuple[int, int],
        orientation: int,
    ) -> Array:
        """The part of the window where there are pixels; the arguments are those of `_taken`."""
        if isinstance(picture, np.ndarray):
            height, width, _ = picture.shape
        else:
            height, width = picture.height, picture.width
        scale = _scale(size, height, width)
        left, top, right, bottom = region.inside
        wanted = bottom - top, right - left
        x, y = region.box[:2]
        whole = region.box[3] - y, region.box[2] - x
        if whole == region.size and scale == 1:
            return _three_axes(picture)[y + top : y + bottom, x + left : x + right]
        if self._interpolation == "nearest":
            rows = y + _nearest(top, bottom, whole[0], region.size[0])
            columns = x + _nearest(left, right, whole[1], region.size[1])
            found: Array = _three_axes(picture)[rows[:, None], columns]
            return found
        # What was rounded up lies at the end, which may have become the beginning.
        mirrored_rows, mirrored_columns = pillow.mirrored(orientation)
        origin = (
            width - size[1] * scale if mirrored_columns else 0,
            height - size[0] * scale if mirrored_rows else 0,
        )
        part, box = region.needed(scale, origin, self._interpolation, self._antialias)
        left, top, right, bottom = part
        if self._resizes_arrays():
            pixels = _three_axes(picture)[top:bottom, left:right]
            return turbo.resized(pixels, wanted, self._interpolation, self._antialias, box)
        if isinstance(picture, np.ndarray):
            image = pillow.as_image(picture[top:bottom, left:right])
        else:
            image = picture.crop(part)
        image = pillow.resized(image, wanted, self._interpolation, self._antialias, box)
        return _three_axes(image)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) of a picture that is turned, or turned back."""
    return size[::-1] if orientation >= 5 else size


def _scale(size: tuple[int, int], height: int, width: int) -> float:
    """The scale at which a JPEG of `size` was decoded: libjpeg has eighths, and rounds sides up."""
    for eighths in range(8, 0, -1):
        if (-(-size[0] * eighths // 8), -(-size[1] * eighths // 8)) == (height, width):
            return eighths / 8
    raise AssertionError(f"{size} was decoded as {(height, width)}")


def _nearest(first: int, last: int, side: int, resized: int) -> Array:
    """The pixels of a side under the centres of pixels of what it is resized to."""
    found: Array = (2 * np.arange(first, last) + 1) * side // (2 * resized)
    return found


def _three_axes(picture: "Array | PIL.Image.Image") -> Array:
    pixels: Array = np.asarray(picture)
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
