"""ImageFolder takes the files, labels and splits that Keras' image_dataset_from_directory takes."""

import os

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
pytest.importorskip("tensorflow", reason="Keras reads images with TensorFlow")

import keras
from pictures import INKS, cmyk_jpeg, encoded

import headrace as hr

NAMES = (
    "b/10.png", "b/9.jpg", "b/more/1.png", "b/more-of-it/1.png", "b/more.png", "b/UPPER.JPG",
    "b/deep/er/2.jpeg", "a/x.bmp", "a/é.png", "a/note.txt", "c d/1.gif", "c d/2.jpeg.png",
    ".dotted/1.png", "loose.png",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images each in a grey of its own, and what is to be passed over."""
    root = tmp_path_factory.mktemp("images")
    for number, name in enumerate([*NAMES, *(f"a/many/{i}.png" for i in range(40))]):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 7), 4 * number).convert("RGB").save(file, file_format(name))
    (root / "empty").mkdir()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for grey in (240, 245, 250):
        (elsewhere / f"{grey}").mkdir()
        Image.new("L", (5, 7), grey).save(elsewhere / f"{grey}" / "linked.png")
    os.symlink(elsewhere / "240", root / "b" / "link")
    os.symlink(elsewhere / "245", root / "linked-class")
    os.symlink(elsewhere / "250" / "linked.png", root / "a" / "link.png")
    return root


def file_format(name):
    """What Pillow calls the format of a file of that name; text is made of anything."""
    suffix = name.rpartition(".")[2].lower()
    return {"jpg": "JPEG", "txt": "PNG"}.get(suffix, suffix.upper())


def of_keras(root, **options):
    dataset = keras.utils.image_dataset_from_directory(
        root, image_size=(7, 5), batch_size=None, verbose=False, data_format="channels_last",
        **options,
    )  # fmt: skip
    labels = {}
    for image, label in dataset:
        labels[round(float(np.mean(image)))] = np.asarray(label).tolist()
    paths = [os.path.relpath(path, root).replace(os.sep, "/") for path in dataset.file_paths]
    return dataset.class_names, paths, labels


def of_headrace(root, mode="int", **options):
    images = hr.ImageFolder(root, (7, 5), **options)
    loader = hr.Loader(
        (images, images.labels(mode)), batch_size=len(images), shuffle=False, executor=hr.Inline()
    )
    pictures, labels = loader.batch(0, 0)
    by_grey = {
        round(float(np.mean(image))): label.tolist()
        for image, label in zip(pictures, labels, strict=True)
    }
    return images.class_names, images.ids, by_grey


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"shuffle": True, "seed": 0},
        {"seed": 1337},
        {"seed": 123, "validation_split": 0.2, "subset": "training"},
        {"seed": 123, "validation_split": 0.2, "subset": "validation"},
        {"seed": 2**32 - 1, "validation_split": 0.29, "subset": "validation"},
        {"shuffle": False, "validation_split": 0.3, "subset": "training"},
        {"shuffle": False, "validation_split": 0.3, "subset": "validation"},
        {"seed": 5, "class_names": ["c d", "a"]},
        {"shuffle": False, "follow_links": True},
    ],
    ids=str,
)
def test_files_labels_and_class_names_agree(root, options):
    assert of_headrace(root, **options) == of_keras(root, **options)


def test_one_hot_and_binary_labels_agree(root):
    options = {"shuffle": False, "class_names": ["a", "b"]}
    for mode in ("categorical", "binary"):
        assert of_headrace(root, mode, **options) == of_keras(root, label_mode=mode, **options)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures with soft shapes, without loss below "png", also of transparency below "clear", and
    below "jpg"."""
    root = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:150, :200] / 15
    for kind, suffix, channels in (("png", "png", 3), ("clear", "png", 4), ("jpg", "jpg", 3)):
        (root / kind / "class").mkdir(parents=True)
        for number in range(3):
            waves = [np.sin(x + number) * np.cos(y * k) for k in range(1, channels + 1)]
            pixels = (128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
            Image.fromarray(pixels).save(root / kind / "class" / f"{number}.{suffix}")
    return root


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, 1.01),  # as Keras does not round
        ({"crop_to_aspect_ratio": True}, 1.01),
        ({"interpolation": "nearest"}, 0),
        ({"interpolation": "bicubic"}, 4),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("kind", "channels", "decoded"),
    [("png", "rgb", 0), ("png", "rgba", 0), ("png", "grayscale", 1), ("clear", "rgba", 0),
     ("clear", "rgb", 0), ("jpg", "rgb", 8), ("jpg", "grayscale", 4)],
)  # fmt: skip
def test_without_antialias_pixels_are_almost_those_of_keras(
    pictures, options, allowed, kind, channels, decoded
):
    """`decoded` is how much pixels differ already before they are resized."""
    dataset = keras.utils.image_dataset_from_directory(
        pictures / kind, labels=None, image_size=(64, 64), batch_size=None, verbose=False,
        shuffle=False, color_mode=channels, data_format="channels_last", **options,
    )  # fmt: skip
    images = hr.ImageFolder(
        pictures / kind, (64, 64), channels=channels, antialias=False, dtype="float32", **options
    )
    out = np.empty((3, *images.spec.shape), np.float32)
    images.read(np.arange(3), out)
    theirs = np.stack([np.asarray(image, np.float32) for image in dataset])
    assert np.abs(out - theirs.clip(0, 255)).max() <= allowed + decoded


@pytest.mark.parametrize("with_marker", [True, False], ids=["Adobe", "no marker"])
def test_four_inks_are_the_colours_that_tensorflow_reads(with_marker):
    import tensorflow as tf

    data = cmyk_jpeg(INKS, with_marker)
    theirs = tf.io.decode_jpeg(data, channels=3).numpy().astype(int)
    ours = hr.ImageDecoder((32, 48))(data)
    assert np.abs(ours - theirs).max() <= 8  # as they decode in a faster, less exact way


def odd_pictures():
    """About 200 files of every kind that TensorFlow reads, and their names."""
    rng = np.random.default_rng(0)
    jpegs = {
        "4:2:0": {}, "4:2:2": {"subsampling": 1}, "4:4:4": {"subsampling": 0},
        "worst": {"quality": 1}, "best": {"quality": 100}, "progressive": {"progressive": True},
        "optimized": {"optimize": True}, "restarts": {"restart_marker_blocks": 1},
        "odd EXIF": {"exif": b"Exif\0\0no EXIF data"},
    }  # fmt: skip
    kinds = [("BMP", "RGB"), ("GIF", "P"), ("GIF", "L")]
    kinds += [("JPEG", mode) for mode in ("RGB", "L", "CMYK")]
    kinds += [("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
    for height, width in ((1, 1), (1, 37), (41, 1), (2, 3), (17, 16), (33, 50), (2, 30_000)):
        y, x = np.mgrid[:height, :width] / 9
        waves = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(4)], axis=-1)
        pixels = (128 + 80 * waves + rng.normal(scale=15, size=waves.shape)).clip(0, 255)
        image = Image.fromarray(pixels.astype(np.uint8))
        for kind, mode in kinds:
            for name, options in jpegs.items() if kind == "JPEG" else [("", {})]:
                data = encoded(image.convert(mode), kind, **options)
                yield f"{height} x {width}, {kind} of {mode}, {name}", data


@pytest.mark.parametrize(("decoder", "resizer"), [("turbo", "cykooz_resizer"), ("opencv", "cv2")])
def test_odd_pictures_are_almost_those_of_tensorflow(decoder, resizer):
    import tensorflow as tf

    pytest.importorskip("simplejpeg", reason=f"needs headrace[{decoder}]")
    pytest.importorskip(resizer, reason=f"needs headrace[{decoder}]")
    as_keras = {"antialias": False, "decoder": decoder, "fast_dct": True}
    wrong = {}
    count = 0
    for name, data in odd_pictures():
        count += 1
        whole = tf.io.decode_image(data, channels=3, expand_animations=False)
        ours = hr.ImageDecoder(tuple(whole.shape[:2]), **as_keras)(data)
        inks = 16 if "CMYK" in name else 0  # which Pillow decodes, and by the exact transform
        differs = np.abs(ours.astype(int) - whole.numpy()).max()
        resized = tf.image.resize(whole, (20, 30)).numpy()
        small = hr.ImageDecoder((20, 30), **as_keras)(data)
        if differs > inks or np.abs(small - resized).max() > inks + 1.01:
            wrong[name] = int(differs), float(np.abs(small - resized).max())
    assert count > 200
    assert not wrong
