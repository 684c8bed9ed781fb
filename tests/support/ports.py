"""Ports for servers that others start."""

import contextlib
import random
import socket

# Below those of connections, any of which might else take a port before its server does.
_RANGE = range(15_000, 30_000)


def free_ports(n: int) -> list[int]:
    """Ports at which nobody listens."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_RANGE, len(_RANGE)):
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == n:
            return found
    raise OSError("no port is free")
