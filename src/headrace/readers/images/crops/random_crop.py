"""RandomCrop: a part of a picture of one size, at a random place."""

from typing import Unpack

from headrace.arguments import check_int
from headrace.errors import ArgumentError
from headrace.readers.images.crops.crop import Crop, Drawn, check_flip
from headrace.readers.images.pixels import PixelOptions
from headrace.readers.images.region import Region

_MOST_PADDING = 2**16


class RandomCrop(Crop):
    """Takes a part of a picture at a random place, not resized, each place equally likely.

    To be called with a sample and its random numbers, as `RandomResizedCrop`. It draws three
    numbers by `rng.random(3)`: the top, the left, and whether it is flipped. So will all later
    versions.

    Args:
        size: (height, width) of the result, or one int for both.
        padding: as many zeros around each picture, of which a crop may then have some.
        flip: how likely left and right are swapped, from 0 to 1.
        **options: as of `RandomResizedCrop`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed; or
            when it is called, a picture is smaller than `size` with `padding`.
        MissingExtraError: (an ImportError) Pillow is not installed, or what decoder="turbo" needs.
        SampleFormatError: (a ValueError) when it is called: a sample can't be decoded.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> pictures = np.ones((4, 32, 32, 3), np.uint8)
        >>> crop = hr.RandomCrop(32, padding=4, flip=0.5)
        >>> loader = hr.Loader(pictures, batch_size=4, transform=hr.per_sample(crop))
        >>> loader.batch(0, 0).shape, loader.batch(0, 0)[:, 16, 16, 0].tolist()
        ((4, 32, 32, 3), [1, 1, 1, 1])
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int = 0,
        flip: float = 0.0,
        **options: Unpack[PixelOptions],
    ) -> None:
        super().__init__(size, 3, **options)
        self._padding = check_int("padding", padding, 0, _MOST_PADDING)
        self._flip = check_flip(flip)

    def region(self, drawn: Drawn, height: int, width: int) -> Region:
        down, right, flip = drawn.tolist()
        tall, wide = self._decoder.size
        spare_down = height + 2 * self._padding - tall
        spare_right = width + 2 * self._padding - wide
        if spare_down < 0 or spare_right < 0:
            raise ArgumentError(
                f"size must be at most that of each picture, but {(tall, wide)} was given, and one "
                f"is of {(height, width)}. Pass padding=, or use hr.RandomResizedCrop."
            )
        top = int(down * (spare_down + 1)) - self._padding
        left = int(right * (spare_right + 1)) - self._padding
        window = left, top, left + wide, top + tall
        return Region((0, 0, width, height), (height, width), window, flip < self._flip)
