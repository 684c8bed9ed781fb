"""How folders of sound are opened by their path: a file is a sample, of whatever length."""

from headrace import readers
from headrace.errors import bad_type, bad_value
from headrace.readers.audio.audio_files import SUFFIXES
from headrace.readers.format import Format, Options, with_manifest
from headrace.readers.reader import Reader


def _open(path: str, options: Options) -> Reader:
    if options.ragged not in (None, True):
        remedy = "For clips of one length use hr.AudioFiles(root, frames=...)."
        raise bad_value(options.spelled("ragged"), options.ragged, "True, of whole files", remedy)
    dtype = "float32" if options.dtype is None else options.dtype
    if isinstance(dtype, dict):
        raise bad_type(options.spelled("dtype"), dtype, "one dtype, as of one array")
    ids = None if options.ids is None else map(str, options.ids)
    return readers.AudioFiles(with_manifest(path), ids=ids, dtype=dtype)


FORMATS = (
    Format("audio", _open, "audio.md", options=("ids", "dtype", "ragged"), file_suffixes=SUFFIXES),
)
