"""CRC-32C, as TFRecords have it: masked, as a checksum of checksums would be a weak one."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.errors import missing_extra

Checksum: TypeAlias = Callable[[bytes], int]

_POLYNOMIAL = 0x82F63B78  # with its bits reversed
_MASK = 0xA282EAD8
_Words: TypeAlias = npt.NDArray[np.uint32]


@functools.cache
def checksum(required: bool | None) -> Checksum | None:
    """A function that computes it, of a library; None if there is none, unless it is required.

    Raises:
        MissingExtraError: (an ImportError) it is required, and not installed.
    """
    if required is False:
        return None
    try:
        import google_crc32c
    except ImportError:
        if required:
            what = "hr.TFRecords(checksums=True)"
            raise missing_extra(what, "google-crc32c", "tfrecord") from None
        return None
    # Its own in Python would take longer than all else.
    value: Checksum | None = google_crc32c.value if google_crc32c.implementation == "c" else None
    return value


def masked(crc: Any) -> Any:
    """The masked form of a checksum, or of an array of them as uint64."""
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def masked_of_lengths(lengths: npt.NDArray[np.uint64]) -> _Words:
    """The masked checksum of each number, as 8 bytes with the lowest first."""
    table = _table()
    crc = np.full(len(lengths), 0xFFFFFFFF, np.uint32)
    for column in lengths.astype("<u8").view(np.uint8).reshape(-1, 8).T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    words: _Words = masked((crc ^ 0xFFFFFFFF).astype(np.uint64)).astype(np.uint32)
    return words


@functools.cache
def _table() -> _Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    return table
