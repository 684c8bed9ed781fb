"""Region: which pixels of a picture a sample has, and at what size."""

import math
from typing import NamedTuple

from headrace.readers.images.pillow import Box

# How far from its centre pixels count in one of the result, where a picture is not made smaller.
_RADII = {"nearest": 0.0, "box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3}


class Region(NamedTuple):
    """A box of a picture, resized, of which a window is taken.

    ::

        picture             box            resized to size     window
        +-----------+       +------+       +-----------+       +-----+
        |  +------+ |  -->  |      |  -->  |  +-----+  |  -->  |     |
        |  |      | |       +------+       |  +-----+  |       +-----+
        |  +------+ |                      +-----------+
        +-----------+

    Attributes:
        box: (left, top, right, bottom) in the picture; no pixel outside of it counts.
        size: (height, width) that the box is resized to.
        window: (left, top, right, bottom) in what was resized. Where it reaches beyond, are zeros.
        flipped: whether left and right are swapped at last.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    window: tuple[int, int, int, int]
    flipped: bool

    @property
    def inside(self) -> tuple[int, int, int, int]:
        """The part of the window that does not reach beyond what was resized."""
        left, top, right, bottom = self.window
        height, width = self.size
        return max(0, left), max(0, top), min(width, right), min(height, bottom)

    def least_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that a picture of `size` must have for no less detail than is wanted."""
        left, top, right, bottom = self.box
        return math.ceil(size[0] * self.size[0] / (bottom - top)), math.ceil(
            size[1] * self.size[1] / (right - left)
        )

    def needed(
        self, scale: float, origin: tuple[float, float], interpolation: str, antialias: bool
    ) -> tuple[tuple[int, int, int, int], Box]:
        """What of a picture that was decoded at `scale` makes the inside of the window.

        Args:
            origin: where (left, top) of the picture lies in what was decoded.

        Returns:
            (left, top, right, bottom) of the pixels that count, and the same of what is resized to
            be the inside of the window, in these pixels.
        """
        radius, inside = _RADII[interpolation], self.inside
        if scale == 1 and inside == (0, 0, self.size[1], self.size[0]):  # all of the box
            x, y, right, bottom = self.box
            return self.box, (0, 0, right - x, bottom - y)
        sides, exact = [], []
        for axis in (0, 1):
            first = origin[axis] + self.box[axis] * scale
            last = origin[axis] + self.box[axis + 2] * scale
            side = self.size[1 - axis]
            # In this order, in which whole numbers stay whole.
            start = first + (last - first) * inside[axis] / side
            stop = first + (last - first) * inside[axis + 2] / side
            margin = radius * max((last - first) / side, 1) if antialias else radius
            low = max(math.floor(start - margin), math.floor(first))
            high = min(math.ceil(stop + margin), math.ceil(last))
            sides.append((low, high))
            exact.append((start - low, stop - low))
        (left, right), (top, bottom) = sides
        (exact_left, exact_right), (exact_top, exact_bottom) = exact
        return (left, top, right, bottom), (exact_left, exact_top, exact_right, exact_bottom)


def placed(
    size: tuple[int, int], decoded: tuple[int, int], rows_mirrored: bool, columns_mirrored: bool
) -> tuple[float, tuple[float, float]]:
    """At which scale a picture of `size`, (height, width), was decoded, and its (left, top) there.

    libjpeg has eighths, and rounds sides up: the last pixels of rows and columns may be of less of
    the picture than the others, and come first where it was then turned.
    """
    for eighths in range(8, 0, -1):
        if (-(-size[0] * eighths // 8), -(-size[1] * eighths // 8)) == decoded:
            scale = eighths / 8
            left = decoded[1] - size[1] * scale if columns_mirrored else 0
            top = decoded[0] - size[0] * scale if rows_mirrored else 0
            return scale, (left, top)
    raise AssertionError(f"{size} was decoded as {decoded}")
