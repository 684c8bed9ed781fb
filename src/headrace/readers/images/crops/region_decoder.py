"""RegionDecoder: the pixels of a region of a picture, which is encoded, or decoded already.

Requires Pillow, imported with the first image that it decodes.
"""

import numpy as np

from headrace.arrays import Array
from headrace.errors import bad_value
from headrace.readers.images import pillow
from headrace.readers.images.decoder import Decoded, ImageDecoder, RegionOf


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
            return self._taken(self._decoded(data, region_of))

    def of_decoded(self, pixels: Array, region_of: RegionOf) -> Array:
        """The region of a picture that is decoded, shape (height, width, channels)."""
        channels = self._options.n_channels
        dtype = np.dtype(np.uint16 if self._options.is_deep else np.uint8)
        shape = *pixels.shape[:2], channels
        if pixels.ndim != 3 or pixels.shape != shape or pixels.dtype != dtype or 0 in shape:
            raise bad_value(
                "sample",
                f"an array of shape {pixels.shape} and dtype {pixels.dtype}",
                "the bytes of an image file, uint8 of one dimension, or a picture of shape "
                f"(height, width, {channels}) and dtype {dtype}",
                "Pass channels= as the pictures have them." if pixels.ndim == 3 else "",
            )
        height, width, _ = shape
        return self._taken(Decoded(pixels, region_of(height, width), (height, width)))

    def _taken(self, found: Decoded) -> Array:
        """What lies in the window of the region, among zeros, mirrored if it is to be."""
        region = found.region
        left, top, right, bottom = region.inside
        if left >= right or top >= bottom:
            return np.zeros(self.spec.shape, self.spec.dtype)
        pixels = self._inside(found)
        x, y = region.window[:2]
        make = np.empty if region.inside == region.window else np.zeros
        out: Array = make(self.spec.shape, self.spec.dtype)
        target = out if self._options.layout == "HWC" else out.transpose(1, 2, 0)
        if region.flipped:
            target = target[:, ::-1]
        target = target[top - y : bottom - y, left - x : right - x]
        if not region.flipped:
            target[...] = pixels
            return out
        for channel in range(self._options.n_channels):  # which numpy does in a sixth of the time
            target[..., channel] = pixels[..., channel]
        return out
