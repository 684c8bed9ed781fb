"""Images whose pixels are numbers: class indices, 16 bits; and TIFFs."""

import io
import struct
import zlib

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")

from pictures import DECODERS, encoded, nearest_two, photograph, triangle_filter, turned, two_ways

import headrace as hr
from headrace.readers.shared.format_error import FormatError

CLASSES = np.random.default_rng(0).integers(0, 21, size=(33, 50), dtype=np.uint8)
DEPTHS = (np.random.default_rng(1).random((33, 50)) * 2**16).astype(np.uint16)


def mask(bits=8):
    """Class numbers in a palette of odd colours."""
    image = Image.fromarray(CLASSES & (2**bits - 1))
    image.putpalette(bytes((number * 37 + 11) % 256 for number in range(768)))
    return image


def decode_mask(data, size=CLASSES.shape, **options):
    decoder = hr.ImageDecoder(size, channels="indices", interpolation="nearest", **options)
    return decoder(data)


@pytest.mark.parametrize(
    "data",
    [
        encoded(mask(), "PNG"),
        encoded(mask(), "PNG", transparency=0),
        encoded(mask(), "BMP"),
        encoded(mask(), "TIFF"),
        encoded(Image.fromarray(CLASSES), "PNG"),
        encoded(Image.fromarray(CLASSES), "TIFF", compression="tiff_lzw"),
    ],
    ids=["PNG", "clear PNG", "BMP", "TIFF", "grey PNG", "grey TIFF"],
)
def test_indices_are_the_numbers_that_are_stored(data):
    assert (decode_mask(data)[..., 0] == CLASSES).all()
    assert (decode_mask(data, layout="CHW", dtype="float32")[0] == CLASSES).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_indices_of_few_bits(bits):
    data = encoded(mask(bits), "PNG", bits=bits)
    assert (decode_mask(data)[..., 0] == CLASSES % 2**bits).all()
    two = encoded(Image.fromarray(CLASSES % 2 == 1), "PNG")
    assert (decode_mask(two)[..., 0] == CLASSES % 2).all()


def packed(numbers, bits):
    """Rows of numbers, of so many bits each."""
    of_each = numbers[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(of_each.reshape(len(numbers), -1).astype(np.uint8), axis=1).tobytes()


def png(numbers, bits, clear=None):
    """A PNG of grey, shape (height, width), or of colours, of so many bits, one of them clear."""
    rows = np.frombuffer(packed(numbers.reshape(len(numbers), -1), bits), np.uint8)
    kind = 0 if numbers.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", numbers.shape[1], len(numbers), bits, kind, 0, 0, 0)
    pixels = np.pad(rows.reshape(len(numbers), -1), ((0, 0), (1, 0)))
    transparency = [] if clear is None else [b"tRNS" + np.asarray(clear, ">u2").tobytes()]
    chunks = [b"IHDR" + header, *transparency, b"IDAT" + zlib.compress(pixels.tobytes()), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_of_grey_are_not_spread_out(bits):
    numbers = CLASSES & (2**bits - 1)
    stored = [tiff(numbers, bits=bits), tiff(numbers, bits=bits, photometric=0)]
    for data in [png(numbers, bits), *stored]:
        assert (decode_mask(data)[..., 0] == numbers).all()


@pytest.mark.parametrize(
    ("bits", "channels"),
    [(1, ()), (2, ()), (4, ()), (8, ()), (16, ()), (8, (3,)), (16, (3,))],
    ids=str,
)
def test_one_number_may_be_clear(bits, channels):
    most = min(2**bits - 1, 2**16 - 2)
    numbers = np.random.default_rng(0).integers(2, size=(33, 50, *channels)) * most
    found = hr.ImageDecoder((33, 50), channels=4)(png(numbers, bits, numbers[0, 0]))
    is_clear = (numbers == numbers[0, 0]).reshape(33, 50, -1).all(axis=-1)
    assert ((found[..., 3] == 0) == is_clear).all()
    assert (found[..., :3] == (numbers.reshape(33, 50, -1) > 0) * 255).all()


def test_in_some_tiffs_larger_numbers_are_darker():
    for numbers in (CLASSES, DEPTHS):
        pixels, inverted = (
            hr.ImageDecoder(numbers.shape, channels=1)(tiff(numbers, photometric=photometric))
            for photometric in (1, 0)
        )
        assert (inverted == 255 - pixels).all()
    assert (decode_deep(tiff(DEPTHS, photometric=0))[..., 0] == DEPTHS).all()


def test_indices_of_a_gif_are_those_that_it_stores():
    with Image.open(io.BytesIO(encoded(mask(), "GIF"))) as stored:  # which sorts its palette
        assert (decode_mask(encoded(mask(), "GIF"))[..., 0] == np.asarray(stored)).all()


@DECODERS
@pytest.mark.parametrize("size", [(10, 20), (66, 100), (33, 7), (80, 61)])
def test_indices_are_never_blended(size, decoder):
    rows, columns = (
        (2 * np.arange(n) + 1) * side // (2 * n)
        for n, side in zip(size, CLASSES.shape, strict=True)
    )
    found = decode_mask(encoded(mask(), "PNG"), size, decoder=decoder)
    assert (found[..., 0] == CLASSES[np.ix_(rows, columns)]).all()


def test_a_mask_is_cropped_and_turned_as_its_image_is():
    options = {"exif_orientation": True, "crop_to_aspect_ratio": True}
    found = decode_mask(encoded(mask(), "PNG", exif=turned(6)), (40, 33), **options)
    assert (found[..., 0] == np.rot90(CLASSES, -1)[5:45]).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(Image.fromarray(CLASSES), "JPEG"), "it is a JPEG, which does not keep"),
        (encoded(mask().convert("RGB"), "PNG"), "it has no numbers of 8 bits.*'RGB'"),
        (encoded(mask().convert("RGB"), "WEBP", lossless=True), "it has no numbers of 8 bits"),
        (encoded(Image.fromarray(DEPTHS), "PNG"), "it has no numbers of 8 bits"),
    ],
    ids=["JPEG", "PNG of colours", "WebP", "PNG of 16 bits"],
)
def test_what_stores_no_indices_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        decode_mask(data)


def decode_deep(data, size=DEPTHS.shape, **options):
    return hr.ImageDecoder(size, channels=1, dtype="uint16", **options)(data)


def tiff(pixels, byte_order="<", sample_format=1, photometric=1, bits=None):
    """A TIFF of one channel, uncompressed."""
    data = pixels.astype(pixels.dtype.newbyteorder(byte_order)).tobytes()
    bits = bits or 8 * pixels.itemsize
    if bits < 8:
        data = packed(pixels, bits)
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1,
            278: height, 279: len(data), 339: sample_format}  # fmt: skip
    tags[273] = 14 + 12 * len(tags)
    head = {"<": b"II", ">": b"MM"}[byte_order] + struct.pack(byte_order + "HIH", 42, 8, len(tags))
    entries = [struct.pack(byte_order + "HHII", tag, 4, 1, value) for tag, value in tags.items()]
    return head + b"".join(entries) + bytes(4) + data


KINDS = {
    "PNG": encoded(Image.fromarray(DEPTHS), "PNG"),
    "TIFF": encoded(Image.fromarray(DEPTHS), "TIFF"),
    "TIFF, LZW": encoded(Image.fromarray(DEPTHS), "TIFF", compression="tiff_lzw"),
    "TIFF, big-endian": tiff(DEPTHS, ">"),
    "TIFF, little-endian": tiff(DEPTHS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bits_are_kept(kind):
    found = decode_deep(KINDS[kind])
    assert found.dtype == np.uint16
    assert (found[..., 0] == DEPTHS).all()
    eight = hr.ImageDecoder(DEPTHS.shape, channels=1)(KINDS[kind])
    assert (eight[..., 0] == DEPTHS >> 8).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF, big-endian"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(20, 30), (70, 20)])
def test_sixteen_bits_are_resized_exactly(kind, antialias, size):
    definition = triangle_filter if antialias else nearest_two
    expected = two_ways(definition, DEPTHS[..., None], size)
    assert np.abs(decode_deep(KINDS[kind], size, antialias=antialias) - expected).max() <= 1
    bicubic = decode_deep(KINDS[kind], size, interpolation="bicubic")
    assert bicubic.std() > 2**13  # what lies outside is not wrapped around
    nearest = decode_deep(KINDS[kind], (66, 100), interpolation="nearest")
    assert (nearest[..., 0] == DEPTHS.repeat(2, axis=0).repeat(2, axis=1)).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(Image.fromarray(CLASSES), "PNG"), "it is not of one channel of 16 bits"),
        (encoded(photograph(30, 20), "JPEG"), "it is not of one channel of 16 bits"),
        (tiff(DEPTHS.astype(np.uint32)), "signed numbers, fractions, or more than 16 bits"),
        (tiff(DEPTHS.astype(np.float32), "<", 3), "signed numbers, fractions, or more"),
        (tiff((DEPTHS // 2).astype(np.int16), "<", 2), "signed numbers, fractions, or more"),
    ],
    ids=["PNG of 8 bits", "JPEG", "32 bits", "float32", "signed"],
)
def test_what_has_no_sixteen_bits_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        decode_deep(data)


@pytest.mark.parametrize(
    "data",
    [tiff(DEPTHS.astype(np.float32), "<", 3), tiff(CLASSES.astype(np.int8) - 1, "<", 2)],
    ids=["float32", "int8"],
)
def test_numbers_outside_of_a_pixels_are_refused_as_colours_and_indices_too(data):
    with pytest.raises(FormatError, match="signed numbers, fractions"):
        hr.ImageDecoder(8)(data)
    with pytest.raises(FormatError, match=r"signed numbers|no numbers of 8 bits"):
        decode_mask(data)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiffs_are_what_pillow_reads(compression):
    options = {"compression": compression} if compression else {}
    for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4)):
        image = photograph(50, 40).convert(mode)
        found = hr.ImageDecoder((40, 50), channels=channels)(encoded(image, "TIFF", **options))
        assert (found.squeeze() == np.asarray(image)).all()


def test_tiffs_of_more_than_4_gib_are_tiffs():
    image = photograph(50, 40)
    found = hr.ImageDecoder((40, 50))(encoded(image, "TIFF", big_tiff=True))
    assert (found == np.asarray(image)).all()


def test_a_tiff_that_lacks_a_strip_is_refused():
    data = KINDS["TIFF, little-endian"]
    height = struct.pack("<HHII", 257, 4, 1, 33)
    rows = struct.pack("<HHII", 278, 4, 1, 33)
    assert height in data
    assert rows in data
    higher = data.replace(height, struct.pack("<HHII", 257, 4, 1, 34))
    with pytest.raises(FormatError, match="it has 1 strips or tiles of the 2 that it needs"):
        decode_deep(higher)
    with pytest.raises(FormatError, match="can't be decoded"):
        decode_deep(higher.replace(rows, struct.pack("<HHII", 278, 4, 1, 34)))


def test_tiffs_are_found_where_their_suffix_is_named(tmp_path):
    for name in ("a/1.tif", "a/2.TIFF", "b/3.tif", "b/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(KINDS["TIFF" if "t" in name.lower()[4:] else "PNG"])
    suffixes = [".tif", ".tiff"]
    assert hr.Images(tmp_path, size=4).ids == ["b/4.png"]
    images = hr.Images(tmp_path, size=DEPTHS.shape, suffixes=suffixes, channels=1, dtype="uint16")
    assert images.ids == ["a/1.tif", "a/2.TIFF", "b/3.tif"]
    assert (hr.Loader(images, 3, shuffle=False).batch(0, 0)[..., 0] == DEPTHS).all()
    assert hr.ImageFolder(tmp_path, 4, suffixes=suffixes).ids == images.ids
    with pytest.raises(ValueError, match="suffixes must be one or more such as"):
        hr.Images(tmp_path, size=4, suffixes=["tif"])
