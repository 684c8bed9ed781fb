"""What is no good file, in the place of one, and what is to be said of it."""

import contextlib
import errno
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.errors import SampleError

# Whoever opens a pipe without waiting for a writer has it open for a moment only.
_SECONDS_BETWEEN_LOOKS = 1.0

DAMAGES = ("removed", "cut short", "emptied", "overwritten")
SPECIAL = ("a pipe", "a folder", "a link to itself", "a file that may not be read")


def damage(file: Path, kind: str) -> type[Exception]:
    """Damages a file, in one of the ways of `DAMAGES`: what reading it has to raise then."""
    if kind == "removed":
        file.unlink()
        return FileNotFoundError
    data = file.read_bytes()
    file.write_bytes({"cut short": data[:-1], "emptied": b""}.get(kind, b"?" * len(data)))
    return ValueError


def assert_named(error: BaseException, file: Path, index: int) -> None:
    """The error, or a note of it, names the file and the index of the sample."""
    said = "\n".join([str(error), *getattr(error, "__notes__", ())])
    assert file.name in said
    assert re.search(rf"\b{index}\b", said.replace(file.name, ""))


@contextlib.contextmanager
def assert_unreadable(file: Path, index: int) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """What is done within raises that the file of a sample can't be read, and not that it is bad.

    Nothing is known of the sample then, which must not be replaced as a bad one is.
    """
    with pytest.raises(Exception) as caught:  # noqa: PT011  (its class is looked at below)
        yield caught
    assert isinstance(caught.value, OSError)
    assert not isinstance(caught.value, SampleError)
    assert_named(caught.value, file, index)


@contextlib.contextmanager
def in_place_of(file: Path, kind: str) -> Iterator[None]:
    """Has something that can't be read at the path of a file, one of `SPECIAL`.

    The test fails if somebody waits for the pipe, and is skipped where there is no such thing.
    """
    if kind == "a file that may not be read":
        file.chmod(0)
        if os.access(file, os.R_OK):
            pytest.skip("this user may read everything")
        yield
        return
    file.unlink()
    if kind == "a pipe":
        with named_pipe(file):
            yield
        return
    if kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to(file)
    yield


@contextlib.contextmanager
def named_pipe(path: Path) -> Iterator[None]:
    """Has a named pipe at `path`, to which nobody writes; fails the test if somebody waits for it.

    So a reader that waits for ever fails its test, and does not stop the others.
    """
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)
    ended = threading.Event()
    waited = threading.Event()

    def look() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.ENOENT):
                    raise
            else:
                waited.set()  # and whoever waited meets the end of the pipe

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
        if waited.is_set():
            pytest.fail(f"it waits until somebody writes to the named pipe {path.name!r}")
