"""The command line of headrace: `headrace` and `python -m headrace`.

Requires the extra `headrace[cli]`, and `headrace demo` the extra `headrace[demo]`. Promises that
what is missing is named together with the extra that brings it, and that importing this module
imports neither.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from headrace.errors import HeadraceError, missing_extra
from headrace.storage.passed_over import PassedOverWarning


def main() -> int:
    """Runs the command line; the exit status, unless typer exits itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # To print a file's name must not fail, whatever it is; stderr does so by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            from headrace.cli.app import app
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in ("typer", "rich"):
                raise
            raise missing_extra("The command line", package, "cli") from error
        with _warnings_in_words():
            app()
    except HeadraceError as error:
        # Its message is written for users; a traceback would bury it.
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _warnings_in_words() -> Iterator[None]:
    """What is warned of files is told without the line of code that met them."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, PassedOverWarning):
                print(f"Warning: {message}", file=sys.stderr)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
