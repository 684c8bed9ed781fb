"""Storage: where the bytes of files lie. One file for each place, one contract: `Storage`."""

from headrace.storage.folder import Folder
from headrace.storage.opening import open_storage
from headrace.storage.storage import Request, Storage

__all__ = ["Folder", "Request", "Storage", "open_storage"]
