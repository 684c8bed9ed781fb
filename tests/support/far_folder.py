"""A storage that readers do not know to be a folder of this machine."""

from headrace.storage.local.folder import Folder


class FarFolder:
    """The files of a folder, delivered in another order than that of the requests.

    Attributes:
        asked: the requests so far.
    """

    def __init__(self, root):
        self._folder = Folder(root)
        self.asked = []

    @property
    def root(self):
        return f"far:{self._folder.root}"

    def location(self, name):
        return f"{self.root}/{name}"

    def local_path(self, name=""):
        return None

    def fetch(self, requests):
        self.asked += requests
        # Backwards, but each position is that of the request as it was asked for.
        replies = list(self._folder.fetch(requests))
        yield from reversed(replies)

    def size(self, name):
        return self._folder.size(name)

    def sizes(self, names):
        return self._folder.sizes(names)

    def names(self, suffixes=("",)):
        return self._folder.names(suffixes)
