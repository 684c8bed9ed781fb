"""Which storage a root is: a folder of this machine, or one behind a URL."""

import os
import re

from headrace.errors import bad_type
from headrace.storage.local.folder import Folder
from headrace.storage.storage import Storage

Root = str | os.PathLike[str] | Storage

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
        raise bad_type("root", root, "a folder, a URL, or a headrace.Remote")
    if is_url(root):
        from headrace.storage.remote.remote import Remote  # it loads asyncio, ssl and more

        return Remote(os.fspath(root))
    return Folder(root)


def is_url(root: str | os.PathLike[str]) -> bool:
    """Whether `root` names something by its URL."""
    return isinstance(root, str) and _URL.match(root) is not None
