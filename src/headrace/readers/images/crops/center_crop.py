"""CenterCrop: the middle of a picture, resized before or not."""

from typing import Unpack

import numpy as np

from headrace.arguments import check_int
from headrace.arrays import Array
from headrace.errors import ArgumentError, bad_value
from headrace.readers.images.crops.crop import Crop, Drawn
from headrace.readers.images.decoder import MAX_SIDE
from headrace.readers.images.pixels import PixelOptions
from headrace.readers.images.region import Region

_NOTHING = np.zeros(0)


class CenterCrop(Crop):
    """Takes the middle of a picture, after its short side was resized: the same for all epochs.

    For evaluation, where `RandomResizedCrop` is for training, and called as it is, in a transform
    of each sample. It draws no number. Of a picture no more is decoded and resized than counts. As
    in torchvision, a long side is rounded down when it is resized, and a crop that can't be in the
    middle is at the nearest even pixel.

    Args:
        size: (height, width) of the result, or one int for both.
        short_side: what the shorter side of the picture is resized to before; at least those of
            `size`. Default: nothing is resized.
        **options: as of `RandomResizedCrop`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed; or
            when it is called, a picture is smaller than `size`.
        MissingExtraError: (an ImportError) Pillow is not installed, or what decoder="turbo" needs.
        SampleFormatError: (a ValueError) when it is called: a sample can't be decoded.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> pictures = np.zeros((2, 300, 400, 3), np.uint8)
        >>> crop = hr.per_sample(hr.CenterCrop(224, short_side=256))
        >>> hr.Loader(pictures, batch_size=2, transform=crop).batch(0, 0).shape
        (2, 224, 224, 3)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        short_side: int | None = None,
        **options: Unpack[PixelOptions],
    ) -> None:
        super().__init__(size, 0, **options)
        if short_side is not None:
            check_int("short_side", short_side, 1, MAX_SIDE)
            if short_side < max(self._decoder.size):
                raise bad_value("short_side", short_side, f"at least {max(self._decoder.size)}")
        self._short_side = short_side

    def __call__(self, sample: Array, rng: np.random.Generator | None = None) -> Array:
        """The crop of a sample, of the shape and dtype of `spec`."""
        return self.apply(sample, _NOTHING)

    def region(self, drawn: Drawn, height: int, width: int) -> Region:
        tall, wide = self._decoder.size
        size = height, width
        if self._short_side is not None:
            short = min(size)
            size = (height * self._short_side // short, width * self._short_side // short)
        elif height < tall or width < wide:
            raise ArgumentError(
                f"size must be at most that of each picture, but {(tall, wide)} was given, and one "
                f"is of {(height, width)}. Pass short_side=, to which pictures are resized."
            )
        top, left = round((size[0] - tall) / 2), round((size[1] - wide) / 2)
        window = left, top, left + wide, top + tall
        return Region((0, 0, width, height), size, window, flipped=False)
