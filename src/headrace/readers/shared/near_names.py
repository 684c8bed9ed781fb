"""What lies where a file is missing, such as "00001.npy" for "1.npy"."""

import os
import re
from collections.abc import Iterator

_LAST_NUMBER = re.compile(r"0*([0-9]+)(?=[^0-9]*\Z)")
_MOST_DIGITS = 12
_SUFFIXES = (".npy", ".npz", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def instead_of_missing(path: str) -> str:
    """The end of a sentence that says that the file at `path` is missing.

    It names a file in the same folder of this machine that may be meant; else it is empty. A few
    names are tried, as a folder may be large, and thousands of samples missing.
    """
    folder, name = os.path.split(path)
    for near in _near(name):
        if near != name and os.path.lexists(os.path.join(folder, near)):
            return f"; {near!r} lies there"
    return ""


def _near(name: str) -> Iterator[str]:
    """Names that are easily confused with this one."""
    stem, suffix = os.path.splitext(name)
    if suffix and stem.lower().endswith(suffix.lower()):
        yield stem  # of an id that was given with its suffix
    number = _LAST_NUMBER.search(stem)
    if number is not None:
        for digits in range(1, _MOST_DIGITS + 1):
            padded = number[1].zfill(digits)
            yield f"{stem[: number.start()]}{padded}{stem[number.end() :]}{suffix}"
    for one in (stem, stem.lower(), stem.upper(), stem.capitalize()):
        yield from (one + suffix, one + suffix.lower(), one + suffix.upper())
    if not suffix:
        yield from (stem + one for one in _SUFFIXES)
