"""Which storage a root is: a folder of this machine, or one behind a URL."""

import os
import re

from headrace.errors import ArgumentTypeError, bad_type
from headrace.storage.local.folder import Folder
from headrace.storage.storage import Storage

Root = str | os.PathLike[str] | Storage

_METHODS = ("root", "location", "local_path", "fetch", "size", "sizes", "names")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_storage(root: Root) -> Storage:
    """The storage at `root`: a folder, a URL such as "s3://bucket/folder", or a storage itself.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) it is none of these.
        MissingExtraError: (an ImportError) a URL, without headrace[remote] installed.
    """
    if isinstance(root, Storage):
        return root
    if not isinstance(root, (str, os.PathLike)):
        raise _no_storage(root)
    if is_url(root):
        # Here, as it takes more time than all else that is imported for files of this machine.
        from headrace.storage.remote.remote import Remote

        return Remote(os.fspath(root))
    return Folder(root)


def is_url(root: str | os.PathLike[str]) -> bool:
    """Whether `root` names something by its URL."""
    return isinstance(root, str) and _URL.match(root) is not None


def _no_storage(root: object) -> ArgumentTypeError:
    missing = [name for name in _METHODS if not hasattr(root, name)]
    if hasattr(root, "fetch") and missing:
        allowed = "a storage with all of headrace.storage.Storage"
        return bad_type("root", root, allowed, f"It has no {' and no '.join(missing)}.")
    return bad_type("root", root, "a folder, a URL, or a headrace.Remote")
