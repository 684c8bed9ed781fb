"""What lies where a file is missing, such as "00001.npy" for "1.npy"."""

import os
import re
from itertools import islice

# Of larger folders, so many files are looked at: thousands of samples may be missing.
_MOST_LOOKED_AT = 20_000
_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def instead_of_missing(path: str) -> str:
    """The end of a sentence that says that the file at `path` is missing.

    It names a file in the same folder of this machine that may be meant; else it is empty.
    """
    folder, name = os.path.split(path)
    wanted = _alike(name)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MOST_LOOKED_AT)]
    except (OSError, ValueError):
        return ""
    near = [one for one in names if one != name and _fits(_alike(one), wanted)]
    return f"; {min(near)!r} lies there" if near else ""


def _alike(name: str) -> tuple[str, str]:
    """Stem and suffix of a name, which are the same for names that are easily confused."""
    stem, suffix = os.path.splitext(name.lower())
    if suffix and stem.endswith(suffix):
        stem = stem.removesuffix(suffix)
    return _ZEROS.sub("", stem), suffix


def _fits(found: tuple[str, str], wanted: tuple[str, str]) -> bool:
    return found == wanted or (not wanted[1] and found[0] == wanted[0])
