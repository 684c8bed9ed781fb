"""A reader whose samples are a dict of an array and a tuple of two."""

import numpy as np

import headrace as hr
from headrace.readers.reader import check_read

N = 12
IMAGES = np.arange(N * 6, dtype=np.uint8).reshape(N, 2, 3)
BOXES = np.linspace(0, 1, N * 4, dtype=np.float32).reshape(N, 4)
SIZES = np.arange(N, dtype=np.int64)


class Scenes:
    """Dicts with an array, and a tuple of two."""

    spec = {
        "image": hr.Spec((2, 3), np.dtype(np.uint8)),
        "truth": (hr.Spec((4,), np.dtype(np.float32)), hr.Spec((), np.dtype(np.int64))),
    }

    def __len__(self):
        return N

    def read(self, indices, out):
        check_read(N, self.spec, indices, out)
        out["image"][...] = IMAGES[indices]
        out["truth"][0][...] = BOXES[indices]
        out["truth"][1][...] = SIZES[indices]
