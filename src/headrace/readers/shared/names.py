"""Names: the files of samples, compactly, as a million of them must not be a million objects."""

import os
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_ids
from headrace.arrays import Indices, fingerprint
from headrace.errors import bad_type, bad_value

Unsigned: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]

# An id that is absolute, empty, or climbs with "..": it could leave the root.
_LEAVES_ROOT = re.compile(r"(?:\A|\0)(?:/|(?=\0|\Z))|(?:\A|[\0/])\.\.(?=[\0/]|\Z)")


class Names:
    """The names of files below a root, in the order of the samples.

    Args:
        names: with `/` between folders; as `check_names` gives them.
        suffix: what each of them ends with besides.

    Attributes:
        encoded: all names as the system has them, each but the last followed by NUL.
        starts: where each begins in `encoded`.
        stops: where each ends.
    """

    def __init__(self, names: list[str], suffix: str = "") -> None:
        self._suffix_nbytes = len(os.fsencode(suffix))
        self.encoded = _encoded(names, suffix)
        ends = np.flatnonzero(np.frombuffer(self.encoded, np.uint8) == 0)
        small = np.uint32 if len(self.encoded) < 2**32 else np.uint64
        self.starts: Unsigned = np.concatenate([[0], ends + 1]).astype(small)
        self.stops: Unsigned = np.concatenate([ends, [len(self.encoded)]]).astype(small)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> str:
        """The name of the file of sample `index`, with its suffix."""
        return os.fsdecode(self.encoded[self.starts[index] : self.stops[index]])

    def at(self, indices: Indices, *, with_suffix: bool = True) -> list[str]:
        """The names of the files of these samples."""
        encoded, shorter = self.encoded, 0 if with_suffix else self._suffix_nbytes
        starts, stops = self.starts[indices].tolist(), (self.stops[indices] - shorter).tolist()
        return [os.fsdecode(encoded[a:b]) for a, b in zip(starts, stops, strict=True)]

    def without_suffix(self) -> list[str]:
        """All names without the suffix, in a new list at each call."""
        end = -self._suffix_nbytes or None
        return [os.fsdecode(name[:end]) for name in self.encoded.split(b"\0")]

    def fingerprint(self) -> str:
        """A hash of the names."""
        return fingerprint(self.encoded)


def check_names(ids: Iterable[str | int], argument: str = "ids") -> list[str]:
    """The ids as strings, each of which names a file below the root."""
    names: list[Any] = check_ids(ids, argument)
    if set(map(type, names)) - {str}:
        for index, name in enumerate(names):
            if isinstance(name, bool) or not isinstance(name, (str, int, np.integer)):
                raise bad_type(f"{argument}[{index}]", name, "a str or an int")
        names = [str(name) for name in names]
    joined = "\0".join(names)
    if os.sep != "/":
        joined = joined.replace(os.sep, "/")
    if joined.count("\0") != len(names) - 1 and names:
        index = next(index for index, name in enumerate(names) if "\0" in name)
        raise bad_value(f"{argument}[{index}]", names[index], "a name without a NUL character")
    match = _LEAVES_ROOT.search(joined) if names else None
    if match is None and os.name == "nt":
        match = re.search(":", joined)  # a drive
    if match is not None:
        index = joined.count("\0", 0, match.end())
        raise bad_value(
            f"{argument}[{index}]",
            names[index],
            "a name below root: not empty, not absolute, without '..'",
        )
    if not names:
        raise bad_value(argument, ids, f"at least one {argument.removesuffix('s')}")
    return names


def _encoded(names: list[str], suffix: str) -> bytes:
    try:
        return os.fsencode(f"{suffix}\0".join(names) + suffix)
    except UnicodeEncodeError:
        for index, name in enumerate(names):
            try:
                os.fsencode(name)
            except UnicodeEncodeError:
                raise bad_value(f"ids[{index}]", name, "a name that a file can have") from None
        raise
