"""FormatError: these bytes are no sample. And the errors that users get of it, which say where."""

from headrace.errors import SampleFormatError, SampleNotFoundError, StorageError


class FormatError(Exception):
    """The bytes of a file are not a sample; the message says why, as "it ..."."""


def bad_file(location: str, reason: object) -> SampleFormatError:
    """The error about a file none of whose samples can be read."""
    return SampleFormatError(f"{location!r} can't be read: {reason}")


def missing_file(location: str) -> SampleNotFoundError:
    """The error about a file that does not exist."""
    return SampleNotFoundError(f"there is no file {location!r}")


def bad_sample(index: int, where: str, reason: object) -> SampleFormatError:
    """The error about sample `index`, which lies at `where`, such as a file and a part of it."""
    return SampleFormatError.at(index, f"sample {index} can't be read: {where}: {reason}")


def sample_error(error: Exception, index: int, location: str, part: str = "") -> Exception:
    """What to raise where reading sample `index` met `error`.

    Args:
        error: a `FormatError` or what a library raises of damaged bytes, which become a
            `SampleFormatError`; or one of the system or of a storage, which stays what it is.
        index: the number of the sample in the reader.
        location: the path or URL of its file.
        part: of the file where the sample lies, such as "row group 3".
    """
    if isinstance(error, FileNotFoundError):
        return SampleNotFoundError.at(
            index, f"sample {index} does not exist: there is no file {location!r}"
        )
    if isinstance(error, OSError) and (error.errno or isinstance(error, StorageError)):
        error.add_note(f"headrace: while reading sample {index}, {location!r}")
        return error
    return bad_sample(index, f"{location!r}, {part}" if part else repr(location), error)
