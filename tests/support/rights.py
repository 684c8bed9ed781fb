"""Folders whose files this process may not read, also where the tests run as root."""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

_NOBODY = 65534


def _is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextlib.contextmanager
def without_rights():
    """This process as a user who may read what all may read."""
    if not hasattr(os, "geteuid"):
        pytest.skip("rights of files are POSIX's")
    if not _is_root():
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
    mask = os.umask(0o022)  # whatever this user's is
    try:
        if _is_root() and not all(
            parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents
        ):
            pytest.skip("others may not enter the folder for temporary files")
        yield folder
    finally:
        os.umask(mask)
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(parent, name), 0o755)  # or it could not be emptied
        shutil.rmtree(folder)
