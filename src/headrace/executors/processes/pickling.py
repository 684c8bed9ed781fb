"""Pickling of what workers are sent: by cloudpickle, if it is there, where pickle is not enough.

Pickle names functions and classes by their module, which a worker must be able to import. The main
module of a notebook or an interactive session it can't.
"""

import importlib
import os
import pickle
import sys
from multiprocessing import process

from headrace.errors import HeadraceError
from headrace.executors.processes.messages import REMEDY


def dumps(call: object, protocol: int = 5) -> bytes:
    """The pickle of an argument and perhaps a function; `pickle.loads` loads it.

    Raises:
        Exception: what pickle raises, with a note of what to do.
    """
    failed = None
    if _main_file() is None:
        by_value, failed = _by_cloudpickle(call, protocol)
        if by_value is not None:
            return by_value
    try:
        return pickle.dumps(call, protocol)
    except Exception as error:
        if failed is None:
            by_value, failed = _by_cloudpickle(call, protocol)
            if by_value is not None:
                return by_value
        if failed is not None:  # it may know better what is wrong
            error.add_note(f"headrace: cloudpickle fails, too: {type(failed).__name__}: {failed}")
        error.add_note(REMEDY)
        raise


def check_main() -> None:
    """Raises a HeadraceError if workers can't be started, as there is no file to start them of."""
    file = _main_file()
    # Relative to where the process began, as multiprocessing takes it.
    started_in: str = getattr(process, "ORIGINAL_DIR", None) or ""
    if file is None or os.path.exists(os.path.join(started_in, file)):
        return
    raise HeadraceError(
        f"Processes can't start workers of a script that was read from {file}, as each of them "
        "reads the script once more. Save it as a file, with its work below "
        "'if __name__ == \"__main__\":', and run that. Or use Threads."
    )


def _main_file() -> str | None:
    """The file that workers begin with; None in a notebook or an interactive session."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # `python -m`
        origin: str | None = spec.origin
        return origin
    file: str | None = getattr(main, "__file__", None)
    return file


def _by_cloudpickle(call: object, protocol: int) -> tuple[bytes | None, Exception | None]:
    """The pickle with functions and classes of the main module in it, or what it fails with.

    Neither without cloudpickle.
    """
    try:
        cloudpickle = importlib.import_module("cloudpickle")
    except ImportError:
        return None, None
    try:
        return cloudpickle.dumps(call, protocol), None
    except Exception as error:
        return None, error
