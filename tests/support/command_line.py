"""The command `headrace`, as a user gives it. Requires typer."""

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

from other_python import run_python

from headrace.cli import main


class Done(NamedTuple):
    """What the command returned and printed, as `subprocess.CompletedProcess` names it."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments):
    """Runs the command in this process, which saves the second that another takes to start."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    with (
        mock.patch.object(sys, "argv", ["headrace", *map(str, arguments)]),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            status = main()
        except SystemExit as ended:
            status = ended.code
    return Done(status or 0, *(stream.buffer.getvalue().decode() for stream in streams))


def run_apart(*arguments, **options):
    """Runs the command in a process of its own."""
    return run_python("-m", "headrace", *arguments, **options)


def assert_refused(done, *parts):
    """The command has failed, and the one error on its standard error names the parts."""
    assert done.returncode == 1
    assert done.stderr.startswith("Error: "), done.stderr
    for part in parts:
        assert part in done.stderr
