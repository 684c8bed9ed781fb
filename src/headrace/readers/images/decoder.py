"""ImageDecoder: the bytes of an image file become pixels of the wanted size and layout.

Requires Pillow, imported with the first image that it decodes.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.arguments import check_int
from headrace.arrays import Array
from headrace.errors import bad_value
from headrace.readers.images import jpeg, opencv, pillow, turbo
from headrace.readers.images.pixels import Channels, Decoder, DType, Interpolation, Layout, Pixels
from headrace.readers.images.region import Region, placed
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError

if TYPE_CHECKING:
    import PIL.Image

# Gives the region of a picture of this height and width.
RegionOf = Callable[[int, int], Region]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MAX_SIDE = 2**16
_MAX_PIXELS = 2**26


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
            no smaller than `size`, which is faster for large images. Their pixels then differ a
            little from those of an image that was decoded whole and resized. Not with "nearest".
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
        dtype: DType = "uint8",
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
        self._options = Pixels(
            channels=channels,
            layout=layout,
            dtype=dtype,
            interpolation=interpolation,
            antialias=antialias,
            crop_to_aspect_ratio=crop_to_aspect_ratio,
            exif_orientation=exif_orientation,
            jpeg_scaling=jpeg_scaling,
            decoder=decoder,
            fast_dct=fast_dct,
        )
        self._size = height, width
        self._max_pixels = check_int("max_pixels", max_pixels, 1, 2**62)
        self.spec = Spec(self._options.shape(height, width), np.dtype(self._options.dtype))

    def __repr__(self) -> str:
        return f"ImageDecoder(size={self._size}, {self._options.layout}, {self.spec})"

    def fingerprint(self) -> str:
        """What tells its pixels from those of the defaults, but for `size`, which `spec` has.

        Without `max_pixels`, which a run that was stopped by it needs to go on with a larger one.
        """
        return self._options.told()

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
            found = self._decoded(bytes(data), self._region, out)
            pixels = found.pixels if found.pixels is out else self._inside(found, out)
        if pixels is not out:
            out[...] = pixels if self._options.layout == "HWC" else pixels.transpose(2, 0, 1)

    def _decoded(self, data: bytes, region_of: RegionOf, out: Array | None = None) -> "Decoded":
        """The image file with these bytes, decoded and turned, and the region that is wanted of it.

        Args:
            out: a sample, into which it is decoded if that is all there is to do.
        """
        options = self._options
        is_jpeg = pillow.is_jpeg(data)
        if is_jpeg and options.decoder != "pillow" and options.have_colours:
            found = self._of_jpeg(data, region_of, out)
            if found is not None:
                return found
        image = self._opened(data)
        if not is_jpeg:  # some are turned as they are loaded
            image = self._loaded(image, data, None)
        orientation = pillow.orientation(image) if options.exif_orientation else 1
        size = _turned((image.height, image.width), orientation)
        region = region_of(*size)
        if is_jpeg:
            least = self._least(region, size, orientation)
            image = self._loaded(image, data, None if least is None else least[::-1])
        image = pillow.turned(self._converted(image), orientation)
        return Decoded(image, region, size, orientation)

    def _of_jpeg(self, data: bytes, region_of: RegionOf, out: Array | None) -> "Decoded | None":
        """As `_decoded`; None if Pillow has to decode it, or to say what is wrong."""
        stored = jpeg.jpeg_size(data)
        if stored is None:
            return None
        self._check_pixels(stored[1], stored[0])
        options = self._options
        orientation = 1
        if options.exif_orientation:
            orientation = pillow.orientation(pillow.opened(data))
        size = _turned(stored, orientation)
        region = region_of(*size)
        fits = size == self._size and orientation == 1 and options.are_plain
        pixels = jpeg.decode_jpeg(
            data,
            options.n_channels,
            self._least(region, size, orientation),
            options.fast_dct,
            out if fits else None,
        )
        if pixels is None:
            return None
        if pixels is not out:
            pixels = pillow.turned_pixels(pixels, orientation)
        return Decoded(pixels, region, size, orientation)

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
            image.draft("L" if self._options.n_channels == 1 else None, least_size)
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

    def _least(
        self, region: Region, size: tuple[int, int], orientation: int
    ) -> tuple[int, int] | None:
        """(height, width) that a JPEG must keep if it is decoded smaller; None if it may not be."""
        if not self._options.jpeg_scaling or self._options.interpolation == "nearest":
            return None
        return _turned(region.least_size(size), orientation)

    def _converted(self, image: "PIL.Image.Image") -> "PIL.Image.Image":
        """The image with the wanted channels."""
        from PIL import Image

        if self._options.are_indices:
            return Image.fromarray(pillow.indices(image))
        deep = pillow.sixteen_bits(image)
        if self._options.is_deep:
            if deep is None:
                raise FormatError("it is not of one channel of 16 bits, as dtype='uint16' needs")
            return Image.fromarray(deep)
        if deep is not None:  # which Pillow would clip to eight
            image = pillow.high_bits(image, deep)
        if self._options.n_channels != 4:
            image.info.pop("transparency", None)
        mode = _MODES[self._options.n_channels]
        return image if image.mode == mode else image.convert(mode)

    def _inside(self, found: "Decoded", out: Array | None = None) -> Array:
        """The part of a region's window where there are pixels: shape (height, width, channels).

        Args:
            out: a sample. It is the result if they were written into it.
        """
        picture, region, size, orientation = found
        options = self._options
        decoded = _height_and_width(picture)
        scale, origin = placed(size, decoded, *pillow.mirrored(orientation))
        left, top, right, bottom = region.inside
        wanted = bottom - top, right - left
        x, y = region.box[:2]
        whole = region.box[3] - y, region.box[2] - x
        if whole == region.size and scale == 1:
            return _three_axes(picture)[y + top : y + bottom, x + left : x + right]
        if options.interpolation == "nearest":
            rows = y + _nearest(top, bottom, whole[0], region.size[0])
            columns = x + _nearest(left, right, whole[1], region.size[1])
            pixels: Array = _three_axes(picture)[rows[:, None], columns]
            return pixels
        how = options.interpolation, options.antialias
        part, box = region.needed(scale, origin, *how)
        if options.are_resized_as_arrays:
            left, top, right, bottom = part
            pixels = _three_axes(picture)[top:bottom, left:right]
            if options.decoder == "turbo":
                return turbo.resized(pixels, wanted, *how, box)
            left, right = _whole(box[0], box[2], pixels.shape[1])
            top, bottom = _whole(box[1], box[3], pixels.shape[0])
            pixels = pixels[top:bottom, left:right]
            return opencv.resized(pixels, wanted, *how, out if options.are_plain else None)
        image = pillow.as_image(picture) if isinstance(picture, np.ndarray) else picture
        if part != (0, 0, *image.size):
            image = image.crop(part)
        return _three_axes(pillow.resized(image, wanted, *how, box))

    def _region(self, height: int, width: int) -> Region:
        """All of an image of that size, or what is left of it with `crop_to_aspect_ratio`."""
        tall, wide = self._size
        box = 0, 0, width, height
        if self._options.crop_to_aspect_ratio:
            # In integers as Keras has them, to cut off the same pixels.
            kept = (
                min(width, max(1, int(height * wide / tall))),
                min(height, max(1, int(width * tall / wide))),
            )
            left, top = int((width - kept[0]) / 2), int((height - kept[1]) / 2)
            box = left, top, left + kept[0], top + kept[1]
        return Region(box, self._size, (0, 0, wide, tall), flipped=False)


class Decoded(NamedTuple):
    """A picture that was decoded and turned.

    Attributes:
        pixels: of shape (height, width, channels), or an image; smaller than `size` if it was
            scaled while it was decoded, before it was turned.
        region: what is wanted of it.
        size: (height, width) of the picture.
        orientation: as it was stored.
    """

    pixels: "Array | PIL.Image.Image"
    region: Region
    size: tuple[int, int]
    orientation: int = 1


def _whole(start: float, stop: float, n: int) -> tuple[int, int]:
    """The nearest of n pixels, from first to last, at least one."""
    first = min(math.floor(start + 0.5), n - 1)
    return first, max(math.floor(stop + 0.5), first + 1)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) of a picture that is turned, or turned back."""
    return size[::-1] if orientation >= 5 else size


def _height_and_width(picture: "Array | PIL.Image.Image") -> tuple[int, int]:
    if isinstance(picture, np.ndarray):
        return picture.shape[0], picture.shape[1]
    return picture.height, picture.width


def _nearest(first: int, last: int, side: int, resized: int) -> Array:
    """The pixels of a side under the centres of pixels of what it is resized to.

    In whole numbers: Pillow counts in floating point, and takes either of two pixels where a centre
    lies exactly between them.
    """
    found: Array = (2 * np.arange(first, last) + 1) * side // (2 * resized)
    return found


def _three_axes(picture: "Array | PIL.Image.Image") -> Array:
    pixels: Array = np.asarray(picture)
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1)


def _check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise bad_value("size", size, "an int, or a tuple of two ints, (height, width)")
    height, width = (check_int("size", side, 1, MAX_SIDE) for side in sides)
    return height, width
