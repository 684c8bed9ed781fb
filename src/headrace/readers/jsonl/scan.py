"""Where the lines of a text file begin, but for blank ones."""

import codecs

import numpy as np

from headrace.readers.shared.sharded.record_index import Scanned
from headrace.readers.shared.sharded.shards import open_shard, refuse_compressed
from headrace.storage.storage import Storage

_PIECE_BYTES = 2**22
_NEWLINE = 10
# What a blank line begins with; the last is the first byte of the mark of the byte order.
_BLANK_STARTS = np.frombuffer(b" \t\r\n" + codecs.BOM_UTF8[:1], np.uint8)


def scan(storage: Storage, name: str, size: int) -> Scanned:
    """The lines of a shard of `size` bytes.

    Raises:
        FormatError: it is compressed.
        StorageError: (an OSError) it can't be read.
    """
    starts, blanks = [np.empty(0, np.int64)], []
    found = 0
    with open_shard(storage, name) as file:
        at, rest = 0, b""
        while at + len(rest) < size:
            piece = file.read(max(_PIECE_BYTES, len(rest)))
            if not at and not rest:
                refuse_compressed(piece, "lines")
            data = rest + piece
            end = len(data) if not piece or at + len(data) >= size else data.rfind(b"\n") + 1
            if not end:
                rest = data  # of a line that is longer
                continue
            begins, is_blank = _lines(data[:end])
            starts.append(begins[~is_blank] + at)
            blanks.append(np.cumsum(~is_blank)[is_blank] + found)
            found += int((~is_blank).sum())
            at, rest = at + end, data[end:]
            if not piece:
                break
    skipped = np.concatenate([np.empty(0, np.int64), *blanks])
    return Scanned(np.concatenate(starts), skipped[skipped < found])


def _lines(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Where the lines in the data begin, and which of them are blank."""
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    begins = np.concatenate([[0], ends + 1])
    begins = begins[begins < len(data)]
    stops = np.append(ends, len(data))[: len(begins)]
    is_blank = np.zeros(len(begins), np.bool_)
    # Hardly any other line begins so.
    for line in np.flatnonzero(np.isin(text[begins], _BLANK_STARTS)).tolist():
        is_blank[line] = not data[begins[line] : stops[line]].removeprefix(codecs.BOM_UTF8).strip()
    return begins, is_blank
