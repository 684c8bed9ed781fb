"""Crops: what they draw, their pixels, and what they refuse."""

import io
import pathlib

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")

from pictures import DECODERS, encoded, photograph, turned
from PIL import ImageOps
from torchvision_crops import SIZES

import headrace as hr

DRAWN = pathlib.Path(__file__).parents[2] / "data" / "crops" / "torchvision-0.28.0.npz"
# How far the distributions of samples are apart, times the root of their number: a right one is
# beyond with a probability of 0.001. All seeds are fixed, so that this is so always or never.
BOUND = 1.95


def as_sample(data):
    return np.frombuffer(data, np.uint8)


def regions(crop, height, width, n=2000):
    rng = np.random.default_rng(0)
    return [crop.region(crop.draw(rng), height, width) for _ in range(n)]


def distance(values, uniform=None, others=None):
    """The statistic of Kolmogorov and Smirnov, so that BOUND is its bound."""
    if others is None:
        expected = (np.sort(values) - uniform[0]) / (uniform[1] - uniform[0])
        steps = np.arange(len(values) + 1) / len(values)
        apart = max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
        return apart * np.sqrt(len(values))
    both = np.concatenate([values, others])
    shares = [
        np.searchsorted(np.sort(each), both, "right") / len(each) for each in (values, others)
    ]
    return np.abs(shares[0] - shares[1]).max() * np.sqrt(len(values) / 2)


def test_area_ratio_and_place_are_uniform_where_every_crop_fits():
    height, width = 2000, 3000
    crop = hr.RandomResizedCrop(9, scale=(0.1, 0.4), ratio=(0.5, 2), flip=0.25)
    drawn = regions(crop, height, width)
    left, top, right, bottom = np.array([region.box for region in drawn]).T
    wide, tall = right - left, bottom - top
    assert distance(wide * tall / (height * width), (0.1, 0.4)) < BOUND
    assert distance(np.log(wide / tall), (np.log(0.5), np.log(2))) < BOUND
    assert distance((left + 0.5) / (width - wide + 1), (0, 1)) < BOUND
    assert distance((top + 0.5) / (height - tall + 1), (0, 1)) < BOUND
    flips = np.array([region.flipped for region in drawn])
    assert abs(flips.mean() - 0.25) < 3.3 * np.sqrt(0.25 * 0.75 / len(flips))
    # What they would be with other distributions: the test can tell.
    assert distance((wide / width) ** 2, (0.1, 0.4)) > BOUND
    assert distance(wide / tall, (0.5, 2)) > BOUND


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_crops_are_distributed_as_those_of_torchvision(number):
    with np.load(DRAWN, allow_pickle=False) as file:
        top, left, tall, wide = file["crops"][number].T.astype(int)
    drawn = np.array([region.box for region in regions(hr.RandomResizedCrop(9), *SIZES[number])]).T
    ours = drawn[1], drawn[0], drawn[3] - drawn[1], drawn[2] - drawn[0]
    theirs = top, left, tall, wide
    for values, others in zip(
        [*ours, ours[2] * ours[3], ours[3] / ours[2]],
        [*theirs, tall * wide, wide / tall],
        strict=True,
    ):
        assert distance(values, others=others) < BOUND


def test_the_numbers_that_are_drawn_keep_their_meaning():
    # Whoever resumes a run with a later version must get the same crops.
    for crop, n in (
        (hr.RandomResizedCrop(9), 23),
        (hr.RandomCrop(9), 3),
        (hr.CenterCrop(9), 0),
    ):
        rng, same = np.random.default_rng(5), np.random.default_rng(5)
        assert crop.draw(rng).tolist() == same.random(n).tolist()
        assert rng.random() == same.random()
    tries = np.zeros((10, 2))
    tries[0] = 0.5, 0.999  # of half the area, but too wide
    tries[1] = 0, 0
    crop = hr.RandomResizedCrop(8, scale=(0.25, 0.75), ratio=(1, 9), flip=0.5)
    for flip in (0.49, 0.5):
        found = crop.region(np.array([*tries.ravel(), 0.5, 0.999, flip]), 100, 100)
        assert found == ((50, 25, 100, 75), (8, 8), (0, 0, 8, 8), flip < 0.5)
    tries[:] = 0.5, 0.999
    middle = crop.region(np.array([*tries.ravel(), 0.9, 0.9, 0.9]), 1000, 100)
    assert middle.box == (0, 450, 100, 550)
    found = hr.RandomCrop((8, 9), padding=2, flip=1).region(np.array([0.5, 0.99, 0.99]), 10, 10)
    assert found.window == (3, 1, 12, 9)
    assert found.flipped


def picture(mode="RGB", **options):
    """A photograph as the bytes of a file, as Pillow decodes it, and as pixels."""
    data = encoded(photograph().convert(mode), "JPEG", quality=90, **options)
    image = Image.open(io.BytesIO(data))
    return as_sample(data), image, np.asarray(image).reshape(375, 500, -1)


@DECODERS
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channels": 1},
        {"interpolation": "bicubic"},
        {"antialias": False},
        {"layout": "CHW", "dtype": "float32"},
    ],
    ids=str,
)
def test_pixels_are_those_of_a_crop_that_is_resized(decoder, options):
    sample, image, pixels = picture("L" if "channels" in options else "RGB")
    crop = hr.RandomResizedCrop(
        (120, 180), flip=0.5, decoder=decoder, jpeg_scaling=False, **options
    )
    whole = {**options, "layout": "HWC", "dtype": "uint8"}
    for seed in range(6):
        drawn = crop.draw(np.random.default_rng(seed))
        region = crop.region(drawn, 375, 500)
        lossless = encoded(image.crop(region.box), "PNG")
        expected = hr.ImageDecoder((120, 180), **whole)(lossless).astype(int)
        if region.flipped:
            expected = expected[:, ::-1]
        if options.get("layout") == "CHW":
            expected = expected.transpose(2, 0, 1)
        # Pillow's own, but for rounding: by 1, or 2 where Pillow rounds down.
        most = 0 if decoder == "pillow" else 2 if options.get("antialias") is False else 1
        for given in (sample, pixels):
            found = crop.apply(given, drawn)
            assert (found.shape, found.dtype) == (crop.spec.shape, crop.spec.dtype)
            assert np.abs(found - expected).max() <= most


@DECODERS
@pytest.mark.parametrize("size", [(375, 500), (500, 375), (375, 376)])
def test_the_middle_is_that_of_the_resized_picture(decoder, size):
    pixels = np.asarray(photograph().resize(size[::-1]))
    short = min(size)
    resized = Image.fromarray(pixels).resize(
        (size[1] * 256 // short, size[0] * 256 // short), Image.Resampling.BILINEAR
    )
    left, top = round((resized.width - 224) / 2), round((resized.height - 200) / 2)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 200))).astype(int)
    crop = hr.CenterCrop((200, 224), short_side=256, decoder=decoder)
    data = encoded(Image.fromarray(pixels), "PNG")
    for given in (pixels, as_sample(data)):
        assert np.abs(crop(given) - expected).max() <= 1
    top, left = round((size[0] - 200) / 2), round((size[1] - 224) / 2)
    plain = hr.CenterCrop((200, 224), decoder=decoder)(pixels)
    assert (plain == pixels[top : top + 200, left : left + 224]).all()


@DECODERS
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_jpeg_is_decoded_smaller_where_that_is_enough(decoder, orientation):
    data = encoded(photograph(1201, 903), "JPEG", quality=90, exif=turned(orientation))
    sample = as_sample(data)
    options = {"exif_orientation": True, "decoder": decoder}
    decoded = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(sample.tobytes()))))
    full = {"jpeg_scaling": False, **options}
    for make in (
        lambda size, **options: hr.RandomResizedCrop(size, **options),
        lambda size, **options: hr.CenterCrop(size, 2 * size, **options),
    ):
        for size, differs in ((50, True), (880, False)):
            small, large = make(size, **options), make(size, **full)
            for seed in range(2):
                drawn = small.draw(np.random.default_rng(seed))
                expected = large.apply(sample, drawn).astype(int)
                assert (expected == large.apply(decoded, drawn)).all()
                apart = np.abs(small.apply(sample, drawn) - expected)
                assert apart.mean() < 1.5
                assert apart.any() or not differs
                assert differs or not apart.any()


def test_a_mask_gets_the_crop_of_its_picture():
    rng = np.random.default_rng(0)
    classes = rng.integers(5, size=(40, 60), dtype=np.uint8)
    mask = Image.fromarray(classes)
    mask.putpalette([0, 0, 0, 9, 9, 9, 0, 50, 0, 7, 8, 9, 1, 1, 1])
    mask_sample = as_sample(encoded(mask, "PNG"))
    pixels = np.repeat(classes[..., None] * 20, 3, axis=2)
    options = {"scale": (0.1, 0.9), "flip": 0.5, "interpolation": "nearest"}
    crop = hr.RandomResizedCrop((30, 50), **options)
    of_mask = hr.RandomResizedCrop((30, 50), **options, channels="indices")
    for seed in range(20):
        drawn = crop.draw(np.random.default_rng(seed))
        region = crop.region(drawn, 40, 60)
        left, top, right, bottom = region.box
        rows = top + (2 * np.arange(30) + 1) * (bottom - top) // 60
        columns = left + (2 * np.arange(50) + 1) * (right - left) // 100
        expected = classes[rows[:, None], columns][:, :: -1 if region.flipped else 1, None]
        assert (of_mask.apply(mask_sample, drawn) == expected).all()
        assert (crop.apply(pixels, drawn) == 20 * expected).all()
    middle = hr.CenterCrop(30, 60, channels="indices", interpolation="nearest")
    assert (middle(mask_sample) == middle(classes[..., None])).all()
    rows, columns = (2 * np.arange(15, 45) + 1) * 40 // 120, (2 * np.arange(30, 60) + 1) * 40 // 120
    assert (middle(mask_sample)[..., 0] == classes[rows[:, None], columns]).all()


@DECODERS
def test_a_random_crop_is_one_of_the_padded_picture(decoder):
    sample, _, pixels = picture()
    crop = hr.RandomCrop((370, 505), padding=4, flip=0.5, decoder=decoder)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)))
    seen = set()
    for seed in range(20):
        drawn = crop.draw(np.random.default_rng(seed))
        region = crop.region(drawn, 375, 500)
        left, top = region.window[0] + 4, region.window[1] + 4
        seen.add((left, top, region.flipped))
        expected = padded[top : top + 370, left : left + 505][:, :: -1 if region.flipped else 1]
        assert (crop.apply(sample, drawn) == expected).all()
        assert (crop.apply(pixels, drawn) == expected).all()
    assert {left for left, *_ in seen} == set(range(4))
    assert len(seen) > 15


@DECODERS
def test_a_random_crop_may_have_nothing_of_the_picture(decoder):
    pixels = np.full((6, 7, 3), 9, np.uint8)
    sample = as_sample(encoded(Image.fromarray(pixels), "JPEG", quality=95))
    padded = np.pad(pixels, ((20, 20), (20, 20), (0, 0)))
    crop, empty = hr.RandomCrop(4, padding=20, decoder=decoder), 0
    for seed in range(40):
        drawn = crop.draw(np.random.default_rng(seed))
        left, top = (side + 20 for side in crop.region(drawn, 6, 7).window[:2])
        expected = padded[top : top + 4, left : left + 4]
        empty += not expected.any()
        for given in (sample, pixels):
            assert np.abs(crop.apply(given, drawn) - expected.astype(int)).max() <= 1
    assert 0 < empty < 40


def test_a_picture_that_cannot_be_decoded_is_a_bad_sample(tmp_path):
    data = picture()[0].tobytes()
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(data[: 9000 if number == 2 else None])
    loader = hr.Loader(
        hr.Images(tmp_path, decode=False),
        batch_size=2,
        transform=hr.per_sample(hr.RandomResizedCrop(8)),
        on_error="replace",
        max_bad_samples=1,
    )
    said = r"can't be decoded: .* \(sample 2\), which is '2.jpg'\. Sample "
    with pytest.warns(hr.BadSampleWarning, match=said):
        assert sum(len(batch) for batch in loader) == 4
    assert [bad.index for bad in loader.bad_samples] == [2]


BOMB = encoded(Image.new("L", (3000, 3000)), "PNG")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"no image", "as no JPEG"),
        (BOMB, "it has 3000 x 3000 pixels; at most 1000000"),
        (picture()[0].tobytes()[:9000], "truncated"),
        (BOMB[:-200], "cut short|checksum|pixels"),
    ],
    ids=["empty", "no image", "bomb", "cut JPEG", "cut PNG"],
)
@DECODERS
def test_what_cannot_be_decoded_is_an_error(data, said, decoder):
    for crop in (
        hr.RandomResizedCrop(8, max_pixels=10**6, decoder=decoder),
        hr.CenterCrop(8, max_pixels=10**6, decoder=decoder),
    ):
        with pytest.raises(hr.SampleFormatError, match=said):
            crop(as_sample(data), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: hr.RandomResizedCrop(0), ValueError, "size must be an int from 1"),
        (lambda: hr.RandomResizedCrop(8, (0.5, 1.5)), ValueError, "scale must be at most 1"),
        (lambda: hr.RandomResizedCrop(8, (0, 1)), ValueError, "scale must be two numbers above 0"),
        (lambda: hr.RandomResizedCrop(8, ratio=2), TypeError, "ratio must be a tuple of two"),
        (lambda: hr.RandomResizedCrop(8, ratio=(2, 1)), ValueError, "ratio must be two numbers"),
        (lambda: hr.RandomResizedCrop(8, flip=True), TypeError, "flip must be a number from 0 to"),
        (lambda: hr.RandomCrop(8, flip=1.5), ValueError, "flip must be a number from 0 to 1"),
        (lambda: hr.RandomCrop(8, -1), ValueError, "padding must be an int from 0"),
        (lambda: hr.CenterCrop(8, 7), ValueError, "short_side must be at least 8"),
        (lambda: hr.CenterCrop(8, crop_to_aspect_ratio=True), TypeError, "must be left out"),
        (lambda: hr.CenterCrop(8, antialias="no"), TypeError, "antialias must be True or False"),
    ],
)
def test_arguments_are_checked(make, error, said):
    with pytest.raises(error, match=said):
        make()


@pytest.mark.parametrize(
    ("sample", "error", "said"),
    [
        (np.zeros((9, 9, 1), np.uint8), ValueError, "Pass channels= as the pictures have them"),
        (np.zeros((9, 9, 3), np.float32), ValueError, r"\(height, width, 3\) and dtype uint8"),
        (np.zeros((9, 9), np.uint8), ValueError, "sample must be the bytes of an image file"),
        (np.zeros((9, 0, 3), np.uint8), ValueError, r"an array of shape \(9, 0, 3\)"),
        (np.zeros((7, 9, 3), np.uint8), ValueError, r"one is of \(7, 9\). Pass"),
        (b"bytes", TypeError, r"sample must be one picture .*x, y = sample"),
    ],
    ids=["channels", "dtype", "axes", "empty", "small", "bytes"],
)
@pytest.mark.parametrize("make", [hr.RandomCrop, hr.CenterCrop])
def test_samples_are_checked(make, sample, error, said):
    with pytest.raises(error, match=said):
        make(8)(sample, np.random.default_rng(0))
