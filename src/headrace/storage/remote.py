"""Remote: the objects of an object store or web server below a URL."""

from typing import Any


class Remote:
    """In the making."""

    def __init__(self, url: str) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
