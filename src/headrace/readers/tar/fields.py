"""The fields of samples in tar shards: which files, and how the bytes of one become an array."""

import io
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from headrace.arguments import check_ids
from headrace.arrays import Array
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.readers.npy.decoder import array_in
from headrace.readers.npy.header import parse_header, read_header
from headrace.readers.shared.format_error import FormatError
from headrace.readers.shared.sample_files import as_bytes
from headrace.readers.shared.samples.calling import Decode, call


class Field(NamedTuple):
    """One of the files that make a sample.

    Attributes:
        extensions: it has the first of these that there is.
        function: makes an array, or a number, of its bytes.
    """

    extensions: list[str]
    function: Decode

    @property
    def name(self) -> str:
        """The key of the field in a sample."""
        return self.extensions[0]

    def decode(self, data: bytes) -> Array:
        """The array in the file with these bytes; a `FormatError` if there is none."""
        array: Array = call(lambda data: np.asarray(self.function(data)), data)
        if array.dtype.hasobject:
            raise FormatError(f"it became Python objects, not an array of numbers: {array!r:.100}")
        return array


def check_fields(
    fields: str | Iterable[str] | Mapping[str, Decode | Literal[False] | None],
) -> list[Field]:
    """The fields that a user names."""
    if isinstance(fields, str):
        fields = [fields]
    if not isinstance(fields, Mapping):
        fields = dict.fromkeys(check_ids(fields, "fields"))
    checked = []
    for name, given in fields.items():
        if not isinstance(name, str) or not all(name.split(";")):
            raise bad_value("fields", name, "extensions such as 'jpg', or several, as 'jpg;png'")
        extensions = [one.lower().removeprefix(".") for one in name.split(";")]
        kinds = {one.rpartition(".")[2] for one in extensions}  # that of "seg.npy" is "npy"
        known = _DECODERS.get(kinds.pop()) if len(kinds) == 1 else None
        decode = known if given is None else as_bytes if given is False else given
        if decode is None:
            raise ArgumentError(
                f"fields must say what decodes {name!r}, which ends in none of "
                f"{', '.join(_DECODERS)}. "
                f"Pass a dict, such as {{{name!r}: hr.ImageDecoder(size)}} for images, or False in "
                "it for the bytes."
            )
        if not callable(decode):
            raise bad_type(f"fields[{name!r}]", decode, "a function of the bytes of a file")
        checked.append(Field(extensions, decode))
    firsts = [field.name for field in checked]
    if not checked or len(set(firsts)) < len(firsts):
        raise bad_value("fields", list(fields), "one or more different extensions")
    return checked


def decode_npy(data: bytes) -> Array:
    """The array in a .npy file."""
    return array_in(data, parse_header(read_header(io.BytesIO(data))))


_DECODERS: dict[str, Decode] = {"npy": decode_npy, "cls": int, "index": int, "id": int}
