"""Opening what is named on the command line, in whose words errors are told."""

from headrace.errors import ArgumentError, bad_value
from headrace.formats import FormatNotClear, Opened, exists, find_format, formats, open_as
from headrace.readers.format import Format, Options

IMAGE_SIZE = "the height and width of the samples, such as 224x224"


class TypedOptions(Options):
    """Options of a reader that were typed."""

    def spelled(self, option: str) -> str:
        return f"--{option}"

    def size_missing(self) -> str:
        return IMAGE_SIZE


NONE = TypedOptions()


def open_reader(path: str, format_name: str | None = None, options: TypedOptions = NONE) -> Opened:
    """The reader of what lies at `path`, a file, a folder or a URL.

    Args:
        format_name: the name of one of the formats. Default: found out.

    Raises:
        ArgumentError: (a ValueError) nothing is there, its format is not clear, or an option is not
            one of the format.
        SampleError: the first sample is damaged, or the one file of all.
    """
    check_exists(path)
    try:
        return open_as(path, format_name, options)
    except FormatNotClear as unclear:
        raise _explained(unclear) from unclear.__cause__


def guess_format(path: str, options: TypedOptions = NONE) -> Format:
    """The format of what lies at `path`.

    Raises:
        ArgumentError: (a ValueError) nothing is there, or its format is not clear.
    """
    check_exists(path)
    try:
        return find_format(path, options)
    except FormatNotClear as unclear:
        raise _explained(unclear) from unclear.__cause__


def check_exists(path: str) -> None:
    """Raises an ArgumentError if `path` is one of this machine, and nothing is there."""
    if not exists(path):
        raise bad_value("the path", path, "that of an existing file or folder, or a URL")


def _explained(unclear: FormatNotClear) -> ArgumentError:
    return ArgumentError(
        f"the format of {unclear.path!r} is not clear, as {unclear.why}. Say it with --format: "
        f"one of {', '.join(formats())}."
    )
