"""Images decoded by simplejpeg and resized by OpenCV."""

import functools
import io
import pickle

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
pytest.importorskip("simplejpeg", reason="needs headrace[opencv]")
cv2 = pytest.importorskip("cv2", reason="needs headrace[opencv]")

from pictures import encoded, nearest_two, photograph, two_ways

import headrace as hr
from headrace.readers.images import opencv

SIZES = [(224, 224), (100, 333), (400, 700), (1, 1), (375, 20)]


def decode(data, size, **options):
    options = {"antialias": False, "decoder": "opencv"} | options
    return hr.ImageDecoder(size, **options)(data)


@functools.cache
def jpeg():
    return encoded(photograph(), "JPEG")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", SIZES)
def test_resizing_is_what_it_is_defined_to_be(kind, channels, size):
    data = encoded(photograph(), kind)
    image = Image.open(io.BytesIO(data)).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    pixels = np.asarray(image).reshape(375, 500, channels)
    expected = two_ways(nearest_two, pixels, size)
    found = decode(data, size, channels=channels)
    # Four channels, Pillow resizes, which rounds down.
    assert np.abs(found - expected).max() <= (2 if channels == 4 else 1.01)


@pytest.mark.parametrize("size", SIZES)
def test_its_vector_instructions_give_the_same_pixels(size):
    pixels = np.asarray(photograph())
    found = opencv.resized(pixels, size, "bilinear", antialias=False)
    cv2.setUseOptimized(False)
    try:
        plain = opencv.resized(pixels, size, "bilinear", antialias=False)
    finally:
        cv2.setUseOptimized(True)
    assert (found == plain).all()


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 1},
        {"layout": "CHW"},
        {"dtype": "float32"},
        {"crop_to_aspect_ratio": True},
        {"exif_orientation": True},
        {"jpeg_scaling": True},
        {"interpolation": "nearest"},
        {"interpolation": "nearest", "antialias": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(60, 40), (376, 496)])
def test_it_is_turbos_but_for_rounding(size, options):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photograph(496, 376), "JPEG", exif=exif)  # also in whole pixels if scaled
    expected = hr.ImageDecoder(size, **{"antialias": False, "decoder": "turbo"} | options)(data)
    assert np.abs(decode(data, size, **options) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (3, 200), (1, 1000)])
@pytest.mark.parametrize("size", [(8, 8), (1, 8), (32, 32)])
def test_pictures_of_few_pixels_have_one_also_where_they_are_scaled(shape, size):
    pixels = np.full((*shape, 3), 77, np.uint8)
    data = encoded(Image.fromarray(pixels), "JPEG")
    assert np.abs(decode(data, size, jpeg_scaling=True) - 77.0).max() <= 1


def test_it_is_resized_into_the_batch():
    out = np.zeros((3, 60, 80, 3), np.uint8)
    found = opencv.resized(np.asarray(photograph()), (60, 80), "bilinear", False, out[1])
    assert found.base is out
    assert out[1].any()
    assert not out[::2].any()
    decoder = hr.ImageDecoder((60, 80), antialias=False, decoder="opencv")
    decoder.decode_into(jpeg(), out[2])
    assert (out[2] == decoder(jpeg())).all()


@pytest.mark.parametrize("width", [1, 30_000, 70_000])
def test_very_wide_images(width):
    row = np.random.default_rng(0).integers(256, size=(2, width, 3), dtype=np.uint8)
    expected = two_ways(nearest_two, row, (4, 50))
    assert np.abs(decode(encoded(Image.fromarray(row), "PNG"), (4, 50)) - expected).max() <= 1.01


def test_the_state_says_that_it_resizes(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    kinds = [{"decoder": "opencv"}, {"decoder": "opencv", "fast_dct": True}, {"decoder": "turbo"}]
    options = {"size": 8, "antialias": False}
    readers = [hr.Images(tmp_path, **options, **kind) for kind in kinds]
    assert len({reader.fingerprint() for reader in readers}) == 3
    again = pickle.loads(pickle.dumps(readers[0]))
    hr.Loader(again, 1).load_state_dict(hr.Loader(readers[0], 1).state_dict())
    with pytest.raises(ValueError, match="the same samples"):
        hr.Loader(readers[2], 1).load_state_dict(hr.Loader(readers[0], 1).state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {"antialias": True},
        {"interpolation": "bicubic"},
        {"interpolation": "box", "antialias": True},
    ],
    ids=str,
)
def test_how_it_does_not_resize_is_refused(options):
    with pytest.raises(ValueError, match=r"resizes with .*'bilinear' and antialias=False.* Use"):
        decode(jpeg(), 8, **options)
    with pytest.raises(ValueError, match="decoder must be 'pillow' or 'turbo' for a crop"):
        hr.CenterCrop(8, decoder="opencv")
