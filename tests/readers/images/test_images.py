"""Images in files, without and with a folder per class."""

import fractions
import functools
import io
import itertools
import pickle
import struct
import zlib

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")

from far_folder import FarFolder
from one_file_each import OneFileEach
from pictures import (
    DECODERS,
    INKS,
    cmyk_jpeg,
    encoded,
    nearest_two,
    needs_turbo,
    photograph,
    triangle_filter,
    turned,
    two_ways,
)

import headrace as hr
from headrace.readers.shared.format_error import FormatError
from headrace.storage.passed_over import PassedOverWarning
from headrace.testing import RaggedReaderContract

RED = (200, 30, 40)
INDICES = {"channels": "indices", "interpolation": "nearest"}


@functools.cache
def stored_photograph(kind):
    return encoded(photograph(), kind)


class TestContract(OneFileEach):
    dtypes = ("uint8", "float32")
    shapes = ((4, 6, 3), (5, 2, 1), (1, 1, 4))
    suffix = ".png"
    reader_of = staticmethod(hr.Images)

    def make_samples(self, n, shape, dtype):
        if len(shape) != 3:
            shape = (1, *shape, 3)
        samples = np.random.default_rng(n).integers(256, size=(n, *shape), dtype=np.uint8)
        if shape[-1] == 4:
            samples[..., 3] = 255
        return samples.astype(dtype)

    def save(self, path, sample, index):
        pixels = sample.astype(np.uint8)
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)

    def open(self, root, samples):
        _, height, width, channels = samples.shape
        options = {"size": (height, width), "channels": channels, "dtype": samples.dtype}
        return self.reader_of(root, **options)


class TestContractOfFolder(TestContract):
    reader_of = staticmethod(hr.ImageFolder)

    def sample_file(self, folder, index):
        return folder / ("first" if index < 4 else "second") / f"{index:04}.png"


class TestContractFarAway(TestContract):
    root = FarFolder


class TestContractEncoded(RaggedReaderContract):
    """Bytes of files, which need be no images before something decodes them."""

    dtypes = ("uint8",)
    elements = ((),)
    takes_any_bytes = True

    def make_reader(self, folder, samples):
        for index, sample in enumerate(samples):
            self.sample_file(folder, index).write_bytes(sample.tobytes())
        return hr.Images(folder, decode=False)

    def sample_file(self, folder, index):
        return folder / f"{index:04}.jpg"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, TypeError, "size must be an int, or .* Or pass decode=False"),
        ({"decode": False, "size": 8}, ValueError, "decode must be True with size, but False"),
        ({"decode": False, "channels": 1}, ValueError, "decode must be True with channels"),
        ({"decode": None}, TypeError, "decode must be True or False"),
    ],
    ids=str,
)
def test_size_and_options_are_for_what_decodes(tmp_path, options, error, said):
    (tmp_path / "a.png").touch()
    with pytest.raises(error, match=said):
        hr.Images(tmp_path, **options)


def decode(data, size=None, **options):
    size = size or Image.open(io.BytesIO(data)).size[::-1]
    return hr.ImageDecoder(size, **options)(data)


def filled(colour, mode="RGB"):
    return Image.new(mode, (64, 48), colour)


GREY = (77, 77, 77)
FULL_OF_RED = {
    "JPEG": (encoded(filled(RED), "JPEG", quality=95), RED),
    "progressive JPEG": (encoded(filled(RED), "JPEG", quality=95, progressive=True), RED),
    "greyscale JPEG": (encoded(filled(77, "L"), "JPEG"), GREY),
    "CMYK JPEG": (encoded(filled((0, 255, 255, 0), "CMYK"), "JPEG"), (255, 0, 0)),
    "PNG": (encoded(filled(RED), "PNG"), RED),
    "palette PNG": (encoded(filled(RED).quantize(4), "PNG"), RED),
    "palette PNG, some of it clear": (
        encoded(filled(RED).quantize(4), "PNG", transparency=b"\0\x80\xff"),
        RED,
    ),
    "PNG with a clear colour": (encoded(filled(RED), "PNG", transparency=RED), RED),
    "clear PNG": (encoded(filled((*RED, 0), "RGBA"), "PNG"), RED),
    "clear grey PNG": (encoded(filled((77, 0), "LA"), "PNG"), GREY),
    "PNG of one bit": (encoded(filled(1, "1"), "PNG"), (255, 255, 255)),
    "PNG of 16 bits": (
        encoded(Image.fromarray(np.full((48, 64), 0x5234, np.uint16)), "PNG"),
        (0x52, 0x52, 0x52),
    ),
    "WebP": (encoded(filled(RED), "WEBP", quality=95), RED),
    "lossless WebP": (encoded(filled(RED), "WEBP", lossless=True), RED),
    "GIF": (encoded(filled(RED), "GIF"), RED),
    "BMP": (encoded(filled(RED), "BMP"), RED),
}


@pytest.mark.parametrize("kind", FULL_OF_RED)
@pytest.mark.parametrize("options", [{}, {"antialias": False}, {"exif_orientation": True}], ids=str)
@pytest.mark.parametrize("size", [(48, 64), (20, 10), (96, 90)])
def test_every_kind_has_its_colour(kind, size, options):
    data, colour = FULL_OF_RED[kind]
    pixels = decode(data, size, **options)
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - colour).max() <= 3


def test_a_fourth_channel_is_the_opacity():
    clear = encoded(filled((*RED, 90), "RGBA"), "PNG")
    assert (decode(clear, channels=4) == (*RED, 90)).all()
    opaque, _ = FULL_OF_RED["PNG"]
    assert (decode(opaque, channels="rgba") == (*RED, 255)).all()
    palette, _ = FULL_OF_RED["palette PNG, some of it clear"]
    assert (decode(palette, channels=4)[..., 3] != 255).any()


@pytest.mark.fault("a JPEG of four inks (CMYK), also without Adobe's marker", "read", "images")
@pytest.mark.parametrize("with_marker", [True, False], ids=["Adobe", "no marker"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@DECODERS
def test_four_inks_are_the_colours_that_they_leave(with_marker, channels, decoder):
    data = cmyk_jpeg(INKS if with_marker else 255 - INKS, with_marker)
    light = (255.0 - INKS[..., :3]) * (255.0 - INKS[..., 3:]) / 255
    expected = {1: light @ [[0.299], [0.587], [0.114]], 3: light}
    expected[4] = np.concatenate([light, np.full_like(light[..., :1], 255)], axis=-1)
    found = decode(data, channels=channels, decoder=decoder)
    assert np.abs(found - expected[channels]).max() < 3  # which is what the compression loses


def test_grey_is_what_a_jpeg_stores_or_the_luma_of_the_colours():
    image = photograph()
    stored = decode(encoded(image, "JPEG"), channels="grayscale")
    assert stored.shape == (375, 500, 1)
    luma = np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG"))).convert("L"))
    assert np.abs(stored[..., 0].astype(int) - luma).max() <= 3
    assert (
        decode(encoded(image, "PNG"), channels=1)[..., 0] == np.asarray(image.convert("L"))
    ).all()


def test_layout_and_dtype():
    data = stored_photograph("PNG")
    pixels = decode(data, (20, 30))
    moved = decode(data, (20, 30), layout="CHW", dtype="float32")
    assert moved.dtype == np.float32
    assert (moved == pixels.transpose(2, 0, 1)).all()


@DECODERS
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(224, 224), (100, 333), (400, 700), (1, 1)])
@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_is_what_it_is_defined_to_be(size, antialias, kind, decoder):
    data = stored_photograph(kind)
    resize = triangle_filter if antialias else nearest_two
    expected = two_ways(resize, Image.open(io.BytesIO(data)), size)
    pixels = decode(data, size, antialias=antialias, decoder=decoder)
    assert np.abs(pixels - expected).max() <= 1.01


@DECODERS
def test_nearest_is_the_pixel_under_the_centre(decoder):
    pixels = np.arange(7 * 20, dtype=np.uint8).reshape(7, 20)
    data = encoded(Image.fromarray(pixels), "PNG")
    for height, width in itertools.product((1, 2, 3, 7, 14, 21, 25), (1, 5, 8, 20, 40, 70)):
        rows = [int(fractions.Fraction(2 * y + 1, 2) * 7 / height) for y in range(height)]
        columns = [int(fractions.Fraction(2 * x + 1, 2) * 20 / width) for x in range(width)]
        options = {"channels": 1, "interpolation": "nearest", "decoder": decoder}
        found = decode(data, (height, width), **options)
        assert (found[..., 0] == pixels[np.ix_(rows, columns)]).all()


@pytest.mark.parametrize("size", [(224, 224), (100, 300), (300, 100)])
def test_cropping_keeps_the_aspect_ratio(size):
    image = photograph()
    pixels = decode(encoded(image, "PNG"), size, crop_to_aspect_ratio=True)
    height, width = min(375, int(500 * size[0] / size[1])), min(500, int(375 * size[1] / size[0]))
    left, top = (500 - width) // 2, (375 - height) // 2
    cropped = image.crop((left, top, left + width, top + height))
    assert (pixels == decode(encoded(cropped, "PNG"), size)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_followed_if_asked_for(kind, orientation):
    image = Image.new("RGB", (64, 48), "black")
    image.paste((255, 255, 255), (0, 0, 24, 16))  # at the left of the top
    data = encoded(image, kind, exif=turned(orientation))
    pixels = decode(data, (48, 64))
    assert pixels[2, 2].min() > 240, "it is ignored, as Keras does"
    pixels = decode(data, (48, 64) if orientation < 5 else (64, 48), exif_orientation=True)
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0),
              5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[orientation]  # fmt: skip
    assert pixels[corner].min() > 240
    assert sum(pixels[y, x].min() > 240 for y in (0, -1) for x in (0, -1)) == 1


def test_odd_exif_data_are_no_damage():
    image = Image.new("RGB", (64, 48), "black")
    image.paste((255, 255, 255), (0, 0, 24, 16))  # at the left of the top
    exif = turned(6)
    exif[0x010F] = "Maker"
    data = encoded(image, "JPEG", exif=exif, quality=95)
    # The maker's name becomes that of a compression, a number, which Pillow then can't write again.
    odd = data.replace(b"\x01\x0f\0\2", b"\x01\x03\0\2")
    assert odd != data
    assert decode(odd, (64, 48), exif_orientation=True)[0, -1].min() > 240
    unreadable = encoded(image, "WEBP", exif=b"no EXIF data")
    assert decode(unreadable, (48, 64), exif_orientation=True)[0, 0].min() > 240


def test_without_antialias_each_channel_is_resized_by_itself():
    pixels = np.asarray(photograph().convert("RGBA")).copy()
    pixels[..., 3] = np.arange(375)[:, None] // 2
    data = encoded(Image.fromarray(pixels), "PNG")
    expected = two_ways(nearest_two, pixels, (100, 80))
    assert np.abs(decode(data, (100, 80), channels=4, antialias=False) - expected).max() <= 1.01


TURNED_AND_CROPPED = {"exif_orientation": True, "crop_to_aspect_ratio": True}


@functools.cache
def large_jpeg(orientation):
    """One whose sides are no multiples of 8, and that EXIF data turn."""
    return encoded(photograph(1201, 903), "JPEG", quality=95, exif=turned(orientation))


@DECODERS
@pytest.mark.parametrize(
    "options",
    [{}, TURNED_AND_CROPPED, {"crop_to_aspect_ratio": True}, {"channels": 1}],
    ids=str,
)
@pytest.mark.parametrize("size", [(224, 224), (100, 60), (30, 300), (1000, 1000)])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_scaling_while_decoding_differs_little(size, options, decoder, orientation):
    data = large_jpeg(orientation)
    full = decode(data, size, decoder=decoder, **options).astype(int)
    scaled = decode(data, size, jpeg_scaling=True, decoder=decoder, **options)
    assert scaled.shape == full.shape
    assert np.abs(scaled - full).mean() < 1
    assert (scaled == full).all() == (size == (1000, 1000))


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, "blue", "green")]
    for kind in ("GIF", "PNG", "WEBP"):
        more = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **more)
        assert (decode(data) == RED).all(), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("left", [0, 1, 3, 11, 30, 0.3, 0.9, -14, -1])
def test_a_file_that_was_cut_is_an_error(kind, left):
    data = stored_photograph(kind)
    cut = data[: int(len(data) * left)] if isinstance(left, float) else data[:left]
    if kind == "GIF" and left == -1:
        return  # its last byte is a mark that no decoder asks for; the pixels are whole
    with pytest.raises(FormatError):
        decode(cut, (8, 8))


@pytest.mark.parametrize("place", range(1, 40))
def test_a_flipped_byte_in_a_png_is_an_error_or_changes_nothing(place):
    data = stored_photograph("PNG")
    expected = decode(data)
    at = len(data) * place // 40 - 1
    damaged = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
    try:
        pixels = decode(damaged, (375, 500))
    except FormatError:
        return
    assert (pixels == expected).all()


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA", "P", "1"])
def test_a_flipped_bit_in_the_pixels_of_a_png_is_an_error(mode):
    data = encoded(photograph(30, 20).convert(mode), "PNG")
    begin, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    for at in range(begin, end):
        damaged = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(FormatError):
            decode(damaged, (20, 30))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_never_raises_anything_else(kind):
    data = encoded(photograph(60, 40), kind)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(min(len(data), 400), size=rng.integers(1, 6)):
            damaged[at] = rng.integers(256)
        try:
            pixels = decode(bytes(damaged), (8, 8))
        except FormatError:
            continue
        assert pixels.shape == (8, 8, 3)


@DECODERS
def test_a_jpeg_of_very_many_scans_is_refused(decoder):
    data = encoded(photograph(), "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(FormatError, match="it has 501 scans; at most 500 are decoded"):
        decode(data[:-2] + last * (501 - scans) + data[-2:], (8, 8), decoder=decoder)


def png_of(width, height):
    """A PNG that claims a size."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


@DECODERS
def test_an_image_that_claims_to_be_huge_is_refused(decoder):
    with pytest.raises(FormatError, match=r"it has 60000 x 60000 pixels.*max_pixels"):
        decode(png_of(60000, 60000), (8, 8), decoder=decoder)
    with pytest.raises(FormatError, match="it has 500 x 375 pixels; at most 100000"):
        decode(stored_photograph("JPEG"), (8, 8), max_pixels=100_000, decoder=decoder)


def test_what_a_file_is_called_does_not_matter(tmp_path):
    for name, kind in {"a.jpg": "PNG", "b.png": "JPEG", "c.gif": "WEBP", "d.bmp": "TIFF"}.items():
        (tmp_path / name).write_bytes(encoded(photograph(12, 10), kind))
        expected = decode(encoded(photograph(12, 10), kind))
        found = hr.Loader(hr.Images(tmp_path, [name], size=(10, 12)), 1).batch(0, 0)
        assert (found == expected).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"<svg>", "it begins with b'<svg>', as no JPEG"),
        (b"II*\0" + bytes(100), "it can't be decoded"),
        (b"RIFF....WAVE" + bytes(100), "it can't be decoded"),
    ],
)
def test_what_is_no_image_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        decode(data, (8, 8))


def test_images_are_found_below_the_root(tmp_path):
    for name in ("b/1.JPG", "a/c/2.png", "3.webp", ".hidden.png", "4.txt", "10.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", (4, 4)), "PNG"))
    images = hr.Images(tmp_path, size=(2, 3))
    assert images.ids == ["10.jpeg", "3.webp", "a/c/2.png", "b/1.JPG"]
    assert hr.Images(FarFolder(tmp_path), size=2).ids == images.ids
    chosen = hr.Images(tmp_path, ["b/1.JPG", "3.webp"], size=(2, 3))
    assert chosen.ids == ["b/1.JPG", "3.webp"]
    assert chosen.fingerprint() != images.fingerprint()
    assert "n=2" in repr(chosen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be an int from 1"),
        ({"size": (1, 2, 3)}, r"size must be an int, or a tuple of two ints, \(height, width\)"),
        ({"size": "8"}, "size must be an int, or a tuple"),
        ({"channels": 2}, "channels must be 1, 3, 4, 'grayscale', 'rgb', 'rgba' or 'indices', bu"),
        ({"channels": "bgr"}, "channels must be 1, 3, 4"),
        ({"channels": True}, "channels must be 1, 3, 4"),
        ({"channels": [3]}, "channels must be 1, 3, 4"),
        ({"channels": "indices"}, "interpolation must be 'nearest' with channels='indices'"),
        (INDICES | {"dtype": "uint16"}, "channels must be 1 with dtype='uint16'"),
        ({"layout": "NCHW"}, "layout must be 'HWC' or 'CHW'"),
        ({"dtype": "float64"}, "dtype must be 'uint8', 'uint16' or 'float32'"),
        ({"dtype": "uint16"}, "channels must be 1 with dtype='uint16', but 3"),
        ({"interpolation": "area"}, "interpolation must be one of nearest, box"),
        ({"interpolation": "lanczos", "antialias": False}, "antialias must be True with"),
        ({"max_pixels": 0}, "max_pixels must be"),
        ({"crop_to_aspect_ratio": 1}, "crop_to_aspect_ratio must be True or False"),
        ({"decoder": "cv2"}, "decoder must be 'pillow', 'turbo' or 'opencv', but 'cv2'"),
        ({"decoder": None}, "decoder must be 'pillow', 'turbo' or 'opencv'"),
        ({"fast_dct": True}, "fast_dct must be False with decoder='pillow'"),
        pytest.param(
            {"decoder": "turbo", "fast_dct": 1}, "fast_dct must be True or False", marks=needs_turbo
        ),
    ],
    ids=str,
)
def test_arguments_are_checked(tmp_path, options, message):
    error = TypeError if "True or False" in message else ValueError
    with pytest.raises(error, match=message):
        hr.Images(tmp_path, ["a.png"], **{"size": 8} | options)


@pytest.mark.fault("a folder `__MACOSX` beside those of classes", "passed over", "images")
@pytest.mark.parametrize("storage", [lambda folder: folder, FarFolder], ids=["near", "far"])
def test_bookkeeping_is_no_class_and_no_image(classes, storage):
    (classes / "cat" / "more").mkdir()
    Image.new("L", (6, 6), 104).save(classes / "cat" / "more" / "0.png")
    sorted_before = hr.ImageFolder(classes, 6).ids
    assert len(sorted_before) == 13
    for name in ("__MACOSX/cat/._0.png", ".thumbnails/0.png", "cat/.ipynb_checkpoints/0.png"):
        (classes / name).parent.mkdir(parents=True)
        (classes / name).write_bytes(b"no image")
    (classes / "cat" / "._0.png").write_bytes(b"no image")
    images = hr.ImageFolder(storage(classes), 6)
    assert images.class_names == ["ant", "cat", "dog"]
    assert images.ids == sorted_before
    assert type(hr.open(classes)) is hr.ImageFolder
    (classes / "_noise").mkdir()
    for name in ("_noise/1.png", "dog/_1.png"):
        Image.new("L", (6, 6), 250).save(classes / name)
    with pytest.warns(PassedOverWarning, match=r"2 files .* '_noise/1.png', are .*class_names="):
        images = hr.ImageFolder(storage(classes), 6)
    assert images.ids == sorted_before
    named = hr.ImageFolder(storage(classes), 6, class_names=["_noise", "dog"])
    assert named.ids == ["_noise/1.png", "dog/0.png", "dog/1.png"]


def test_a_root_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"root must contain \.bmp.* files, but .* has none"):
        hr.Images(tmp_path, size=8)
    said = (
        r"root must contain images .* in a folder for each class, but .* has none: it has 1 \.png"
    )
    (tmp_path / "loose.png").touch()
    with pytest.raises(ValueError, match=said):
        hr.ImageFolder(tmp_path, 8)


@pytest.fixture
def classes(tmp_path):
    """Three classes of 4, 6 and 2 images, each of one colour."""
    for name, count in (("cat", 4), ("ant", 6), ("dog", 2)):
        (tmp_path / name).mkdir()
        for index in range(count):
            colour = ("ant", "cat", "dog").index(name) * 100
            Image.new("L", (6, 6), colour + index).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_labels_go_with_the_images(classes):
    images = hr.ImageFolder(classes, 4, channels=1)
    assert images.class_names == ["ant", "cat", "dog"]
    loader = hr.Loader((images, images.labels()), batch_size=4, seed=3)
    for x, y in loader:
        assert y.dtype == np.int32
        assert (x[:, 0, 0, 0] // 100 == y).all()
    one_hot = images.labels("categorical")
    x, y = hr.Loader((images, one_hot), batch_size=12, shuffle=False).batch(0, 0)
    assert y.dtype == np.float32
    assert (y.argmax(axis=1) == [0] * 6 + [1] * 4 + [2] * 2).all()
    assert y.sum() == 12
    two = hr.ImageFolder(classes, 4, class_names=["dog", "ant"])
    assert two.class_names == ["dog", "ant"]
    y = hr.Loader(two.labels("binary"), batch_size=8, shuffle=False).batch(0, 0)
    assert y.tolist() == [[0.0]] * 2 + [[1.0]] * 6
    with pytest.raises(ValueError, match="'binary' was given, which is for two"):
        images.labels("binary")
    with pytest.raises(ValueError, match="mode must be"):
        images.labels("one-hot")


def test_the_subsets_have_all_files_between_them(classes):
    def subset(name, **options):
        return hr.ImageFolder(classes, 4, validation_split=0.25, subset=name, **options)

    train, validation = subset("training", seed=5), subset("validation", seed=5)
    assert (len(train), len(validation)) == (9, 3)
    assert sorted(train.ids + validation.ids) == hr.ImageFolder(classes, 4).ids
    assert subset("validation", seed=6).ids != validation.ids
    assert subset("validation", shuffle=False).ids == ["cat/3.png", "dog/0.png", "dog/1.png"]
    assert pickle.loads(pickle.dumps(train)).ids == train.ids


def test_the_part_of_an_image_is_that_of_its_name_and_stays_when_others_come(classes):
    shares = {"train": 0.5, "test": 0.3, "more": 0.2}

    def part(name, **options):
        return hr.ImageFolder(classes, 4, channels=1, split=(name, shares), **options)

    ids = hr.ImageFolder(classes, 4).ids
    before = {name: part(name).ids for name in shares}
    expected = hr.split(12, shares, ids=ids)
    assert before == {name: [ids[i] for i in indices] for name, indices in expected.items()}
    assert part("test", seed=1).ids != before["test"]
    for x, y in hr.Loader((part("train"), part("train").labels()), batch_size=1):
        assert (x[:, 0, 0, 0] // 100 == y).all()
    for index in range(20, 40):
        Image.new("L", (6, 6)).save(classes / "dog" / f"{index}.png")
    for name in shares:
        assert [one for one in part(name).ids if one in ids] == before[name]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"validation_split": 0.2},
            ValueError,
            "validation_split and subset must be given together",
        ),
        ({"subset": "training"}, ValueError, "validation_split and subset must be given together"),
        ({"validation_split": 1.2, "subset": "training"}, ValueError, "a number between 0 and 1"),
        ({"validation_split": "0.2"}, TypeError, "a number between 0 and 1"),
        ({"subset": "both"}, ValueError, "subset must be 'training' or 'validation'"),
        ({"validation_split": 0.2, "subset": "training"}, ValueError, "the same seed for both"),
        (
            {"validation_split": 0.01, "subset": "training", "seed": 1},
            ValueError,
            "must leave images for both subsets, but 0.01 of 12 are 0",
        ),
        ({"seed": -1}, ValueError, "seed must be an int from 0"),
        ({"split": "train"}, ValueError, "split must be a part and the shares of all"),
        ({"split": ("x", {"a": 1})}, ValueError, "split must be one of 'a', but 'x'"),
        ({"split": ("a", {"a": 2})}, ValueError, "shares must be numbers above 0"),
        (
            {"split": ("a", {"a": 1e-9, "b": 1 - 1e-9})},
            ValueError,
            "split must leave images for 'a'",
        ),
        (
            {"split": ("a", {"a": 1}), "validation_split": 0.2, "subset": "training", "seed": 1},
            ValueError,
            "validation_split must be left out with split",
        ),
        ({"class_names": ["cat", "cow"]}, ValueError, r"class_names must be .*'ant', 'cat', 'dog'"),
        ({"class_names": ["cat", "cat"]}, ValueError, "class_names must be different ones"),
        ({"class_names": "cat"}, TypeError, "class_names"),
        ({"suffixes": ["png"]}, ValueError, "suffixes must be one or more such as '.png'"),
    ],
    ids=str,
)
def test_arguments_of_a_folder_are_checked(classes, options, error, message):
    with pytest.raises(error, match=message):
        hr.ImageFolder(classes, 4, **options)
