"""Shards: files that hold many samples each, which are found by going through them once."""

import io
import os
import re
from collections.abc import Callable, Iterable
from typing import BinaryIO, TypeVar

from headrace.arguments import check_ids
from headrace.errors import bad_value
from headrace.readers.shared.format_error import FormatError, missing_file
from headrace.readers.shared.names import check_names
from headrace.storage.local import paths
from headrace.storage.local.regular import opener
from headrace.storage.opening import Root, is_url
from headrace.storage.ranged_file import RangedFile
from headrace.storage.storage import Storage

Found = TypeVar("Found")

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_READ_AHEAD_BYTES = 2**22
_SHARDS_AT_ONCE = 8
_MOST_SUBMITTED = 1024


def check_shards(shards: str | Iterable[str]) -> list[str]:
    """The names of shards, some of which may stand for many, such as "train-{000..146}.tar"."""
    patterns = [shards] if isinstance(shards, str) else check_ids(shards, "shards")
    return [name for pattern in check_names(patterns, "shards") for name in _expanded(pattern)]


def _expanded(pattern: str) -> list[str]:
    """The names that a pattern with ranges such as {000..146} stands for, both ends included."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    numbers = range(int(first), int(last) + 1)
    if not numbers:
        raise bad_value("shards", pattern, "a pattern with ranges that go up, such as {000..146}")
    ends = _expanded(pattern[match.end() :])
    start = pattern[: match.start()]
    return [f"{start}{number:0{len(first)}}{end}" for number in numbers for end in ends]


def open_shard(storage: Storage, name: str, buffer_bytes: int = 2**16) -> BinaryIO:
    """A shard, to be gone through; of one that is far away, much is fetched at once."""
    path = storage.local_path(name)
    if path is not None:
        return open(path, "rb", buffer_bytes, opener=opener)
    size = storage.size(name)
    ranged = RangedFile(storage, name, size, least_fetched_bytes=_READ_AHEAD_BYTES)
    return io.BufferedReader(ranged, buffer_bytes)


def refuse_compressed(start: bytes, parts: str) -> None:
    """Raises a FormatError if a shard that begins so is compressed as a whole."""
    for magic, compression in _COMPRESSED.items():
        if start.startswith(magic):
            raise FormatError(
                f"it is compressed with {compression}, so that its {parts} can't be read at "
                "random. Decompress it; what it holds may be compressed, such as images"
            )


def scan_all(
    storage: Storage, shards: list[str], scan: Callable[[Storage, str], Found]
) -> list[Found]:
    """`scan(storage, name)` of each shard, several at once."""
    from concurrent.futures import ThreadPoolExecutor  # which imports logging

    found: list[Found] = []
    with ThreadPoolExecutor(_SHARDS_AT_ONCE) as threads:
        # What is submitted takes more memory than a name, of which there may be a million.
        for begin in range(0, len(shards), _MOST_SUBMITTED):
            names = shards[begin : begin + _MOST_SUBMITTED]
            found += threads.map(lambda name: scan(storage, name), names)
    return found


def folder_of(
    root: Root, chosen: Callable[[list[str]], list[str]]
) -> tuple[Root, list[str] | None]:
    """The folder of a single shard, and its name; of what is no shard, itself and None.

    Args:
        root: what a user gives as the root.
        chosen: those of some names that are of shards.
    """
    if not isinstance(root, str | os.PathLike):
        return root, None
    path = os.fspath(root)
    far = is_url(path)
    if not far:
        path = os.path.abspath(path)
    folder, _, name = path.rpartition("/")
    is_shard = bool(chosen([name]))
    if not far:
        if is_shard and not paths.exists(path):
            raise missing_file(path)
        is_shard = paths.exists(path) and not paths.is_folder(path)
    return (folder or "/", [name]) if is_shard else (root, None)
