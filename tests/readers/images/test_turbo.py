"""Images decoded by simplejpeg and resized by cykooz.resizer."""

import functools
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
simplejpeg = pytest.importorskip("simplejpeg", reason="needs headrace[turbo]")
pytest.importorskip("cykooz_resizer", reason="needs headrace[turbo]")

from one_file_each import OneFileEach
from pictures import encoded, nearest_two, photograph, triangle_filter, turned, two_ways

import headrace as hr
from headrace.readers.images import turbo
from headrace.readers.shared.format_error import FormatError


def decode(data, size, **options):
    return hr.ImageDecoder(size, decoder="turbo", **options)(data)


class TestContract(OneFileEach):
    """Of JPEGs at their own size: samples are what Pillow decodes."""

    dtypes = ("uint8",)
    shapes = ((4, 6, 3), (5, 2, 1))
    suffix = ".jpg"

    def make_samples(self, n, shape, dtype):
        shape = shape if len(shape) == 3 else (1, *shape, 3)
        made = np.random.default_rng(n).integers(256, size=(n, *shape), dtype=np.uint8)
        images = (Image.fromarray(row[..., 0] if shape[-1] == 1 else row) for row in made)
        self.files = [encoded(image, "JPEG", quality=95) for image in images]
        return np.stack([whole(file) for file in self.files]).reshape(made.shape).astype(dtype)

    def save(self, path, sample, index):
        path.write_bytes(self.files[index])

    def open(self, root, samples):
        _, height, width, channels = samples.shape
        return hr.Images(root, size=(height, width), channels=channels, decoder="turbo")


@functools.cache
def jpeg(**options):
    return encoded(photograph(), "JPEG", quality=90, **options)


@pytest.mark.parametrize("antialias", [True, False])
def test_large_images_are_resized_in_parts(antialias):
    image = photograph(1200, 900)
    assert 2 * turbo._PART_BYTES < 1200 * 900 * 3
    definition = triangle_filter if antialias else nearest_two
    expected = two_ways(definition, np.asarray(image), (100, 80))
    found = decode(encoded(image, "PNG"), (100, 80), antialias=antialias)
    assert np.abs(found - expected).max() <= 1.6  # which two roundings make


def whole(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("interpolation", "antialias"),
    [
        *((name, True) for name in ("box", "bilinear", "hamming", "bicubic", "lanczos")),
        ("bilinear", False),
        ("bicubic", False),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_is_pillows_but_for_rounding(interpolation, antialias, channels):
    options = {"interpolation": interpolation, "antialias": antialias, "channels": channels}
    clear = photograph().convert("RGBA")
    clear.putalpha(photograph().convert("L"))
    for data in (jpeg(), encoded(clear, "PNG")):
        size = (120, 150)
        expected = hr.ImageDecoder(size, **options)(data)
        # Without antialias, Pillow rounds down.
        most = 1 if antialias else 2
        assert np.abs(decode(data, size, **options) - expected.astype(int)).max() <= most


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channels": 1},
        {"crop_to_aspect_ratio": True},
        {"layout": "CHW", "dtype": "float32"},
        {"interpolation": "nearest"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("size", [(375, 500), (375, 300)])
def test_what_is_not_resized_is_what_pillow_decodes(kind, options, size):
    # Cropping (375, 500) to (375, 300) leaves nothing to resize.
    expected = hr.ImageDecoder(size, **options)(jpeg(**kind))
    differs = decode(jpeg(**kind), size, **options).astype(int) - expected
    resized = size != (375, 500) and not {"crop_to_aspect_ratio", "interpolation"} & options.keys()
    assert np.abs(differs).max() <= resized


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (20, 30)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, size):
    data = encoded(photograph(64, 48), "JPEG", exif=turned(orientation))
    for follow in (False, True):
        expected = hr.ImageDecoder(size, exif_orientation=follow)(data)
        found = decode(data, size, exif_orientation=follow)
        assert np.abs(found - expected.astype(int)).max() <= 1


def test_a_jpeg_of_the_samples_size_is_decoded_into_the_batch(monkeypatch):
    given = []

    def decode_jpeg(*args, buffer, **options):
        given.append(buffer)
        return real(*args, buffer=buffer, **options)

    real = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode_jpeg)
    out = np.empty((2, 375, 500, 3), np.uint8)
    decoder = hr.ImageDecoder((375, 500), decoder="turbo")
    decoder.decode_into(jpeg(), out[1])
    assert given[0].base is out
    assert (out[1] == whole(jpeg())).all()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("left", [0, 1, 3, 11, 30, 200, 0.3, 0.9, -14, -1])
def test_a_cut_file_is_the_error_that_pillow_gives(left, progressive):
    data = jpeg(progressive=progressive)
    cut = data[: int(len(data) * left)] if isinstance(left, float) else data[:left]
    said = []
    for decoder in ("pillow", "turbo"):
        with pytest.raises(FormatError) as caught:
            hr.ImageDecoder((8, 8), decoder=decoder)(cut)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_what_libjpeg_only_warns_of_is_decoded():
    data = jpeg()
    at = data.index(b"\xff\xda") + 1000
    noisy = data[:at] + b"\xff\xd7" + data[at:]  # a marker that should not be there
    with pytest.raises(ValueError, match="Corrupt JPEG data"):
        simplejpeg.decode_jpeg(noisy)
    assert (decode(noisy, (375, 500)) == hr.ImageDecoder((375, 500))(noisy)).all()


def test_damage_is_an_error_or_pixels():
    data = encoded(photograph(60, 40), "JPEG")
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(min(len(data), 700), size=rng.integers(1, 6)):
            damaged[at] = rng.integers(256)
        try:
            pixels = decode(bytes(damaged), (8, 8))
        except FormatError:
            with pytest.raises(FormatError):
                hr.ImageDecoder((8, 8))(bytes(damaged))
            continue
        assert pixels.shape == (8, 8, 3)


def test_threads_do_not_disturb_each_other():
    decoder = hr.ImageDecoder((50, 60), decoder="turbo")
    files = [encoded(photograph(300 + i, 200 + i), "JPEG") for i in range(8)]
    expected = [decoder(file) for file in files]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(decoder, files * 10), expected * 10, strict=True):
            assert (found == one).all()


def test_the_state_of_other_readers_says_what_decodes(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
    decoders = hr.ImageDecoder(8), hr.ImageDecoder(8, decoder="turbo"), lambda data: np.zeros(3)
    for make in (
        lambda decoder: hr.Files(tmp_path, decoder, suffixes=".jpg"),
        lambda decoder: hr.TarFiles(tmp_path, {"jpg": decoder}),
    ):
        plain, turbo, unknown = (make(decoder).fingerprint() for decoder in decoders)
        assert plain == unknown != turbo
