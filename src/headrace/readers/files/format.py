"""How files of any kind are opened by their path, with the function that decodes them."""

from headrace import readers
from headrace.errors import bad_value
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.reader import Reader


def _open(path: str, options: Options) -> Reader:
    if options.decode is None:
        allowed = "a function from the bytes of a file to arrays"
        raise bad_value(options.spelled("decode"), None, allowed)
    return readers.Files(
        with_manifest(path),
        options.decode,
        suffixes=options.suffixes,
        ids=options.ids,
        ragged=options.any_length,
    )


FORMATS = (Format("files", _open, "files.md", options=("ids", "decode", "suffixes", "ragged")),)
