"""The errors of headrace.

Each class inherits `HeadraceError` and the builtin that a user would catch, and is made from one
message, so that it survives pickling and PyTorch's re-raising from a worker process.
"""

import errno
import os
import traceback
from typing import Self


class HeadraceError(Exception):
    """The base of every error that headrace raises itself."""


class ArgumentError(HeadraceError, ValueError):
    """An argument has a value that is not allowed."""


class ArgumentTypeError(HeadraceError, TypeError):
    """An argument has a type that is not allowed."""


class OutOfRangeError(HeadraceError, IndexError):
    """An index, a step or an epoch lies outside the range that exists."""


class SampleError(HeadraceError):
    """A sample can't be read. `index` is its number in the reader."""

    index: int | None = None

    @classmethod
    def at(cls, index: int, message: str) -> Self:
        """The error of this class about sample `index`."""
        error = cls(message)
        error.index = index
        return error


class SampleNotFoundError(SampleError, FileNotFoundError):
    """The file of a sample does not exist."""


class SampleFormatError(SampleError, ValueError):
    """A sample exists but does not hold what the reader expects."""


class StorageError(HeadraceError, OSError):
    """A file can't be read from where it lies, which says nothing of what it holds.

    `position` is that of the request it was for, `errno` the system's number for it, if any.
    """

    position: int | None = None
    errno: int | None = None

    @classmethod
    def at(cls, position: int, message: str) -> Self:
        """The error of this class about the request at `position`."""
        error = cls(message)
        error.position = position
        return error


class FileMissingError(StorageError, FileNotFoundError):
    """There is no file of that name."""


class AccessDeniedError(StorageError, PermissionError):
    """A file is there, perhaps, but not for this user or with these credentials."""


class ChecksumError(StorageError, ValueError):
    """What arrives does not have the checksum that it should have."""


class StateError(HeadraceError, ValueError):
    """A state can't be loaded, as it is damaged or belongs to another loader."""


class LoaderMovedError(HeadraceError, RuntimeError):
    """A loader was moved by something else than the iteration that goes on over it."""


class ExecutorClosedError(HeadraceError, RuntimeError):
    """An executor was closed while batches were still being taken from it."""


class StoppedEarlyError(HeadraceError, RuntimeError):
    """Something raised `StopIteration`, which would have ended an epoch before its last batch."""


class WorkerDiedError(HeadraceError, RuntimeError):
    """Worker processes died, and their work can't be done again."""


class SharedMemoryError(HeadraceError, MemoryError):
    """There is not enough memory to share with worker processes."""


class MissingExtraError(HeadraceError, ImportError):
    """An optional dependency is not installed."""


def bad_value(argument: str, value: object, allowed: str, remedy: str = "") -> ArgumentError:
    """An `ArgumentError` that names the argument, the value, what is allowed and the remedy."""
    return ArgumentError(_explain(argument, repr(value), allowed, remedy))


def bad_type(argument: str, value: object, allowed: str, remedy: str = "") -> ArgumentTypeError:
    """An `ArgumentTypeError` in the form of `bad_value`."""
    return ArgumentTypeError(_explain(argument, f"a {type(value).__name__}", allowed, remedy))


def missing_extra(what: str, package: str, extra: str) -> MissingExtraError:
    """The error for `what` needing `package`, which the extra `headrace[extra]` installs."""
    return MissingExtraError(
        f"{what} needs {package}, which is not installed. "
        f"Install it with: pip install 'headrace[{extra}]'"
    )


def unreadable(path: str, error: OSError) -> StorageError:
    """The error about a file or folder of this machine over which the system raised `error`."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, FileNotFoundError):
        return FileMissingError(f"there is no file {path!r}")
    return _refused(
        f"{path!r} can't be read", error, "read it, and to enter the folders that it is in"
    )


def unwritable(path: str, error: OSError) -> StorageError:
    """The error about a file of this machine over whose writing the system raised `error`."""
    if isinstance(error, StorageError):
        return error
    folder = os.path.dirname(path) or os.curdir
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        return FileMissingError(f"{path!r} can't be written: there is no folder {folder!r}")
    return _refused(f"{path!r} can't be written", error, "write to the folder that it is in")


def _refused(what: str, error: OSError, right: str) -> StorageError:
    kinds = {FileNotFoundError: FileMissingError, PermissionError: AccessDeniedError}
    kind = kinds.get(type(error), StorageError)
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    remedies = _REMEDIES | dict.fromkeys(
        (errno.EACCES, errno.EPERM), f"This user needs the right to {right}"
    )
    explained = kind(f"{what}: {reason}" + (f". {remedies[number]}" if number in remedies else ""))
    explained.errno = error.errno
    return explained


# What helps, by the system's numbers, where its own words do not say it.
_REMEDIES = {
    errno.ELOOP: "A link leads back to itself",
    errno.EMFILE: "Raise the limit of this process, as with `ulimit -n`",
    errno.ESTALE: "It was replaced where it is served from: open it again, or mount that again",
}


def stopped_early(error: StopIteration, where: str) -> StoppedEarlyError:
    """The error for what raised `StopIteration`, to be raised from it.

    Args:
        error: what was raised.
        where: what was called, such as "the transform".
    """
    frames = traceback.extract_tb(error.__traceback__)
    line = f", in {frames[-1].name} ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return StoppedEarlyError(
        f"{where} raised {error!r}{line}, by which Python ends a loop: it would have ended the "
        "epoch early. If it is of a call of next(), give that a default or catch it."
    )


def _explain(argument: str, received: str, allowed: str, remedy: str) -> str:
    if len(received) > 200:
        received = received[:200] + "..."
    message = f"{argument} must be {allowed}, but {received} was given."
    return f"{message} {remedy}" if remedy else message
