"""Where the records of a TFRecord file begin, found from length to length.

length     uint64, the lowest byte first       HEADER_BYTES
checksum   uint32, of the length
data       of so many bytes
checksum   uint32, of the data                 FOOTER_BYTES
"""

import struct
from typing import BinaryIO

import numpy as np

from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.sharded.record_index import Scanned
from headrace.readers.shared.sharded.shards import open_shard, refuse_compressed
from headrace.readers.tfrecord.crc32c import masked_of_lengths
from headrace.storage.storage import Storage

HEADER = struct.Struct("<QI")
FOOTER_BYTES = 4
AROUND_BYTES = HEADER.size + FOOTER_BYTES
_BUFFER_BYTES = 2**13


def scan(storage: Storage, name: str, size: int) -> Scanned:
    """The records of a shard of `size` bytes.

    Raises:
        FormatError: it is damaged, cut short or compressed, or no file of TFRecords.
        StorageError: (an OSError) it can't be read.
    """
    with open_shard(storage, name, _BUFFER_BYTES) as file:
        refuse_compressed(file.read(8), "records")
        starts, lengths, checksums, why = _stepped_through(file, size)
    wrong = np.flatnonzero(masked_of_lengths(lengths) != checksums)
    if wrong.size:
        raise FormatError(
            f"the length of record {wrong[0]}, at byte {starts[wrong[0]]}, does not have its "
            "checksum: it is damaged, or compressed, or has no TFRecords"
        )
    if why:
        raise FormatError(why)
    return Scanned(starts, np.empty(0, np.int64))


def _stepped_through(
    file: BinaryIO, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str | None]:
    """Where records begin, their lengths, the checksums of these, and what ended it, if bad."""
    rows: list[tuple[int, int, int]] = []
    at, why = 0, None
    while at < size:
        file.seek(at)
        header = file.read(HEADER.size)
        if len(header) < HEADER.size:
            why = f"it ends within the length of record {len(rows)}, at byte {at}: it was cut short"
            break
        length, checksum = HEADER.unpack(header)
        rows.append((at, length, checksum))
        at += length + AROUND_BYTES
        if at > size:
            why = f"it ends within record {len(rows) - 1}, at byte {rows[-1][0]}: it was cut short"
            break
    table = np.array(rows, np.uint64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].copy(), table[:, 2].astype(np.uint32), why
