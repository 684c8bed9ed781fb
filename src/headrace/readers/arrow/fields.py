"""Columns by their names, and fields of structs by dotted ones, as "image.bytes". Requires pyarrow.

A column that has the very name comes first, dots and all, and so does a field.
"""

from collections import Counter
from typing import TypeAlias

import pyarrow as pa

# The name of a column, and those of the fields that lie within each other.
FieldPath: TypeAlias = tuple[str, ...]


class Fields:
    """The columns of a schema, or the fields of a struct.

    Attributes:
        counts: how often there is each of their names, which pyarrow lists again each time.
    """

    def __init__(self, schema: "pa.Schema | pa.StructType") -> None:
        self._schema = schema
        self._inner: dict[str, Fields] = {}
        self.counts = Counter([field.name for field in schema])

    def find(self, name: str) -> FieldPath | None:
        """Where what is called so lies; None if there is none."""
        if self.counts[name]:
            return (name,)
        at = name.find(".")
        while at >= 0:
            inner = self._of_struct(name[:at])
            path = inner.find(name[at + 1 :]) if inner is not None else None
            if path is not None:
                return (name[:at], *path)
            at = name.find(".", at + 1)
        return None

    def _of_struct(self, name: str) -> "Fields | None":
        if name not in self._inner and self.counts[name] == 1:
            kind = self._schema.field(name).type
            if pa.types.is_struct(kind):
                self._inner[name] = Fields(kind)
        return self._inner.get(name)

    def beside(self, name: str) -> list[str]:
        """The fields of the struct that a name which is not there begins with, if it does."""
        outer = name.rpartition(".")[0]
        while outer:
            path = self.find(outer)
            if path is not None:
                return fields_of(type_at(self._schema, path), outer)
            outer = outer.rpartition(".")[0]
        return []


def type_at(schema: pa.Schema, path: FieldPath) -> pa.DataType:
    """The type of the values there."""
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind


def values_at(table: "pa.Table | pa.RecordBatch", path: FieldPath) -> "pa.ChunkedArray | pa.Array":
    """The values there; null, too, where the struct is that they lie in."""
    column = table.column(path[0])
    for name in path[1:]:
        column = column.flatten()[column.type.get_field_index(name)]
    return column


def fields_of(kind: pa.DataType, name: str) -> list[str]:
    """The names of the fields of a struct of that name; none of what is no struct."""
    return [f"{name}.{field.name}" for field in kind] if pa.types.is_struct(kind) else []
