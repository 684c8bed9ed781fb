"""What the tests of storages fetch."""


def fetched(storage, requests):
    """The bytes for each request, in their order."""
    found = {position: bytes(data) for position, data in storage.fetch(requests)}
    return [found[position] for position in range(len(requests))]
