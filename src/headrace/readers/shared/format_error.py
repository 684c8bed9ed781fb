"""FormatError: these bytes are no sample. And the errors that users get of it, which say where."""

import contextlib
from collections.abc import Iterator
from typing import TypeGuard

from headrace.errors import (
    HeadraceError,
    SampleError,
    SampleFormatError,
    SampleNotFoundError,
    StorageError,
    unreadable,
)
from headrace.readers.shared.near_names import instead_of_missing


class FormatError(Exception):
    """The bytes of a file are not a sample; the message says why, as "it ..."."""


def bad_file(location: str, reason: object) -> SampleFormatError:
    """The error about a file none of whose samples can be read."""
    return SampleFormatError(f"{location!r} can't be read: {reason}")


def missing_file(location: str) -> SampleNotFoundError:
    """The error about a file that does not exist."""
    return SampleNotFoundError(f"there is no file {location!r}")


@contextlib.contextmanager
def opening(location: str) -> Iterator[None]:
    """What is raised within, over a file of this machine, comes as an error about that file.

    Raises:
        SampleNotFoundError: there is none.
        SampleFormatError: of a `FormatError`.
        StorageError: the system can't read it.
    """
    try:
        yield
    except HeadraceError:
        raise
    except FormatError as error:
        raise bad_file(location, error) from None
    except FileNotFoundError:
        raise missing_file(location) from None
    except OSError as error:
        raise unreadable(location, error) from None


def bad_sample(index: int, where: str, reason: object) -> SampleFormatError:
    """The error about sample `index`, which lies at `where`, such as a file and a part of it."""
    return SampleFormatError.at(index, f"sample {index} can't be read: {where}: {reason}")


def sample_error(error: Exception, index: int, location: str, part: str = "") -> Exception:
    """What to raise where reading sample `index` met `error`.

    Args:
        error: a `FormatError` or what a library raises of damaged bytes, which become a
            `SampleFormatError`; or one of the system or of a storage, which becomes a
            `StorageError`: it says nothing of the sample.
        index: the number of the sample in the reader.
        location: the path or URL of its file.
        part: of the file where the sample lies, such as "row group 3".
    """
    if isinstance(error, FileNotFoundError):
        return SampleNotFoundError.at(
            index,
            f"sample {index} does not exist: there is no file {location!r}"
            f"{instead_of_missing(location)}",
        )
    if is_of_storage(error):
        explained = unreadable(location, error)
        while_reading(explained, index, f", {location!r}")
        return explained
    return bad_sample(index, f"{location!r}, {part}" if part else repr(location), error)


def is_of_storage(error: BaseException) -> TypeGuard[OSError]:
    """Whether the system or a storage has failed, and not the bytes of a file.

    Libraries raise an OSError over damaged bytes, too; that has no number.
    """
    return isinstance(error, OSError) and (
        isinstance(error, StorageError) or error.errno is not None
    )


def while_reading(error: BaseException, index: int, more: str = "") -> None:
    """Notes of an error that is not about a sample which sample it came from, for `index_in`."""
    error.add_note(f"headrace: while reading sample {index}{more}")
    vars(error)[_SAMPLE] = index


def index_in(error: Exception) -> int | None:
    """The sample that an error names, if it names one: its number in the reader that raised it."""
    index: int | None = error.index if isinstance(error, SampleError) else vars(error).get(_SAMPLE)
    return index


def renumber(error: Exception, index: int, sample: str) -> None:
    """Has an error that a view has met name the view's sample, too, whose number is `index`."""
    if isinstance(error, SampleError):
        error.args = (f"{error} ({sample})",)
        error.index = index
    else:
        error.add_note(f"headrace: which is {sample}")
        vars(error)[_SAMPLE] = index


_SAMPLE = "_headrace_sample"
