"""Storage: where the bytes of files lie. One file for each place, one contract: `Storage`."""

from headrace.storage.cache.cache import Cache
from headrace.storage.local.folder import Folder
from headrace.storage.manifest import FileSums, Manifest, Summing
from headrace.storage.opening import open_storage
from headrace.storage.remote.remote import Remote
from headrace.storage.storage import Request, Storage

__all__ = [
    "Cache",
    "FileSums",
    "Folder",
    "Manifest",
    "Remote",
    "Request",
    "Storage",
    "Summing",
    "open_storage",
]
