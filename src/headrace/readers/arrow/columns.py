"""The columns that are asked for of Arrow and Parquet files, as samples. Requires pyarrow."""

import contextlib
import re
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.arguments import check_dtype, keeps_kind
from headrace.arrays import DType
from headrace.errors import (
    ArgumentError,
    HeadraceError,
    MissingExtraError,
    SampleFormatError,
    bad_value,
)
from headrace.readers.arrow.decoding import shape_of_first, whole
from headrace.readers.arrow.fields import FieldPath, Fields, fields_of, type_at, values_at
from headrace.readers.arrow.types import Stored, has_any_length, is_list, stored_as
from headrace.readers.arrow.values import Column, Wanted
from headrace.readers.reader import Spec
from headrace.readers.shared.format_error import FormatError, bad_sample
from headrace.readers.shared.named_arrays import DTypes, dtypes_by_key
from headrace.readers.shared.samples.ragged_parts import ragged_keys

# What pyarrow says of a codec that it was built without, and of one that no version has.
_NO_CODEC = re.compile(
    "Support for codec .* not built|compression is supported by the Parquet format in"
)

_NOT_EMBEDDED = (
    "is null: its file is not in the table, which only names it, in `path`. Have `datasets` put it "
    "there: save_to_disk does, and before to_parquet, dataset.with_format('arrow')"
    ".map(datasets.table.embed_table_storage, batched=True)"
)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """What pyarrow raises within of damaged bytes comes as a `FormatError`.

    Raises:
        MissingExtraError: this pyarrow was built without what the bytes are compressed with.
    """
    try:
        yield
    except HeadraceError:
        raise
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # which is the system's
        if _NO_CODEC.search(str(error)):
            remedy = "Install a pyarrow that has it, or compress with another, such as ZSTD"
            raise MissingExtraError(f"{error}. {remedy}") from None
        raise FormatError(str(error)) from None


def columns_of_files(
    wanted: Wanted,
    schemas: list[pa.Schema],
    locations: list[str],
    lengths: list[int],
    first_rows: Callable[[list[FieldPath]], pa.Table],
) -> list[list[Column]]:
    """The columns to read, as each of the files stores them.

    What a file without rows says of its columns does not count: writers that do not know better
    give them the type null.

    Args:
        wanted: what is asked for.
        schemas: of the files.
        locations: of the files, for messages.
        lengths: how many rows each has.
        first_rows: gives some columns of the first rows of all, to tell the length of lists.

    Raises:
        ArgumentError: the first file with rows has no such columns, or can't give them.
        SampleFormatError: the first row does not tell the length of lists; or another file does
            not have the same samples.
    """
    first = next((number for number, length in enumerate(lengths) if length), 0)
    chosen = _choose(wanted, schemas[first], locations[first], first_rows)
    converts = wanted.dtype is not None
    of_files = [chosen] * len(schemas)
    for number in range(first + 1, len(schemas)):
        if lengths[number]:
            schema, location = schemas[number], locations[number]
            fields = Fields(schema)
            fitted = [
                _fitted(one, schema, fields, location, locations[first], converts) for one in chosen
            ]
            of_files[number] = chosen if fitted == chosen else fitted
    return of_files


def _choose(
    wanted: Wanted,
    schema: pa.Schema,
    location: str,
    first_rows: Callable[[list[FieldPath]], pa.Table],
) -> list[Column]:
    """The columns of the first file."""
    names = _names_by_key(schema.names, wanted)
    if wanted.chosen is None and not names:
        raise ArgumentError(f"columns must be at least one, but {location!r} has none.")
    present = Fields(schema)
    paths = {key: _path(present, name, wanted, location) for key, name in names.items()}
    named = ragged_keys(wanted.ragged, names)
    stored, unfit, ragged, has_bytes = {}, {}, {}, False
    fields: list[str] = []
    for key, name in names.items():
        kind = type_at(schema, paths[key])
        ragged[key] = key in named or (wanted.ragged is True and has_any_length(kind))
        try:
            stored[key] = stored_as(kind, ragged[key])
        except FormatError as error:
            of_list = f"is {kind}, whose element " if is_list(kind) else ""
            unfit[name] = f"column {name!r} {of_list}{error}"
            if key in named:
                allowed = f"keys of columns of lists of numbers, strings or binaries; {unfit[name]}"
                raise bad_value("ragged", key, allowed) from None
            has_bytes = has_bytes or (has_any_length(kind) and not is_list(kind))
            fields += fields_of(kind, name)
    if unfit:
        fitting = [name for name in names.values() if name not in unfit]
        others = f" To leave it out, pass columns={fitting}." if fitting else ""
        raise ArgumentError(
            f"columns must be numbers of a fixed size, but in {location!r} "
            f"{'; '.join(unfit.values())}. "
            + ("To read strings and binaries as their bytes, pass ragged=True. " * has_bytes)
            + (f"Of a struct, name its fields, such as columns={fields[0]!r}. " if fields else "")
            + f"Store numbers, or read it with hr.GetItem.{others}"
        )
    lists = {paths[key] for key, one in stored.items() if None in one.shape[ragged[key] :]}
    rows = first_rows(sorted(lists)) if lists else None
    dtypes = dtypes_by_key(wanted.dtype, names)
    columns = []
    for key, name in names.items():
        one = stored[key]
        first = None if rows is None or paths[key] not in lists else values_at(rows, paths[key])
        shape = _shape(one, name, first, location, ragged[key])
        target, inner = _target(dtypes[key], one.dtype, name, wanted.dtype)
        spec = Spec((*(shape[axis] for axis in one.axes), *inner), target)
        if_null = _NOT_EMBEDDED if _is_encoded_file(schema, paths[key]) else ""
        columns.append(Column(key, name, paths[key], shape, one.axes, one.dtype, spec, if_null))
    return columns


def _is_encoded_file(schema: pa.Schema, path: FieldPath) -> bool:
    """Whether it is the bytes of a file, as `datasets` of Hugging Face stores images and sound."""
    outer = type_at(schema, path[:-1]) if len(path) > 1 else None
    return path[-1] == "bytes" and outer is not None and outer.get_field_index("path") >= 0


def _names_by_key(present: list[str], wanted: Wanted) -> dict[str, str]:
    chosen = wanted.chosen
    if isinstance(chosen, dict):
        names = chosen
    else:
        names = {name: name for name in (present if chosen is None else [chosen])}
    return names


def _path(present: Fields, name: str, wanted: Wanted, location: str) -> FieldPath:
    path = present.find(name)
    if path is None:
        there = f"{', '.join(map(repr, present.counts))} of {location!r}"
        if wanted.in_folders:
            there += f" and {', '.join(map(repr, wanted.in_folders))} of its folders"
        fields = present.beside(name)
        if fields:
            there += f", or of fields {', '.join(map(repr, fields))}"
        raise bad_value("columns", name, f"among {there}")
    times = present.counts[path[0]]
    if times > 1:
        raise ArgumentError(
            f"columns must be told by their names, but {location!r} has {path[0]!r} {times} times."
        )
    return path


def _shape(
    stored: Stored, name: str, rows: pa.ChunkedArray | None, location: str, ragged: bool
) -> tuple[int | None, ...]:
    """The shape of samples as stored; where there are lists, that of the first of some rows."""
    if rows is None:
        return stored.shape
    try:
        return shape_of_first(whole(rows), ragged)
    except FormatError as error:
        raise bad_sample(0, f"{location!r}, column {name!r}", error) from None


def _target(
    wanted: npt.DTypeLike | None, stored: DType, name: str, given: DTypes
) -> tuple[DType, tuple[int, ...]]:
    """What becomes of numbers of the dtype `stored`: a dtype, and the axes that are within one."""
    if wanted is not None and stored.kind == "V":
        return _within(wanted, stored, name)
    target = stored if wanted is None else check_dtype(wanted)
    if not keeps_kind(stored, target):
        allowed = f"one that column {name!r}, of dtype {stored}, can become"
        raise bad_value("dtype", given, f"{allowed} without changing its kind")
    return target, ()


def _within(wanted: npt.DTypeLike, stored: DType, name: str) -> tuple[DType, tuple[int, ...]]:
    """Dtype and shape of the arrays whose bytes are in binaries of a fixed size."""
    try:
        dtype: DType = np.dtype(wanted)
    except (TypeError, ValueError):
        raise bad_value("dtype", wanted, "a dtype of numpy") from None
    if dtype.itemsize != stored.itemsize:
        such_as = ", such as ml_dtypes.bfloat16" if stored.itemsize == 2 else ""
        allowed = f"of {stored.itemsize} bytes, as each value of column {name!r}{such_as}"
        raise bad_value("dtype", dtype, allowed)
    element, shape = dtype.subdtype or (dtype, ())
    if not element.isnative:
        raise bad_value("dtype", dtype, "of the machine's byte order, as nothing is swapped")
    return check_dtype(element), shape


def _fitted(
    column: Column, schema: pa.Schema, fields: Fields, location: str, first: str, converts: bool
) -> Column:
    """The column as another file stores it; an error if it would not be the same samples."""
    name = column.name
    path = fields.find(name)
    if path is None:
        raise SampleFormatError(f"{location!r} has no column {name!r}, which {first!r} has")
    kind = type_at(schema, path)
    try:
        stored = stored_as(kind, column.spec.ragged)
    except FormatError as error:
        raise SampleFormatError(
            f"{location!r}: column {name!r} {error}; in {first!r} it can be read"
        ) from None
    shape = stored.shape
    if len(shape) == len(column.shape):
        pairs = zip(shape, column.shape, strict=True)
        shape = tuple(ours if theirs is None else theirs for theirs, ours in pairs)
    alike = (shape, stored.axes) == (column.shape, column.axes)
    if not alike or not (
        stored.dtype == column.stored or (converts and keeps_kind(stored.dtype, column.spec.dtype))
    ):
        raise SampleFormatError(
            f"column {name!r} must be the same in all files, but is {kind} in {location!r}, "
            f"and of shape {column.shape} and dtype {column.stored} in {first!r}. "
            "dtype= converts numbers"
        )
    return column._replace(stored=stored.dtype, path=path)
