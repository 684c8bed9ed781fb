"""ImageDecoder: the bytes of an image file become pixels of the wanted size and layout.

Requires Pillow, imported with the first image that it decodes.
"""

import math
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from headrace.arguments import check_bool, check_dtype, check_int
from headrace.arrays import Array
from headrace.errors import ArgumentError, bad_value
from headrace.readers.images import jpeg, opencv, pillow, turbo
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError

if TYPE_CHECKING:
    import PIL.Image

Channels = Literal[1, 3, 4, "grayscale", "rgb", "rgba", "indices"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Layout = Literal["HWC", "CHW"]
Decoder = Literal["pillow", "turbo", "opencv"]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_NAMED_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4, "indices": 1}
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_WITHOUT_ANTIALIAS = ("nearest", "bilinear", "bicubic")
# What resizes arrays, and has `FILTERS`, `library` and `resized`.
_RESIZERS = {"turbo": turbo, "opencv": opencv}
MAX_SIDE = 2**16
_MAX_PIXELS = 2**26


class PixelOptions(TypedDict, total=False):
    """What readers of images and crops pass on to `ImageDecoder`, which describes it."""

    channels: Channels
    layout: Layout
    dtype: Literal["uint8", "uint16", "float32"]
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


class ImageDecoder:
    """Decodes images and resizes them: `decoder(data)` is an array.

    Of JPEG, PNG, WebP, BMP, GIF and TIFF files; of an animation or several pages, the first. Unless
    asked for, sixteen bits a channel become their higher eight, and a palette's numbers the colours
    that they stand for.

    Args:
        size: (height, width) of the array, or one int for both.
        channels: 1, 3 or 4, or "grayscale", "rgb" or "rgba". Where an image has no transparency to
            fill a fourth channel, it is 255; where it has some that is not asked for, it is
            dropped, as if the image were opaque. Or "indices", for masks: one channel, with the
            numbers of a palette, or of grey, as they are stored; other images are refused.
        layout: "HWC" for arrays of shape (height, width, channels), "CHW" for (channels, height,
            width).
        dtype: "uint8", or "float32"; both from 0 to 255. Or "uint16", for 1 channel of grey PNGs
            and TIFFs with 16 bits, as they are stored; other images are refused.
        interpolation: the filter that resizes, one of Pillow's: "nearest", "box", "bilinear",
            "hamming", "bicubic", "lanczos".
        antialias: whether the filter is as wide as a pixel of the result where that is smaller than
            the image, so that all pixels of the image count. False, for "bilinear" and "bicubic",
            only interpolates between the nearest pixels, as Keras and TensorFlow do.
        crop_to_aspect_ratio: cut off two sides of an image, equally much, so that what is left can
            be resized without distortion. Otherwise it is stretched.
        exif_orientation: turn images as their EXIF data say; where these can't be read, images stay
            as they are. Keras does not.
        jpeg_scaling: decode a JPEG at a half, a fourth or an eighth of its size where that is still
            no smaller than `size`, which is faster for large images. Their pixels then differ from
            those of an image that was decoded whole and resized.
        max_pixels: an image with more is refused before it is decoded. Default: 64 Mi.
        decoder: "pillow", or "turbo", which is faster: JPEGs are decoded by simplejpeg, and images
            of 1 or 3 channels resized by cykooz.resizer. Or "opencv", faster again, by which they
            are resized with "bilinear" and `antialias=False`; with "nearest", as by all; and in no
            other way. All round differently, by 1 or 2 of 255, and by more at sharp edges with
            "bicubic" and "lanczos", so that states of a loader hold which it is.
        fast_dct: decode JPEGs by a faster, less exact transform, as TensorFlow does: with
            `antialias=False`, pixels are Keras' but for 1 of 255. Not with decoder="pillow".

    Raises:
        ArgumentError: (a ValueError) an argument is not one of these.
        MissingExtraError: (an ImportError) Pillow is not installed, or what the decoder needs.

    Example:
        >>> import headrace as hr
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (640, 480), (255, 0, 0)).save(file, "PNG")
        >>> decoder = hr.ImageDecoder((2, 2), channels="grayscale")
        >>> decoder(file.getvalue())[..., 0]
        array([[76, 76],
               [76, 76]], dtype=uint8)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        channels: Channels = 3,
        layout: Layout = "HWC",
        dtype: Literal["uint8", "uint16", "float32"] = "uint8",
        interpolation: Interpolation = "bilinear",
        antialias: bool = True,
        crop_to_aspect_ratio: bool = False,
        exif_orientation: bool = False,
        jpeg_scaling: bool = False,
        max_pixels: int = _MAX_PIXELS,
        decoder: Decoder = "pillow",
        fast_dct: bool = False,
    ) -> None:
        pillow.check_installed()
        height, width = _check_size(size)
        number = _NAMED_CHANNELS.get(channels, channels) if isinstance(channels, str) else channels
        if isinstance(number, bool) or number not in tuple(_MODES):
            allowed = "1, 3, 4, 'grayscale', 'rgb', 'rgba' or 'indices'"
            raise bad_value("channels", channels, allowed)
        if layout not in ("HWC", "CHW"):
            raise bad_value("layout", layout, "'HWC' or 'CHW'")
        if interpolation not in _INTERPOLATIONS:
            raise bad_value("interpolation", interpolation, f"one of {', '.join(_INTERPOLATIONS)}")
        if not check_bool("antialias", antialias) and interpolation not in _WITHOUT_ANTIALIAS:
            raise ArgumentError(
                f"antialias must be True with interpolation={interpolation!r}; without it there "
                f"are {', '.join(_WITHOUT_ANTIALIAS)}."
            )
        if decoder not in ("pillow", *_RESIZERS):
            raise bad_value("decoder", decoder, "'pillow', 'turbo' or 'opencv'")
        known = interpolation == "nearest" or (interpolation, antialias) in opencv.FILTERS
        if decoder == "opencv" and not known:
            raise ArgumentError(
                "decoder='opencv' resizes with interpolation='bilinear' and antialias=False, or "
                f"'nearest', but {interpolation!r} and {antialias} were given. Use decoder='turbo' "
                "for others."
            )
        if decoder != "pillow":
            jpeg.check_installed(decoder)
            _RESIZERS[decoder].library()
        elif check_bool("fast_dct", fast_dct):
            raise bad_value("fast_dct", fast_dct, "False with decoder='pillow', which has no other")
        kind = check_dtype(dtype)
        if kind not in map(np.dtype, ("uint8", "uint16", "float32")):
            raise bad_value("dtype", dtype, "'uint8', 'uint16' or 'float32'")
        if kind == np.uint16 and (number != 1 or channels == "indices"):
            raise bad_value("channels", channels, "1 with dtype='uint16'")
        if channels == "indices" and interpolation != "nearest":
            allowed = "'nearest' with channels='indices', which are numbers of classes"
            raise bad_value("interpolation", interpolation, allowed)
        self._channels = int(number)
        self._indices = channels == "indices"
        self._deep = kind == np.uint16
        self._size = height, width
        self._layout = layout
        self._interpolation = interpolation
        self._antialias = antialias
        self._crops = check_bool("crop_to_aspect_ratio", crop_to_aspect_ratio)
        self._turns = check_bool("exif_orientation", exif_orientation)
        self._scales = check_bool("jpeg_scaling", jpeg_scaling)
        self._max_pixels = check_int("max_pixels", max_pixels, 1, 2**62)
        self._decoder = decoder
        self._fast_dct = check_bool("fast_dct", fast_dct)
        shape = (height, width, self._channels)
        self.spec = Spec(shape if layout == "HWC" else (shape[2], *shape[:2]), kind)

    def __repr__(self) -> str:
        return f"ImageDecoder(size={self._size}, {self._layout}, {self.spec})"

    def fingerprint(self) -> str:
        """What tells its pixels from Pillow's colours or grey; nothing if they are those."""
        told = {"turbo": self._decoder == "turbo", "opencv": self._decoder == "opencv"}
        told |= {"fast_dct": self._fast_dct, "indices": self._indices}
        return ", ".join(name for name, is_so in told.items() if is_so)

    def __call__(self, data: bytes | memoryview) -> Array:
        """The pixels of the image file with the bytes `data`, shape and dtype as in `spec`.

        Raises:
            FormatError: they are no image that can be decoded whole.
        """
        out = np.empty(self.spec.shape, self.spec.dtype)
        self.decode_into(data, out)
        return out

    def decode_into(self, data: bytes | memoryview, out: Array) -> None:
        """Writes the pixels into `out`, a C-contiguous array of the shape and dtype of `spec`.

        Raises:
            FormatError: as for a call.
        """
        with pillow.decoding():
            pixels = self._pixels(data, out)
        if pixels is not out:
            out[...] = pixels if self._layout == "HWC" else pixels.transpose(2, 0, 1)

    def _pixels(self, data: bytes | memoryview, out: Array) -> Array:
        """Shape (height, width, channels); `out` itself if they are there already."""
        data = bytes(data)
        if pillow.is_jpeg(data) and self._decoder != "pillow" and self._has_colours():
            pixels = self._of_jpeg(data, out)
            if pixels is not None:
                return pixels
        image = self._opened(data)
        image = self._loaded(image, data, self._least_size(image.size) if self._scales else None)
        orientation = pillow.orientation(image) if self._turns else 1
        image = pillow.turned(self._converted(image), orientation)
        box = self._box(image.size)
        if box != (0, 0, *image.size):
            image = image.crop(box)
        if image.size != self._size[::-1] and not self._resizes_arrays():
            image = pillow.resized(image, self._size, self._interpolation, self._antialias)
        return self._resized(np.asarray(image).reshape(image.height, image.width, -1), out)

    def _of_jpeg(self, data: bytes, out: Array) -> Array | None:
        """As `_pixels`; None if Pillow has to decode it, or to say what is wrong."""
        size = jpeg.jpeg_size(data)
        if size is None:
            return None
        self._check_pixels(size[1], size[0])
        orientation = pillow.orientation(pillow.opened(data)) if self._turns else 1
        # Straight into the batch, where that is all there is to do.
        fits = size == self._size and orientation == 1
        pixels = jpeg.decode_jpeg(
            data,
            self._channels,
            self._least_size(size[::-1])[::-1] if self._scales else None,
            self._fast_dct,
            out if fits and self._is_plain() else None,
        )
        if pixels is None or pixels is out:
            return pixels
        pixels = pillow.turned_pixels(pixels, orientation)
        left, top, right, bottom = self._box(pixels.shape[1::-1])
        return self._resized(pixels[top:bottom, left:right], out)

    def _opened(self, data: bytes) -> "PIL.Image.Image":
        """The image, to be decoded by Pillow, if it is not too large."""
        image: PIL.Image.Image = pillow.opened(data)
        self._check_pixels(image.width, image.height)
        return image

    def _loaded(
        self, image: "PIL.Image.Image", data: bytes, least_size: tuple[int, int] | None
    ) -> "PIL.Image.Image":
        """The image, decoded; a JPEG scaled, if to no less than (width, height)."""
        from PIL import ImageChops

        if image.format == "JPEG":
            # A JPEG stores grey apart from the colours, which need not be decoded then.
            image.draft("L" if self._channels == 1 else None, least_size)
        elif image.format == "PNG":
            pillow.check_png(memoryview(data))
        elif image.format == "TIFF":
            pillow.check_tiff(image)
        image.load()
        if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
            # Adobe stores how much ink there is not, and Pillow takes every CMYK file for Adobe's.
            image = ImageChops.invert(image)
        return image

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise FormatError(
                f"it has {width} x {height} pixels; at most {self._max_pixels} are "
                "decoded. If that is what it should have, pass a larger max_pixels"
            )

    def _least_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """What (width, height) an image of `size` must have at least to be made smaller, if any."""
        height, width = self._size
        if self._turns:  # perhaps by a right angle
            width = height = max(width, height)
        left, top, right, bottom = self._box(size, (width, height))
        return math.ceil(size[0] * width / (right - left)), math.ceil(
            size[1] * height / (bottom - top)
        )

    def _converted(self, image: "PIL.Image.Image") -> "PIL.Image.Image":
        """The image with the wanted channels."""
        from PIL import Image

        if self._indices:
            return Image.fromarray(pillow.indices(image))
        deep = pillow.sixteen_bits(image)
        if self._deep:
            if deep is None:
                raise FormatError("it is not of one channel of 16 bits, as dtype='uint16' needs")
            return Image.fromarray(deep)
        if deep is not None:  # which Pillow would clip to eight
            image = pillow.high_bits(image, deep)
        if self._channels != 4:
            image.info.pop("transparency", None)
        mode = _MODES[self._channels]
        return image if image.mode == mode else image.convert(mode)

    def _resizes_arrays(self) -> bool:
        """Whether images become arrays first, and then are resized."""
        if self._interpolation == "nearest":
            return True
        if self._decoder == "pillow" or not self._has_colours():
            return False
        return (self._interpolation, self._antialias) in _RESIZERS[self._decoder].FILTERS

    def _has_colours(self) -> bool:
        """Whether pixels are what `_RESIZERS` know: colours or grey of 8 bits, without opacity."""
        return self._channels in (1, 3) and not (self._indices or self._deep)

    def _is_plain(self) -> bool:
        """Whether samples are pixels of uint8 as they are decoded."""
        return self._layout == "HWC" and self.spec.dtype == np.uint8

    def _resized(self, pixels: Array, out: Array) -> Array:
        """The pixels, of shape (height, width, channels), at the wanted size.

        It may be `out`, a sample, with these written into it.
        """
        if pixels.shape[:2] == self._size:
            return pixels
        if self._interpolation == "nearest":
            return pillow.nearest(pixels, self._size)
        if self._resizes_arrays():
            how = pixels, self._size, self._interpolation, self._antialias
            if self._decoder == "opencv":
                return opencv.resized(*how, out if self._is_plain() else None)
            return turbo.resized(*how)
        image = pillow.as_image(pixels)
        image = pillow.resized(image, self._size, self._interpolation, self._antialias)
        return np.asarray(image).reshape(*self._size, self._channels)

    def _box(
        self, size: tuple[int, int], wanted: tuple[int, int] | None = None
    ) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the part of an image of `size` that is resized.

        Both sizes are (width, height), as Pillow has them.
        """
        wanted = wanted or self._size[::-1]
        width, height = size
        if self._crops:
            # In integers as Keras has them, to cut off the same pixels.
            width = min(width, max(1, int(height * wanted[0] / wanted[1])))
            height = min(height, max(1, int(size[0] * wanted[1] / wanted[0])))
        left, top = int((size[0] - width) / 2), int((size[1] - height) / 2)
        return left, top, left + width, top + height


def _check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise bad_value("size", size, "an int, or a tuple of two ints, (height, width)")
    height, width = (check_int("size", side, 1, MAX_SIDE) for side in sides)
    return height, width
