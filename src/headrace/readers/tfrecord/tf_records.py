"""TFRecords: records in the files of TensorFlow, read at random, without TensorFlow."""

import math
import os
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from headrace.arguments import check_bool, check_version
from headrace.arrays import Indices
from headrace.errors import ArgumentError
from headrace.readers.reader import Out, Spec, Specs, check_read
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.listing import chosen_among
from headrace.readers.shared.samples.calling import Decode, SampleWriter, call, check_decode
from headrace.readers.shared.samples.chosen_columns import ChosenColumns, Columns, Each
from headrace.readers.shared.samples.sample_values import RaggedLeaves
from headrace.readers.shared.sharded.record_reader import RecordReader
from headrace.readers.shared.sharded.records import RecordKind, Records
from headrace.readers.tfrecord.crc32c import checksum, masked
from headrace.readers.tfrecord.example import ExampleParser, Steps, Values
from headrace.readers.tfrecord.scan import AROUND_BYTES, FOOTER_BYTES, HEADER, scan
from headrace.storage.opening import Root

SUFFIXES = (".tfrecord", ".tfrecords")
# As TensorFlow Datasets calls them: "mnist-train.tfrecord-00000-of-00001".
_NAME = re.compile(r"\.tfrecords?(?:-\d+-of-\d+)?\Z")


def are_tf_records(names: list[str]) -> list[str]:
    """Those of the names that are of files of TFRecords."""
    return chosen_among([name for name in names if _NAME.search(name)], ("",))


_KIND = RecordKind(
    name="tfrecord-1",
    reader="hr.TFRecords",
    record="record",
    numbered_from=0,
    suffixes=SUFFIXES,
    chosen=are_tf_records,
    scan=scan,
)


class TFRecords(RecordReader):
    """Samples in files of TFRecords: each a tf.train.Example or a tf.train.SequenceExample, or
    bytes that a function decodes.

    The lengths of all records are read once, when the reader is made, or come from an index file.
    Each record is then read by itself, and neighbours of a batch together.

    A feature of an Example is a flat list, so its array has one axis, unless `spec` gives its
    shape: float32, or int64. A feature of bytes takes a function. Of a SequenceExample, features of
    the context are the same; a feature list is an array whose first axis runs over its steps, and
    the second over the values of a step, unless `spec` gives them a shape. If records differ in
    their numbers of steps, it is one of any length: pass `ragged`, or None as its first axis.

    Args:
        root: a file; or a folder, a URL or a storage with files that end with .tfrecord or
            .tfrecords, perhaps with a number, as in "train.tfrecord-00000-of-00010".
        columns: the features of the Examples to read: one, whose values are the samples; several,
            for samples that are dicts; or a dict of functions, such as
            {"image": hr.ImageDecoder(224), "label": None}, each of which makes an array of the
            bytes of a feature, or of its array, and of a feature list of those of each step; None
            for those that are arrays. Default: all features of the first record.
        decode: instead: makes a sample of the bytes of a record, as of `headrace.Files`.
        shards: the names of the files below root, in order; one of them may name many, such as
            "train-{000..146}.tfrecord". Default: all, sorted.
        spec: of a sample. Arrays of Examples take its shapes, and numbers are converted to its
            dtypes if that does not change their kind. Default: that of the first record, which all
            others must then have. None as its first axis lets an array have any length.
        ragged: which arrays may differ from those of the first record in the length of their first
            axis: True for all that have one, a list of keys, or bools in the structure of a sample.
        index: a file of `save_index`, so that no lengths have to be read.
        checksums: whether the checksum (CRC-32C) of each record is compared, which needs
            `headrace[tfrecord]`. Default: if that is installed. Those of lengths always are.
        version: names what the functions do, for states, as of `headrace.Files`.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) there is no such folder or
            file, there are no records, or an argument is not allowed; the index is of other files.
        MissingExtraError: (an ImportError) `checksums=True`, and google-crc32c is not installed.
        SampleFormatError: (a ValueError) a file is damaged or compressed; a record is damaged, is
            no Example, lacks a feature, or its values differ from the spec.
        StorageError: (an OSError) a file can't be read.

    Example:
        >>> import headrace as hr
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "texts.tfrecord"  # of the texts 7 and 42
        >>> _ = path.write_bytes(bytes.fromhex(
        ...     "0100000000000000 0175de41 37 80579a9e"
        ...     "0200000000000000 78270b34 3432 d247191e"
        ... ))
        >>> records = hr.TFRecords(path, decode=int)
        >>> hr.Loader(records, batch_size=2, shuffle=False).batch(0, 0).tolist()
        [7, 42]
    """

    def __init__(
        self,
        root: Root,
        columns: Columns = None,
        *,
        decode: Decode | None = None,
        shards: str | Iterable[str] | None = None,
        spec: Specs | None = None,
        ragged: RaggedLeaves = False,
        index: str | os.PathLike[str] | None = None,
        checksums: bool | None = None,
        version: str = "",
    ) -> None:
        if decode is not None:
            check_decode("decode", decode)
            if columns is not None:
                raise ArgumentError("columns and decode can't be given both: choose one of them.")
        if checksums is not None:
            check_bool("checksums", checksums)
        self._version = check_version("version", version)
        self._decode, self._checksums = decode, checksums
        checksum(checksums)
        self._columns = ChosenColumns(columns, None if decode else spec)
        self._parser = ExampleParser(self._columns.names)
        self._writer = SampleWriter(spec, self._columns.ragged(ragged))
        self._shapes = self._writer.spec if self._writer.is_known else None
        self._records = Records(_KIND, root, shards, index)
        if not self._writer.is_known:
            self._records.read(np.array([0]), self._learn)

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        self._records.read(
            indices,
            lambda data, row: self._writer.write(self._sample(self._checked(data)), out, row),
        )

    def _learn(self, data: memoryview, row: int) -> None:
        checked = self._checked(data)
        if self._decode is None:
            self._columns.check(self._parser.features(checked), "record")
        self._writer.learn(self._sample(checked))

    def _sample(self, data: bytes) -> object:
        if self._decode is not None:
            return call(self._decode, data)
        names = self._columns.names
        found = self._parser.features(data)
        values = {
            name: self._value(name, one) if names is None or name in names else None
            for name, one in found.items()
        }
        return self._columns.sample(values)

    def _checked(self, record: memoryview) -> bytes:
        """The data of a record, if it is the one that was indexed."""
        length, _ = HEADER.unpack_from(record)
        if length + AROUND_BYTES != len(record):
            raise FormatError("it is not the record that was indexed: the file was changed")
        data = bytes(record[HEADER.size : -FOOTER_BYTES])
        crc = checksum(self._checksums)
        stored = int.from_bytes(record[-FOOTER_BYTES:], "little")
        if crc is not None and masked(crc(data)) != stored:
            raise FormatError("its data do not have their checksum (CRC-32C): it is damaged")
        return data

    def _value(self, name: str, values: Values | Steps) -> object:
        """The array of a feature; its bytes, for the function that it has."""
        if isinstance(values, Steps):
            return self._of_steps(name, values)
        if isinstance(values, list):
            if not self._columns.has_function(name):
                raise FormatError(
                    f"feature {name!r} holds bytes. Say what makes an array of them, such as "
                    f"columns={{{name!r}: decode}}, or name the other features with columns="
                )
            if len(values) != 1:
                raise FormatError(f"feature {name!r} holds {len(values)} values of bytes, not one")
            return values[0]
        spec = self._spec_of(name)
        if spec is not None and not self._columns.has_function(name):
            return _shaped(values, spec)
        return values

    def _of_steps(self, name: str, steps: Steps) -> object:
        """The array of a feature list; or the values of each step, for the function that it has."""
        n = len(steps.counts)
        if not n and not self._writer.is_known:
            raise FormatError(
                f"feature list {name!r} has no steps, which would tell their shape. Pass spec="
            )
        if self._columns.has_function(name):
            return Each(self._value(name, values) for values in steps.each())
        if isinstance(steps.values, list):
            return self._value(name, steps.values)
        if not n:
            return []
        fewest, most = int(steps.counts.min()), int(steps.counts.max())
        if fewest != most:
            raise FormatError(
                f"feature list {name!r} has steps of {fewest} and of {most} values. Say what makes "
                f"arrays of one shape of them, such as columns={{{name!r}: function}}"
            )
        spec = self._spec_of(name)
        element = (most,) if spec is None or math.prod(spec.element) != most else spec.element
        return steps.values.reshape(n, *element)

    def _spec_of(self, name: str) -> Spec | None:
        """What the user says that the array of a feature is."""
        spec = self._shapes.get(name) if isinstance(self._shapes, dict) else self._shapes
        return spec if isinstance(spec, Spec) else None


def _shaped(values: Any, spec: Spec) -> Any:
    """The flat values in the shape of the spec, if they are as many."""
    shape = (-1, *spec.element) if spec.ragged else spec.shape
    try:
        return values.reshape(shape)
    except ValueError:
        return values
