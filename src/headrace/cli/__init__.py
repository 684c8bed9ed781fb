"""The command line of headrace: `headrace` and `python -m headrace`.

Requires the extra `headrace[cli]`, and `headrace demo` the extra `headrace[demo]`. Promises that
what is missing is named together with the extra that brings it, and that importing this module
imports neither.
"""

import io
import sys

from headrace.errors import HeadraceError, missing_extra


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
        app()
    except HeadraceError as error:
        # Its message is written for users; a traceback would bury it.
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0
