"""Rows of .npy files in a storage, read by ranges of bytes."""

import io
from collections.abc import Sequence

import numpy as np

from headrace.arrays import Array, Indices
from headrace.errors import FileMissingError, SampleFormatError, SampleNotFoundError
from headrace.readers.npy.decoder import check_size
from headrace.readers.npy.header import (
    MAX_START_BYTES,
    USUAL_START_BYTES,
    NpyLayout,
    parse_header,
    read_header,
)
from headrace.readers.shared.format_error import FormatError, bad_file
from headrace.readers.shared.names import Names
from headrace.readers.shared.sample_files import fetched
from headrace.storage.coalesce import coalesce
from headrace.storage.storage import Request, Storage

# Rows nearer than that are fetched together with what lies between, as bytes come faster than
# requests; but not more in one request, as several bring more at once.
_MOST_BYTES_BETWEEN = 2**16
_MOST_BYTES_TOGETHER = 2**22


def read_layouts(storage: Storage, names: list[str]) -> list[NpyLayout]:
    """The layouts of .npy files, each of which has all data that its header promises.

    Raises:
        SampleNotFoundError: a file does not exist.
        SampleFormatError: it is damaged.
        StorageError: it can't be read.
    """
    try:
        sizes = storage.sizes(names)
        ends = [min(size, USUAL_START_BYTES) for size in sizes]
        starts: dict[int, memoryview] = dict(
            storage.fetch([Request(name, 0, end) for name, end in zip(names, ends, strict=True)])
        )
        layouts = []
        for position, (name, size) in enumerate(zip(names, sizes, strict=True)):
            start = starts.pop(position)
            try:
                layouts.append(_layout(storage, name, size, start))
            except FormatError as error:
                raise bad_file(storage.location(name), error) from None
    except FileMissingError as error:
        raise SampleNotFoundError(str(error)) from None
    return layouts


def _layout(storage: Storage, name: str, size: int, start: memoryview) -> NpyLayout:
    try:
        header = read_header(io.BytesIO(start))
    except FormatError:
        if len(start) == size:
            raise
        ((_, start),) = storage.fetch([Request(name, 0, min(size, MAX_START_BYTES))])
        header = read_header(io.BytesIO(start))
    layout = parse_header(header)
    check_size(size, layout)
    return layout


def read_ranges(
    storage: Storage,
    names: Names,
    layouts: Sequence[NpyLayout],
    files: Indices,
    rows: Indices,
    indices: Indices,
    out: Array,
) -> None:
    """Writes row `rows[i]` of file `files[i]`, which is sample `indices[i]`, into `out[i]`.

    The files must be in C order, and their rows have the shape and dtype of those of `out`, but for
    the byte order. Rows that lie near each other are fetched with one request.
    """
    if not out.nbytes:
        return
    nbytes = out.nbytes // len(out)
    offsets = np.array([layout.data_offset_bytes for layout in layouts], np.int64)
    starts = offsets[files] + rows * nbytes
    joined = coalesce(
        files,
        starts,
        starts + nbytes,
        most_between_bytes=_MOST_BYTES_BETWEEN,
        most_bytes=_MOST_BYTES_TOGETHER,
    )
    requests = [Request(names[one.file], one.start, one.stop) for one in joined]
    firsts = indices[[one.positions[0] for one in joined]]
    for position, data in fetched(storage, requests, firsts):
        one = joined[position]
        if len(data) != one.stop - one.start:
            index = int(firsts[position])
            raise SampleFormatError.at(
                index,
                f"sample {index} can't be read: {requests[position]} came as {len(data)} bytes",
            )
        targets = np.array(one.positions)
        fetched_rows = np.frombuffer(data, layouts[one.file].dtype).reshape(-1, *out.shape[1:])
        out[targets] = fetched_rows[rows[targets] - rows[targets[0]]]
