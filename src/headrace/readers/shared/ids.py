"""Ids: the names of samples, held compactly, and compared."""

from collections.abc import Iterable, Sequence

from headrace.arrays import fingerprint
from headrace.errors import ArgumentError, bad_value

# Of files with one sample each: the id of "cats/17.jpg" is that of "cats/17.png", its mask.
_SUFFIXES = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".npz", ".png", ".tif", ".tiff", ".webp"),
    *(".flac", ".mp3", ".ogg", ".wav"),
)


class Ids:
    """The ids of samples as text, in their order, without an object for each.

    Args:
        ids: in any form; they are compared as text, so 17 is the same as "17".
        n: how many there must be.
        argument: what they are called in errors.
    """

    def __init__(self, ids: Iterable[object], n: int, argument: str = "ids") -> None:
        texts = list(map(str, ids))
        if len(texts) != n:
            raise ArgumentError(
                f"{argument} must be as many as the samples, but {len(texts)} were given for {n}."
            )
        self._joined = "\0".join(texts).encode("utf-8", "surrogatepass")
        if self._joined.count(b"\0") != max(0, n - 1):
            wrong = next(text for text in texts if "\0" in text)
            raise bad_value(argument, wrong, "without NUL characters")
        self._n = n

    def listed(self) -> list[str]:
        """All of them, in a new list."""
        return self._joined.decode("utf-8", "surrogatepass").split("\0") if self._n else []

    def fingerprint(self) -> str:
        """A hash of them."""
        return fingerprint(self._joined)


class PerhapsNamed:
    """What readers have in common whose samples may have `Ids` or none."""

    _ids: Ids | None

    @property
    def ids(self) -> list[str] | None:
        """The ids as text, in order, in a new list at each call; None if they are not known."""
        return None if self._ids is None else self._ids.listed()

    def ids_fingerprint(self) -> str:
        """A hash of the ids, if they are known."""
        return "" if self._ids is None else self._ids.fingerprint()


def stem(name: str) -> str:
    """The id without the suffix of a file, if it has one that readers know."""
    base, dot, suffix = name.rpartition(".")
    return base if dot and f".{suffix.lower()}" in _SUFFIXES else name


def first_difference(ids: Sequence[object], others: Sequence[object]) -> int | None:
    """Where the ids differ for the first time, suffixes of files aside; None if they do not."""
    if ids == others:
        return None
    for index, (one, other) in enumerate(zip(ids, others, strict=True)):
        if one != other and stem(str(one)) != stem(str(other)):
            return index
    return None
