"""The data of the demo: scikit-learn's digits, stored as the well-known tutorial has its samples.

folder/data/id-0001.npy ...    one float32 array of shape (8, 8, 1) for each image
folder/labels.json             {"id-0001": 0, ...}, from id to class
folder/partition.json          {"train": [ids], "validation": [ids]}
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

N_CLASSES = 10
_GREYS = 16  # the digits' pixels are 0 to 16


class Digits(NamedTuple):
    """The digits on disk, and `images` as they are in memory: float32, shape (n, 8, 8, 1)."""

    root: Path
    labels: dict[str, int]
    partition: dict[str, list[str]]
    images: dict[str, npt.NDArray[np.float32]]


def write_digits(folder: Path) -> Digits:
    """Writes the digits into `folder`, of which a fifth are for validation."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    pixels = (data.images / _GREYS).astype(np.float32)[..., np.newaxis]
    ids = [f"id-{number:04}" for number in range(1, len(pixels) + 1)]
    labels = dict(zip(ids, data.target.tolist(), strict=True))
    train, validation = train_test_split(ids, test_size=0.2, random_state=0, stratify=data.target)
    partition = {"train": train, "validation": validation}
    images = dict(zip(ids, pixels, strict=True))

    root = folder / "data"
    root.mkdir(parents=True)
    for name, image in images.items():
        np.save(root / f"{name}.npy", image)
    (folder / "labels.json").write_text(json.dumps(labels, indent=1), encoding="utf-8")
    (folder / "partition.json").write_text(json.dumps(partition, indent=1), encoding="utf-8")
    return Digits(root, labels, partition, images)
