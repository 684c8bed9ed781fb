"""What the tests of storages fetch, also in other processes, which import it by name."""

import multiprocessing

import headrace as hr
from headrace.storage import Request


def fetched(storage, requests):
    """The bytes for each request, in their order."""
    found = {position: bytes(data) for position, data in storage.fetch(requests)}
    return [found[position] for position in range(len(requests))]


def send_fetched(sender, storage, requests):
    """Sends what a process gets of a storage."""
    sender.send(fetched(storage, requests))
    sender.send(storage.names())
    sender.send(storage.size("large.bin"))
    try:
        fetched(storage, [Request("nope")])
    except hr.FileMissingError:
        sender.send(multiprocessing.current_process().pid)
