"""A process that makes the requests of one in which obstore can't be used, as it was forked.

It is a fresh interpreter, spoken to over a pair of sockets. It ends with the process it works for,
as its end of the pair then reads as ended.
"""

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import weakref
from multiprocessing.connection import Connection
from typing import Any

from headrace.storage.obstore_client import Listed, ObstoreClient, Place, Reply
from headrace.storage.retries import AttemptFailed

# The path is set before anything is imported, so that the modules are those of this process.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headrace.storage.helper_process import serve; serve(int(sys.argv[2]))"
)


class HelperClient:
    """Has requests made by a helper process, which is started on first use, and again if it dies.

    All methods run in one event loop.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._helper: _Helper | None = None

    async def get(
        self, place: Place, name: str, start: int, stop: int | None, most_bytes: int
    ) -> Reply:
        """As `ObstoreClient.get`."""
        reply: Reply = await self._call("get", place, name, start, stop, most_bytes)
        return reply

    async def size(self, place: Place, name: str) -> int:
        """As `ObstoreClient.size`."""
        size: int = await self._call("size", place, name)
        return size

    async def names(self, place: Place, after: str) -> Listed:
        """As `ObstoreClient.names`."""
        listed: Listed = await self._call("names", place, after)
        return listed

    def close(self) -> None:
        """Ends the helper process."""
        if self._helper is not None:
            self._helper.close()

    def abandon(self) -> None:
        """Closes what a forked child has inherited, so that the helper does not wait for it."""
        if self._helper is not None:
            self._helper.connection.close()

    async def _call(self, method: str, place: Place, *arguments: Any) -> Any:
        if self._helper is None or self._helper.ended:
            self._helper = _Helper(asyncio.get_running_loop())
        return await self._helper.call(next(self._numbers), method, place, arguments)


class _Helper:
    """The process, and the thread that reads what it sends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended = False
        self._loop = loop
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._places: weakref.WeakKeyDictionary[Place, bytes] = weakref.WeakKeyDictionary()
        ours, its = socket.socketpair()
        with its:
            self.connection = Connection(ours.detach())
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self._reader = threading.Thread(target=self._read, name="headrace-helper", daemon=True)
        self._reader.start()

    async def call(self, number: int, method: str, place: Place, arguments: tuple[Any, ...]) -> Any:
        if place not in self._places:
            try:
                self._places[place] = pickle.dumps(place)
            except Exception as error:
                raise AttemptFailed(
                    f"options must be picklable to be used in a forked process, but {error}. "
                    "Start workers with spawn or forkserver",
                    "never",
                ) from None
        reply = self._calls[number] = self._loop.create_future()
        try:
            self._send(number, method, self._places[place], arguments)
            return await reply
        except asyncio.CancelledError:
            self._send(number)
            raise
        finally:
            self._calls.pop(number, None)

    def close(self) -> None:
        """Waits until the process has ended."""
        with socket.socket(fileno=os.dup(self.connection.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    def _send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # it has ended: `_read` sees that, too
            self.connection.send(message)

    def _read(self) -> None:
        """Runs in a thread until the process ends."""
        try:
            while True:
                number, outcome, has_data = self.connection.recv()
                if has_data:
                    outcome = outcome._replace(data=self.connection.recv_bytes())
                self._loop.call_soon_threadsafe(self._settle, number, outcome)
        except (EOFError, OSError):
            self.ended = True
            self._process.wait()
            with contextlib.suppress(RuntimeError):  # this process ends as well
                self._loop.call_soon_threadsafe(self._give_up)

    def _settle(self, number: int, outcome: Any) -> None:
        call = self._calls.get(number)
        if call is None or call.done():
            return
        if isinstance(outcome, Exception):
            call.set_exception(outcome)
        else:
            call.set_result(outcome)

    def _give_up(self) -> None:
        for number in list(self._calls):
            self._settle(number, AttemptFailed("the helper process has ended"))


def serve(descriptor: int) -> None:
    """Makes the requests that come through the socket, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that it works for
    connection = Connection(descriptor)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = _Server(connection)
    with contextlib.suppress(EOFError, OSError):
        while True:
            loop.call_soon_threadsafe(server.accept, connection.recv())
    os._exit(0)


class _Server:
    """What runs in the loop of the helper process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = ObstoreClient()
        self._places: dict[bytes, Place] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def accept(self, message: tuple[Any, ...]) -> None:
        number, *call = message
        if call:
            task = asyncio.get_running_loop().create_task(self._run(number, *call))
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number))
        elif number in self._tasks:
            self._tasks[number].cancel()

    async def _run(
        self, number: int, method: str, place_bytes: bytes, arguments: tuple[Any, ...]
    ) -> None:
        try:
            place = self._places.get(place_bytes)
            if place is None:
                place = self._places[place_bytes] = pickle.loads(place_bytes)
            outcome = await getattr(self._client, method)(place, *arguments)
        except Exception as error:
            outcome = error
        self._answer(number, outcome)

    def _answer(self, number: int, outcome: Any) -> None:
        data = outcome.data if isinstance(outcome, Reply) else None
        if data is not None:
            outcome = outcome._replace(data=None)
        try:
            self._connection.send((number, outcome, data is not None))
            if data is not None:
                self._connection.send_bytes(data)
        except OSError:
            os._exit(0)  # nobody is there to answer
