"""What the tests of storages read from, and what they get."""

import headrace as hr

# Long enough for any test on a slow machine: what must fail is made to fail by its own deadline.
PATIENT = {"deadline_seconds": 300.0}


def remote(address, folder="objects", **arguments):
    options = {"endpoint": address, "skip_signature": True}
    return hr.Remote(f"s3://bucket/{folder}", options=options, **{**PATIENT, **arguments})


def fetched(storage, requests):
    """The bytes for each request, in their order."""
    found = {position: bytes(data) for position, data in storage.fetch(requests)}
    return [found[position] for position in range(len(requests))]


def once(fault):
    """The plan of a proxy: each object's first request meets the fault."""
    return lambda name, before: fault if before == 0 else None


def always(fault):
    return lambda name, before: fault
