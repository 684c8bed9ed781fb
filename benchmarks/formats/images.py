"""One PNG per sample, of the sample's own size: headrace, and a loop of `PIL.Image.open`.

Without loss, so that what is read is what was written. `decoders.py` measures JPEGs and resizing.
"""

import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image

import headrace as hr


def write(folder: pathlib.Path, samples: np.ndarray) -> None:
    """Stores samples of uint8, shape (n, height, width, 3)."""
    for index, sample in enumerate(samples):
        Image.fromarray(sample).save(_path(folder, index))


def contenders(folder: pathlib.Path, n: int) -> dict[str, Callable[[np.ndarray, np.ndarray], None]]:
    with Image.open(_path(folder, 0)) as first:
        width, height = first.size
    ids = [_path(folder, index).name for index in range(n)]
    reader = hr.Images(folder, ids, size=(height, width))

    def loop(indices: np.ndarray, out: np.ndarray) -> None:
        for row, index in enumerate(indices.tolist()):
            with Image.open(_path(folder, index)) as image:
                out[row] = image.convert("RGB")

    return {"headrace": reader.read, "loop": loop}


def bulk(folder: pathlib.Path) -> Callable[[], int]:
    """Pillow has no bulk read: each file decoded, and nothing copied."""
    paths = sorted(folder.glob("*.png"))

    def decode() -> int:
        nbytes = 0
        for path in paths:
            with Image.open(path) as image:
                image.load()
                nbytes += image.width * image.height * 3
        return nbytes

    return decode


def _path(folder: pathlib.Path, index: int) -> pathlib.Path:
    return folder / f"{index:07}.png"
