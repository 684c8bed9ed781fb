"""Folders whose files this process may not read, also where the tests run as root."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_NOBODY = 65534


@contextlib.contextmanager
def without_rights():
    """This process as a user who may read what all may read."""
    if not hasattr(os, "geteuid"):
        pytest.skip("rights of files are POSIX's")
    if os.geteuid():
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def folder_for_all():
    """A new folder that others may enter; pytest's own may be entered by their user alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(parent, name), 0o755)  # or it could not be emptied
        shutil.rmtree(folder)
