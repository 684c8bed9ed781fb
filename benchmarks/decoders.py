"""Decoders of images: how fast they decode and resize, and what they make of difficult files.

    python benchmarks/decoders.py            the tables of docs/decisions/image_decoder.md
    python benchmarks/decoders.py --quick    the same, measured for less time

Times are of CPU, in one thread, as other processes change these little. Requires pillow,
simplejpeg, cykooz.resizer, opencv-python-headless and imagecodecs, and scikit-learn for its two
photographs. Prints Markdown.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import io
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import cykooz_resizer
import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image
from sklearn.datasets import load_sample_images

Pixels = npt.NDArray[Any]
Decode = Callable[[bytes], Pixels]

SIZE = (224, 224)
FORMATS = ("JPEG", "JPEG of 12 MP", "PNG", "WebP")
IMAGES = 16
ROUNDS = 5
PACKAGES = ("pillow", "simplejpeg", "cykooz.resizer", "opencv-python-headless", "imagecodecs")


def photographs(size: tuple[int, int]) -> Iterator[Image.Image]:
    """Parts of two photographs, as images of `size`, (width, height)."""
    rng = np.random.default_rng(0)
    for photograph in load_sample_images().images * (IMAGES // 2):
        top, left = rng.integers(40), rng.integers(60)
        yield Image.fromarray(photograph[top : top + 375, left : left + 500]).resize(size)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def files(name: str) -> list[bytes]:
    if name == "JPEG of 12 MP":
        return [encoded(image, "JPEG", quality=90) for image in photographs((4000, 3000))][:2]
    options = {"JPEG": {"quality": 90}, "PNG": {}, "WebP": {"quality": 80}}[name]
    return [encoded(image, name, **options) for image in photographs((500, 375))]


def with_pillow(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize(SIZE, Image.Resampling.BILINEAR))


def with_pillow_scaled(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", SIZE)
    return np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR))


def resized(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    return np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR))


def with_simplejpeg(data: bytes) -> Pixels:
    return resized(simplejpeg.decode_jpeg(data, "RGB"))


def with_simplejpeg_scaled(data: bytes) -> Pixels:
    return resized(simplejpeg.decode_jpeg(data, "RGB", min_height=SIZE[0], min_width=SIZE[1]))


def with_opencv(data: bytes) -> Pixels:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise ValueError("not decoded")
    return cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA)


def with_imagecodecs(data: bytes) -> Pixels:
    if data[:2] == b"\xff\xd8":
        return resized(imagecodecs.jpeg8_decode(data))
    if data[:4] == b"\x89PNG":
        return resized(imagecodecs.png_decode(data))
    return resized(imagecodecs.webp_decode(data))


def with_cykooz(data: bytes) -> Pixels:
    return by_cykooz(simplejpeg.decode_jpeg(data, "RGB"))


def by_cykooz(pixels: Pixels) -> Pixels:
    kind = cykooz_resizer.PixelType.U8x3
    height, width, _ = pixels.shape
    image = cykooz_resizer.ImageData(width, height, kind, pixels.tobytes())
    result = cykooz_resizer.ImageData(SIZE[1], SIZE[0], kind)
    bilinear = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.bilinear)
    cykooz_resizer.Resizer().resize(image, result, cykooz_resizer.ResizeOptions(bilinear))
    return np.frombuffer(result.get_buffer(), np.uint8).reshape(*SIZE, 3)


def interpolated_by_pillow(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    whole = (0, 0, *image.size)
    how = Image.Transform.EXTENT, whole, Image.Resampling.BILINEAR
    return np.asarray(image.transform(SIZE, *how))


def interpolated_by_opencv(data: bytes) -> Pixels:
    return cv2.resize(simplejpeg.decode_jpeg(data, "RGB"), SIZE)


def decoded(data: bytes) -> Pixels:
    return simplejpeg.decode_jpeg(data, "RGB")


def with_headrace(data: bytes) -> Pixels:
    return headrace()(data)


@functools.cache
def headrace(**options: Any) -> Decode:
    import headrace as hr

    return hr.ImageDecoder(SIZE, **options)


ANTIALIASED: dict[str, tuple[Decode, tuple[str, ...]]] = {
    "pillow": (with_pillow, FORMATS),
    "pillow, scaled while decoding": (with_pillow_scaled, FORMATS[:2]),
    "simplejpeg, resized by pillow": (with_simplejpeg, FORMATS[:2]),
    "the same, scaled while decoding": (with_simplejpeg_scaled, FORMATS[:2]),
    "simplejpeg, resized by cykooz.resizer": (with_cykooz, FORMATS[:2]),
    "opencv, with INTER_AREA": (with_opencv, FORMATS),
    "imagecodecs, resized by pillow": (with_imagecodecs, FORMATS),
    "headrace": (with_headrace, FORMATS),
    "headrace, `jpeg_scaling`": (headrace(jpeg_scaling=True), FORMATS[:2]),
    "headrace, turbo": (headrace(decoder="turbo"), FORMATS),
    "headrace, turbo, `jpeg_scaling`": (
        headrace(decoder="turbo", jpeg_scaling=True),
        FORMATS[:2],
    ),
}
INTERPOLATED: dict[str, tuple[Decode, tuple[str, ...]]] = {
    "decoded by simplejpeg, and no more": (decoded, FORMATS[:2]),
    "pillow": (interpolated_by_pillow, FORMATS),
    "simplejpeg, resized by opencv": (interpolated_by_opencv, FORMATS[:2]),
    "headrace": (headrace(antialias=False), FORMATS),
    "headrace, turbo": (headrace(antialias=False, decoder="turbo"), FORMATS),
    "headrace, turbo, `fast_dct`": (
        headrace(antialias=False, decoder="turbo", fast_dct=True),
        FORMATS[:2],
    ),
}


def cpu_ms(decode: Decode, data: list[bytes], seconds: float) -> float:
    """Milliseconds of CPU for an image."""
    count, started, elapsed = 0, time.process_time(), 0.0
    while elapsed < seconds or not count:
        for file in data:
            decode(file)
        count += len(data)
        elapsed = time.process_time() - started
    return 1e3 * elapsed / count


def print_speeds(
    heading: str, contenders: dict[str, tuple[Decode, tuple[str, ...]]], seconds: float
) -> None:
    """The best of several rounds, in which the contenders take turns."""
    data = {name: files(name) for name in FORMATS}
    runs = [
        (contender, name)
        for name in FORMATS
        for contender, (_, formats) in contenders.items()
        if name in formats
    ]
    best = dict.fromkeys(runs, math.inf)
    for _ in range(ROUNDS):
        for contender, name in runs:
            decode, _ = contenders[contender]
            best[contender, name] = min(
                best[contender, name], cpu_ms(decode, data[name], seconds / ROUNDS)
            )
    print(f"| {heading}, ms of CPU |", " | ".join(FORMATS), "|")
    print("| --- |" + " --- |" * len(FORMATS))
    for contender, (_, formats) in contenders.items():
        cells = [f"{best[contender, name]:.2f}" if name in formats else "-" for name in FORMATS]
        print(f"| {contender} |", " | ".join(cells), "|", flush=True)
    print()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def difficult_files() -> dict[str, tuple[list[bytes], Pixels | None]]:
    """Files, and the colour that each is filled with, or None for those that are damaged."""
    red, photograph = (200, 30, 40), next(photographs((500, 375)))
    plain = Image.new("RGB", (64, 48), red)
    grey = np.full((48, 64), 0x5234, np.uint16)
    cmyk = Image.new("CMYK", (64, 48), (0, 255, 255, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encoded(photograph, "JPEG", quality=90)
    progressive = encoded(photograph, "JPEG", quality=90, progressive=True)
    png, webp = encoded(photograph, "PNG"), encoded(photograph, "WebP")
    clear = Image.new("RGBA", (64, 48), (*red, 0))
    places = [len(jpeg) * part // 41 for part in range(5, 40)]

    def colour(*channels: int) -> Pixels:
        return np.array(channels, np.uint8)

    return {
        "JPEG with EXIF orientation 6": ([encoded(plain, "JPEG", exif=exif)], colour(*red)),
        "greyscale JPEG": ([encoded(Image.new("L", (64, 48), 77), "JPEG")], colour(77, 77, 77)),
        "CMYK JPEG, which is red": ([encoded(cmyk, "JPEG")], colour(255, 0, 0)),
        "16-bit greyscale PNG": ([encoded(Image.fromarray(grey), "PNG")], colour(82, 82, 82)),
        "palette PNG": ([encoded(plain.quantize(4), "PNG")], colour(*red)),
        "transparent PNG": ([encoded(clear, "PNG")], colour(*red)),
        "JPEG, half of it": ([jpeg[: len(jpeg) // 2]], None),
        "progressive JPEG, half of it": ([progressive[: len(progressive) // 2]], None),
        "JPEG, a byte flipped": ([flipped(jpeg, at) for at in places], None),
        "PNG, half of it": ([png[: len(png) // 2]], None),
        "PNG, a byte flipped": (
            [flipped(png, len(png) * part // 41) for part in range(2, 40)],
            None,
        ),
        "WebP, half of it": ([webp[: len(webp) // 2]], None),
        "WebP, a byte flipped": (
            [flipped(webp, len(webp) * part // 41) for part in range(2, 40)],
            None,
        ),
    }


def verdict(decode: Decode, data: list[bytes], expected: Pixels | None) -> str:
    errors, wrong = 0, 0
    for file in data:
        try:
            pixels = decode(file)
        except Exception:
            errors += 1
            continue
        if expected is not None and pixels.shape[:2] == SIZE:
            wrong += int(np.abs(pixels[..., :3].astype(int) - expected).max() > 4)
    if expected is None:
        return f"{errors} of {len(data)}"
    return "error" if errors else "wrong" if wrong else "right"


def print_verdicts() -> None:
    contenders = {
        "pillow": with_pillow,
        "simplejpeg": with_simplejpeg,
        "opencv": with_opencv,
        "imagecodecs": with_imagecodecs,
        "headrace": with_headrace,
        "headrace, turbo": headrace(decoder="turbo"),
    }
    print("| |", " | ".join(contenders), "|")
    print("| --- |" + " --- |" * len(contenders))
    for name, (data, expected) in difficult_files().items():
        cells = [
            "-"
            if contender == "simplejpeg" and "JPEG" not in name
            else verdict(decode, data, expected)
            for contender, decode in contenders.items()
        ]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def print_sizes() -> None:
    for package in PACKAGES:
        distribution = importlib.metadata.distribution(package)
        installed = sum(
            os.path.getsize(distribution.locate_file(file))
            for file in distribution.files or ()
            if os.path.exists(distribution.locate_file(file)) and file.suffix != ".pyc"
        )
        metadata = distribution.metadata
        licence = metadata.get("License-Expression") or metadata.get("License")
        print(f"| {package} {distribution.version} | {installed / 1e6:.0f} MB | {licence} |")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Without what libraries in C print to the standard error."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure for less time")
    seconds = 1.0 if parser.parse_args().quick else 5.0
    cv2.setNumThreads(1)
    print(f"zlib {zlib.ZLIB_RUNTIME_VERSION}, {os.cpu_count()} CPUs\n")
    print_sizes()
    print()
    print_speeds("antialiased", ANTIALIASED, seconds)
    print_speeds("without antialiasing", INTERPOLATED, seconds)
    with quiet_libraries():
        print_verdicts()


if __name__ == "__main__":
    main()
