"""The command line of headrace: `headrace` and `python -m headrace`.

Requires the extra `headrace[cli]`, and `headrace demo` the extra `headrace[demo]`. Promises that
what is missing is named together with the extra that brings it, and that importing this module
imports neither.
"""

import os
import sys

from headrace.errors import HeadraceError, missing_extra


def main() -> int:
    """Runs the command line; its exit status."""
    try:
        status = _run()
    except SystemExit as error:  # as typer ends
        if not isinstance(error.code, int):
            raise
        status = error.code
    if "obstore" in sys.modules:
        # Its threads may let go of objects of Python's when the interpreter has ended, which
        # crashes it, and a crash is another exit status.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _run() -> int:
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
