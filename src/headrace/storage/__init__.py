"""Storage: where the bytes of files lie. One contract for all: `Storage`."""

from typing import TYPE_CHECKING

from headrace.lazy import lazy_names

if TYPE_CHECKING:
    from headrace.storage.cache.cache import Cache
    from headrace.storage.local.folder import Folder
    from headrace.storage.manifest import FileSums, Manifest, Summing
    from headrace.storage.opening import open_storage
    from headrace.storage.remote.remote import Remote
    from headrace.storage.storage import Request, Storage
    from headrace.storage.verified import Verified
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "headrace.storage.cache.cache": ["Cache"],
            "headrace.storage.local.folder": ["Folder"],
            "headrace.storage.manifest": ["FileSums", "Manifest", "Summing"],
            "headrace.storage.opening": ["open_storage"],
            "headrace.storage.remote.remote": ["Remote"],
            "headrace.storage.storage": ["Request", "Storage"],
            "headrace.storage.verified": ["Verified"],
        },
    )

__all__ = [
    "Cache",
    "FileSums",
    "Folder",
    "Manifest",
    "Remote",
    "Request",
    "Storage",
    "Summing",
    "Verified",
    "open_storage",
]
