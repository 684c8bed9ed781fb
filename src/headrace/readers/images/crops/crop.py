"""Crop: what crops of pictures have in common. Each adds what it draws, and the region it takes."""

from typing import Unpack

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array
from headrace.errors import SampleFormatError, bad_type, bad_value
from headrace.readers.images.crops.region_decoder import RegionDecoder
from headrace.readers.images.pixels import PixelOptions
from headrace.readers.images.region import Region
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError

# Numbers from 0 up to 1.
Drawn = npt.NDArray[np.float64]


class Crop:
    """A crop of pictures of each sample: encoded, or decoded already.

    Args:
        size: (height, width) of the result, or one int for both.
        draws: how many random numbers it draws for a sample.
        **options: of `ImageDecoder`, where `jpeg_scaling` is True if left out.
    """

    def __init__(
        self, size: int | tuple[int, int], draws: int, **options: Unpack[PixelOptions]
    ) -> None:
        if "crop_to_aspect_ratio" in options:
            raise bad_type("crop_to_aspect_ratio", True, "left out, as a crop is one of its own")
        if options.get("decoder") == "opencv":
            raise bad_value("decoder", "opencv", "'pillow' or 'turbo' for a crop")
        options.setdefault("jpeg_scaling", True)
        self._decoder = RegionDecoder(size, **options)
        self._draws = draws

    @property
    def spec(self) -> Spec:
        """Shape and dtype of the result."""
        return self._decoder.spec

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._decoder.size})"

    def fingerprint(self) -> str:
        """What tells its pixels from those of others, for `hr.Cached`: all that it was given."""
        own = {name: one for name, one in vars(self).items() if one is not self._decoder}
        decoder = self._decoder.size, self._decoder.fingerprint()
        return repr((type(self).__name__, *decoder, sorted(own.items())))

    def draw(self, rng: np.random.Generator) -> Drawn:
        """The random numbers of a sample, for `apply` and `region`."""
        return rng.random(self._draws)

    def region(self, drawn: Drawn, height: int, width: int) -> Region:
        """What is taken of a picture of this size: its `box`, as (left, top, right, bottom), is
        resized to `size`, a `window` of that is taken, and mirrored if `flipped`."""
        raise NotImplementedError

    def __call__(self, sample: Array, rng: np.random.Generator) -> Array:
        """The crop of a sample, which is uint8, the bytes of an image file, or a picture of shape
        (height, width, channels). Of the shape and dtype of `spec`."""
        return self.apply(sample, self.draw(rng))

    def apply(self, sample: Array, drawn: Drawn) -> Array:
        """As a call, for the random numbers of `draw`: the same crop of pictures of one size."""
        if not isinstance(sample, np.ndarray):
            raise bad_type(
                "sample",
                sample,
                "one picture as a numpy.ndarray",
                "Call it in headrace.per_sample(fn), where fn(sample, rng) takes the picture of "
                "its sample, as in `x, y = sample; return crop(x, rng), y`.",
            )

        def region_of(height: int, width: int) -> Region:
            return self.region(drawn, height, width)

        if sample.ndim != 1:
            return self._decoder.of_decoded(sample, region_of)
        try:
            return self._decoder.of_encoded(sample.tobytes(), region_of)
        except FormatError as error:
            raise SampleFormatError(f"the sample can't be decoded: {error}") from error.__cause__


def check_flip(flip: float) -> float:
    """How likely left and right are swapped, if it is a number from 0 to 1."""
    if isinstance(flip, bool) or not isinstance(flip, int | float):
        raise bad_type("flip", flip, "a number from 0 to 1, such as 0.5")
    if not 0 <= flip <= 1:
        raise bad_value("flip", flip, "a number from 0 to 1")
    return float(flip)
