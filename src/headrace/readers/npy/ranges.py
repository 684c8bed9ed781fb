"""Rows of .npy files in a storage, read by ranges of bytes."""

import io
from collections.abc import Sequence

import numpy as np

from headrace.arrays import Array, Indices
from headrace.errors import FileMissingError, SampleFormatError, SampleNotFoundError
from headrace.readers.npy.decoder import check_size
from headrace.readers.npy.header import MAX_START_BYTES, NpyLayout, parse_header, read_header
from headrace.readers.shared.names import Names
from headrace.readers.shared.sample_files import FormatError, fetched
from headrace.storage.storage import Request, Storage

# As much as almost any header has; of a longer one the rest is fetched after it.
_USUAL_START_BYTES = 1024
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
        ends = [min(size, _USUAL_START_BYTES) for size in sizes]
        starts: dict[int, memoryview] = dict(
            storage.fetch([Request(name, 0, end) for name, end in zip(names, ends, strict=True)])
        )
        layouts = []
        for position, (name, size) in enumerate(zip(names, sizes, strict=True)):
            start = starts.pop(position)
            try:
                layouts.append(_layout(storage, name, size, start))
            except FormatError as error:
                raise SampleFormatError(
                    f"{storage.location(name)!r} can't be read: {error}"
                ) from None
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
    order = np.lexsort((rows, files))
    file_of = files[order].tolist()
    begins = [layouts[file].data_offset_bytes + row * nbytes
              for file, row in zip(file_of, rows[order].tolist(), strict=True)]  # fmt: skip
    requests: list[Request] = []
    firsts: list[int] = []  # of the rows of a request, in `order`
    for at, (file, begin) in enumerate(zip(file_of, begins, strict=True)):
        if firsts:
            first = firsts[-1]
            if (
                file == file_of[first]
                and begin - begins[at - 1] - nbytes <= _MOST_BYTES_BETWEEN
                and begin + nbytes - begins[first] <= _MOST_BYTES_TOGETHER
            ):
                requests[-1] = requests[-1]._replace(stop=begin + nbytes)
                continue
        firsts.append(at)
        requests.append(Request(names[file], begin, begin + nbytes))
    firsts.append(len(order))
    for position, data in fetched(storage, requests, indices[order[firsts[:-1]]]):
        request = requests[position]
        first, after = firsts[position : position + 2]
        if len(data) != (request.stop or 0) - request.start:
            index = int(indices[order[first]])
            raise SampleFormatError.at(
                index, f"sample {index} can't be read: {request} came as {len(data)} bytes"
            )
        fetched_rows = np.frombuffer(data, layouts[file_of[first]].dtype)
        fetched_rows = fetched_rows.reshape(-1, *out.shape[1:])
        targets = order[first:after]
        out[targets] = fetched_rows[rows[targets] - rows[targets[0]]]
