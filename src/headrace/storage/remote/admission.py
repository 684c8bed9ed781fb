"""Which transfers of a process may start: a bound for requests and one for bytes.

All of it runs in one event loop, so nothing here needs a lock.
"""

import asyncio
from collections import deque
from typing import NamedTuple


class Limits(NamedTuple):
    """What all transfers together may take when one more starts."""

    requests: int
    bytes: int


class Consumer:
    """Who waits for transfers; `admitted` of them hold bytes that it has not taken.

    One of them is let through whatever others hold, so that none waits for another consumer.
    """

    def __init__(self) -> None:
        self.admitted = 0


class Ticket:
    """What one transfer may take."""

    def __init__(self, consumer: Consumer, limits: Limits) -> None:
        self.consumer = consumer
        self.limits = limits
        self.bytes = 0
        self.holds = self.moves = False


class Admission:
    """Admits transfers in the order in which they come.

    A transfer enters, moves its bytes, then holds them until they are taken.
    """

    def __init__(self) -> None:
        self._moving = self._held = 0
        self._waiting: deque[tuple[Ticket, int, asyncio.Future[None]]] = deque()

    async def enter(self, ticket: Ticket, nbytes: int) -> None:
        """Waits until there is room for a transfer of so many bytes."""
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append((ticket, nbytes, admitted))
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            self.leave(ticket)
            raise

    def arrived(self, ticket: Ticket, nbytes: int) -> None:
        """The transfer is over, and holds so many bytes."""
        self._stop_moving(ticket)
        if ticket.holds:
            self._held += nbytes - ticket.bytes
            ticket.bytes = nbytes
        self._admit()

    def leave(self, ticket: Ticket) -> None:
        """The transfer holds nothing any more. It may have left before."""
        self._stop_moving(ticket)
        if ticket.holds:
            ticket.holds = False
            ticket.consumer.admitted -= 1
            self._held -= ticket.bytes
            ticket.bytes = 0
        self._admit()

    def _stop_moving(self, ticket: Ticket) -> None:
        if ticket.moves:
            ticket.moves = False
            self._moving -= 1

    def _admit(self) -> None:
        still_waiting: deque[tuple[Ticket, int, asyncio.Future[None]]] = deque()
        full = False
        while self._waiting:
            ticket, nbytes, admitted = self._waiting.popleft()
            if admitted.done():  # cancelled
                continue
            fits = not full and self._held + nbytes <= ticket.limits.bytes
            if self._moving < ticket.limits.requests and (fits or not ticket.consumer.admitted):
                ticket.holds = ticket.moves = True
                ticket.bytes = nbytes
                ticket.consumer.admitted += 1
                self._moving += 1
                self._held += nbytes
                admitted.set_result(None)
            else:
                full = True  # smaller ones that come later must not pass it for ever
                still_waiting.append((ticket, nbytes, admitted))
        self._waiting = still_waiting
