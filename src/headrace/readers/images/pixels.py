"""Pixels: how an image becomes pixels, but for their number."""

from dataclasses import dataclass, fields
from typing import Literal, TypedDict

import numpy as np

from headrace.arguments import check_bool, check_dtype
from headrace.errors import ArgumentError, bad_value
from headrace.readers.images import jpeg, opencv, turbo

Channels = Literal[1, 3, 4, "grayscale", "rgb", "rgba", "indices"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Layout = Literal["HWC", "CHW"]
DType = Literal["uint8", "uint16", "float32"]
Decoder = Literal["pillow", "turbo", "opencv"]

_NAMED_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4, "indices": 1}
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_WITHOUT_ANTIALIAS = ("nearest", "bilinear", "bicubic")
# What resizes arrays, and has `FILTERS`, `library` and `resized`.
RESIZERS = {"turbo": turbo, "opencv": opencv}


class PixelOptions(TypedDict, total=False):
    """What readers of images and crops pass on to `ImageDecoder`, which describes it."""

    channels: Channels
    layout: Layout
    dtype: DType
    interpolation: Interpolation
    antialias: bool
    exif_orientation: bool
    jpeg_scaling: bool
    max_pixels: int
    decoder: Decoder
    fast_dct: bool


class ImageOptions(PixelOptions, total=False):
    """What all readers of images pass on."""

    crop_to_aspect_ratio: bool


@dataclass(frozen=True)
class Pixels:
    """The options of an `ImageDecoder` that pixels depend on, checked.

    An option that is added has a default with which pixels stay what they were, as states leave out
    what is a default.

    Attributes:
        channels: their number, or "indices".
        dtype: its name.
    """

    channels: Channels = 3
    layout: Layout = "HWC"
    dtype: DType = "uint8"
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    crop_to_aspect_ratio: bool = False
    exif_orientation: bool = False
    jpeg_scaling: bool = False
    decoder: Decoder = "pillow"
    fast_dct: bool = False

    def __post_init__(self) -> None:
        self._check_channels()
        if self.layout not in ("HWC", "CHW"):
            raise bad_value("layout", self.layout, "'HWC' or 'CHW'")
        self._check_filter()
        self._check_decoder()
        self._check_dtype()
        for option in ("crop_to_aspect_ratio", "exif_orientation", "jpeg_scaling", "fast_dct"):
            check_bool(option, getattr(self, option))

    def _check_channels(self) -> None:
        given = self.channels
        number = _NAMED_CHANNELS.get(given, given) if isinstance(given, str) else given
        if isinstance(number, bool) or number not in (1, 3, 4):
            allowed = "1, 3, 4, 'grayscale', 'rgb', 'rgba' or 'indices'"
            raise bad_value("channels", given, allowed)
        object.__setattr__(self, "channels", given if given == "indices" else int(number))

    def _check_filter(self) -> None:
        interpolation = self.interpolation
        if interpolation not in _INTERPOLATIONS:
            raise bad_value("interpolation", interpolation, f"one of {', '.join(_INTERPOLATIONS)}")
        if not check_bool("antialias", self.antialias) and interpolation not in _WITHOUT_ANTIALIAS:
            raise ArgumentError(
                f"antialias must be True with interpolation={interpolation!r}; without it there "
                f"are {', '.join(_WITHOUT_ANTIALIAS)}."
            )

    def _check_decoder(self) -> None:
        if self.decoder not in ("pillow", *RESIZERS):
            raise bad_value("decoder", self.decoder, "'pillow', 'turbo' or 'opencv'")
        known = self.interpolation == "nearest" or self._filter in opencv.FILTERS
        if self.decoder == "opencv" and not known:
            raise ArgumentError(
                "decoder='opencv' resizes with interpolation='bilinear' and antialias=False, or "
                f"'nearest', but {self.interpolation!r} and {self.antialias} were given. Use "
                "decoder='turbo' for others."
            )
        if self.decoder != "pillow":
            jpeg.check_installed(self.decoder)
            RESIZERS[self.decoder].library()
        elif check_bool("fast_dct", self.fast_dct):
            allowed = "False with decoder='pillow', which has no other"
            raise bad_value("fast_dct", self.fast_dct, allowed)

    def _check_dtype(self) -> None:
        kind = check_dtype(self.dtype)
        if kind not in map(np.dtype, ("uint8", "uint16", "float32")):
            raise bad_value("dtype", self.dtype, "'uint8', 'uint16' or 'float32'")
        object.__setattr__(self, "dtype", kind.name)
        if self.is_deep and self.channels != 1:
            raise bad_value("channels", self.channels, "1 with dtype='uint16'")
        if self.are_indices and self.interpolation != "nearest":
            allowed = "'nearest' with channels='indices', which are numbers of classes"
            raise bad_value("interpolation", self.interpolation, allowed)

    def told(self) -> str:
        """What tells these pixels from those of the defaults; nothing if they are those."""
        options = ((field, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{field.name}={one!r}" for field, one in options if one != field.default)

    @property
    def n_channels(self) -> int:
        """The number of channels."""
        return 1 if self.are_indices else int(self.channels)

    @property
    def are_indices(self) -> bool:
        """Whether they are numbers of a palette."""
        return self.channels == "indices"

    @property
    def is_deep(self) -> bool:
        """Whether they have 16 bits."""
        return self.dtype == "uint16"

    @property
    def have_colours(self) -> bool:
        """Whether they are what `RESIZERS` know: colours or grey of 8 bits, without opacity."""
        return self.channels in (1, 3) and not self.is_deep

    @property
    def are_plain(self) -> bool:
        """Whether samples are pixels of uint8 as they are decoded."""
        return self.layout == "HWC" and self.dtype == "uint8"

    @property
    def are_resized_as_arrays(self) -> bool:
        """Whether images become arrays first, and then are resized."""
        if self.interpolation == "nearest":
            return True
        if self.decoder == "pillow" or not self.have_colours:
            return False
        return self._filter in RESIZERS[self.decoder].FILTERS

    @property
    def _filter(self) -> tuple[str, bool]:
        return self.interpolation, self.antialias

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """That of samples."""
        n = self.n_channels
        return (height, width, n) if self.layout == "HWC" else (n, height, width)
