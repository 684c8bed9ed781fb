"""RandomResizedCrop: a part of a picture of random area and shape, resized."""

import math
from typing import Unpack

from headrace.errors import bad_type, bad_value
from headrace.readers.images.crops.crop import Crop, Drawn, check_flip
from headrace.readers.images.pixels import PixelOptions
from headrace.readers.images.region import Region

_TRIES = 10


class RandomResizedCrop(Crop):
    """Takes a part of a picture of random area, shape and place, resized to one size.

    To be called in a transform of each sample, with its random numbers, so that a crop is a
    function of the seed, the epoch and the sample. A sample is the bytes of an image file, as
    readers give them with `decode=False`, or a picture that is decoded already, uint8 of shape
    (height, width, channels). Of an encoded JPEG no more is decoded than the crop needs: at a half
    of its size or less, where that leaves the crop no smaller than `size`. Its pixels then differ a
    little from those of a picture that was decoded whole and cropped; `jpeg_scaling=False` gives
    those. Other pixels are those of `PIL.Image.crop`, then `resize`.

    Crops are distributed as those of torchvision 0.28 are: an area, uniform in `scale`, and a ratio
    of width to height, whose logarithm is uniform in that of `ratio`, are tried up to ten times,
    until the crop, rounded, fits into the picture; its place is uniform among all. If none fits,
    the crop is in the middle, as large as `ratio` lets it be.

    It draws 23 numbers by `rng.random(23)`, always, and uses them in this order: the areas and the
    ratios of the ten tries, in turns; the top, the left, and last whether it is flipped. So will
    all later versions.

    Args:
        size: (height, width) of the result, or one int for both.
        scale: the least and the most of the area of the picture that a crop has.
        ratio: the least and the most of the crop's width divided by its height.
        flip: how likely left and right are swapped, from 0 to 1.
        **options: channels, layout, dtype, interpolation, antialias, exif_orientation, max_pixels,
            decoder, fast_dct, and jpeg_scaling, here True if left out: see `ImageDecoder`. Of a
            picture that is decoded, `channels` are those that it has.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed; or
            when it is called, a sample is no such array.
        MissingExtraError: (an ImportError) Pillow is not installed, or what decoder="turbo" needs.
        SampleFormatError: (a ValueError) when it is called: a sample can't be decoded.

    Example:
        >>> import headrace as hr
        >>> import os, tempfile
        >>> from PIL import Image
        >>> root = tempfile.mkdtemp()
        >>> Image.linear_gradient("L").save(os.path.join(root, "a.jpg"))
        >>> crop = hr.RandomResizedCrop(32, flip=0.5)
        >>> transform = hr.per_sample(crop)
        >>> loader = hr.Loader(hr.Images(root, decode=False), batch_size=1, transform=transform)
        >>> loader.batch(0, 0).shape, bool((loader.batch(0, 0) == loader.batch(1, 0)).all())
        ((1, 32, 32, 3), False)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.0,
        **options: Unpack[PixelOptions],
    ) -> None:
        super().__init__(size, 2 * _TRIES + 3, **options)
        self._scale = _check_range("scale", scale)
        if self._scale[1] > 1:
            raise bad_value("scale", scale, "at most 1, the whole picture")
        self._ratio = _check_range("ratio", ratio)
        self._flip = check_flip(flip)

    def region(self, drawn: Drawn, height: int, width: int) -> Region:
        *tries, down, right, flip = drawn.tolist()
        area = height * width
        least, most = self._scale
        low, high = map(math.log, self._ratio)
        for i in range(0, 2 * _TRIES, 2):
            target = area * (least + (most - least) * tries[i])
            shape = math.exp(low + (high - low) * tries[i + 1])
            wide, tall = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
            if 0 < wide <= width and 0 < tall <= height:
                top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
                break
        else:
            wide, tall = self._largest(height, width)
            top, left = (height - tall) // 2, (width - wide) // 2
        size = self._decoder.size
        box = left, top, left + wide, top + tall
        return Region(box, size, (0, 0, size[1], size[0]), flip < self._flip)

    def _largest(self, height: int, width: int) -> tuple[int, int]:
        """(width, height) of the largest crop in the middle that has an allowed ratio."""
        least, most = self._ratio
        if width < least * height:
            return width, max(1, min(height, round(width / least)))
        if width > most * height:
            return max(1, min(width, round(height * most))), height
        return width, height


def _check_range(argument: str, value: tuple[float, float]) -> tuple[float, float]:
    if (
        not isinstance(value, tuple | list)
        or len(value) != 2
        or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    ):
        raise bad_type(argument, value, "a tuple of two numbers, the least and the most")
    low, high = value
    if not 0 < low <= high < math.inf:
        raise bad_value(argument, value, "two numbers above 0, the least and the most")
    return float(low), float(high)
