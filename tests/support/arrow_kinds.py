"""The kinds of files that hold columns of Arrow's: how they are written and read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import headrace as hr


class Kind(NamedTuple):
    """How files of a format are written, `rows` in a block, and read."""

    open: type[hr.Arrow] | type[hr.Parquet]
    suffix: str
    write_table: Callable[..., Any]

    def write(self, folder, name, columns, rows=None):
        path = folder / f"{name}{self.suffix}"
        self.write_table(pa.table(columns), path, rows)
        return path


def arrow_writer(compression):
    def write(table, path, rows):
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_file(path, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=rows)

    return write


def write_parquet(table, path, rows):
    pq.write_table(table, path, row_group_size=rows)


KINDS = {
    "mapped": Kind(hr.Arrow, ".arrow", arrow_writer(None)),
    "compressed": Kind(hr.Arrow, ".arrow", arrow_writer("zstd")),
    "parquet": Kind(hr.Parquet, ".parquet", write_parquet),
}
