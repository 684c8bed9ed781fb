"""What is used of zarr although it is private, as there is nothing public in its place.

| name             | what for                                     | there in       |
| ---------------- | -------------------------------------------- | -------------- |
| `zarr.core.sync` | runs a coroutine in the event loop of zarr's | 3.1.3 to 3.1.6 |
"""

from zarr.core.sync import sync

__all__ = ["sync"]
