"""A process that makes the requests of this one, with obstore.

The threads of obstore do not survive a fork, so that anything asked of it in the child waits for
ever; and they may call into an interpreter that has ended, which crashes it. Neither can happen
where user code never runs: in a fresh interpreter, spoken to over a pair of sockets. It ends with
the process that it works for, also if that is killed, as its end of the pair then reads as ended.
"""

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.storage.remote.client import Endpoint, Listed, ObstoreClient, Reply
from headrace.storage.remote.retries import AttemptFailed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_Result = Reply | Listed | int | Exception


class _Call(NamedTuple):
    """What the helper is asked for: a method of its `ObstoreClient`, with the pickled endpoint."""

    number: int
    method: str
    endpoint: bytes
    arguments: tuple[object, ...]


# The path is set before anything is imported, so that the modules are those of this process.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headrace.storage.remote.helper_process import serve; serve(int(sys.argv[2]))"
)


# Of the environment, what obstore reads: a helper is told, as it may have changed since it started.
_VARIABLES = ("AWS_", "AZURE_", "AZURITE_", "GOOGLE_")
# Clients that a helper keeps, those used last; each holds its connections.
_MOST_ENDPOINTS = 64
_LENGTHS = struct.Struct("=QQ")  # of a message, and of the data after it plus one, 0 without any
_SOCKET_BYTES = 2**20


class Channel:
    """Messages, each a pickle and perhaps bytes, over a socket: one thread sends, one receives."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)

    def send(self, message: object, data: "ReadableBuffer | None" = None) -> None:
        """Raises an OSError if the other side has ended."""
        pickled = pickle.dumps(message)
        view = None if data is None else memoryview(data).cast("B")
        lengths = _LENGTHS.pack(len(pickled), 0 if view is None else len(view) + 1)
        self._socket.sendall(lengths + pickled)
        if view:
            self._socket.sendall(view)

    def receive(self) -> tuple[Any, memoryview | None]:
        """Waits for the next message; raises an EOFError or OSError if the other side has ended."""
        length, data_length = _LENGTHS.unpack(self._exactly(_LENGTHS.size))
        message = pickle.loads(self._exactly(length))
        return message, self._exactly(data_length - 1) if data_length else None

    def shut_down(self) -> None:
        """Both sides then read as ended."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Frees the socket of this process, and of no other that has it, too."""
        self._socket.close()

    def _exactly(self, length: int) -> memoryview:
        data = memoryview(bytearray(length))
        received = 0
        while received < length:
            count = self._socket.recv_into(data[received:])
            if not count:
                raise EOFError
            received += count
        return data


class HelperClient:
    """Has requests made by a helper process, which is started on first use, and again if it dies.

    All methods run in one event loop.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._helper: _Helper | None = None

    async def get(
        self, endpoint: Endpoint, name: str, start: int, stop: int | None, most_bytes: int
    ) -> Reply:
        """As `ObstoreClient.get`."""
        reply: Reply = await self._call("get", endpoint, name, start, stop, most_bytes)
        return reply

    async def size(self, endpoint: Endpoint, name: str) -> int:
        """As `ObstoreClient.size`."""
        size: int = await self._call("size", endpoint, name)
        return size

    async def names(self, endpoint: Endpoint, after: str) -> Listed:
        """As `ObstoreClient.names`."""
        listed: Listed = await self._call("names", endpoint, after)
        return listed

    def close(self) -> None:
        """Ends the helper process."""
        if self._helper is not None:
            self._helper.close()

    def abandon(self) -> None:
        """Closes what a forked child has inherited, so that the helper does not wait for it."""
        if self._helper is not None:
            self._helper.channel.close()

    async def _call(self, method: str, endpoint: Endpoint, *arguments: object) -> Any:
        if self._helper is None or self._helper.ended:
            self._helper = _Helper(asyncio.get_running_loop())
        return await self._helper.call(next(self._numbers), method, endpoint, arguments)


class _Helper:
    """The process, and the thread that reads what it sends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended = False
        self._loop = loop
        self._calls: dict[int, asyncio.Future[_Result]] = {}
        self._endpoints: weakref.WeakKeyDictionary[Endpoint, bytes] = weakref.WeakKeyDictionary()
        ours, its = socket.socketpair()
        with its:
            self.channel = Channel(ours)
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self._reader = threading.Thread(target=self._read, name="headrace-helper", daemon=True)
        self._reader.start()

    async def call(
        self, number: int, method: str, endpoint: Endpoint, arguments: tuple[object, ...]
    ) -> "_Result":
        if endpoint not in self._endpoints:
            try:
                self._endpoints[endpoint] = pickle.dumps((endpoint, _environment()))
            except Exception as error:
                raise AttemptFailed(
                    f"options must be picklable, as a process of its own makes the requests, "
                    f"but {error}",
                    "never",
                ) from None
        reply: asyncio.Future[_Result] = self._loop.create_future()
        self._calls[number] = reply
        try:
            self._send(_Call(number, method, self._endpoints[endpoint], arguments))
            return await reply
        except asyncio.CancelledError:
            self._send(number)  # which cancels it
            raise
        finally:
            self._calls.pop(number, None)

    def close(self) -> None:
        """Waits until the process has ended."""
        self.channel.shut_down()
        self._reader.join()

    def _send(self, message: "_Call | int") -> None:
        with contextlib.suppress(OSError):  # it has ended: `_read` sees that, too
            self.channel.send(message)

    def _read(self) -> None:
        """Runs in a thread until the process ends."""
        try:
            while True:
                (number, result), data = self.channel.receive()
                if data is not None:
                    result = result._replace(data=data)
                self._loop.call_soon_threadsafe(self._settle, number, result)
        except (EOFError, OSError, RuntimeError):  # the last, if the loop has ended
            self.ended = True
            self.channel.shut_down()
            self._process.wait()
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._give_up)

    def _settle(self, number: int, result: _Result) -> None:
        call = self._calls.get(number)
        if call is None or call.done():
            return
        if isinstance(result, Exception):
            call.set_exception(result)
        else:
            call.set_result(result)

    def _give_up(self) -> None:
        for number in list(self._calls):
            self._settle(number, AttemptFailed("the helper process has ended"))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}


def serve(descriptor: int) -> None:
    """Makes the requests that come through the socket, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that it works for
    channel = Channel(socket.socket(fileno=descriptor))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = _Server(channel)
    with contextlib.suppress(EOFError, OSError):
        while True:
            loop.call_soon_threadsafe(server.accept, channel.receive()[0])
    os._exit(0)


class _Server:
    """What runs in the loop of the helper process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._client = ObstoreClient()
        self._endpoints: dict[bytes, Endpoint] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._answers: queue.SimpleQueue[tuple[int, _Result]] = queue.SimpleQueue()
        # A thread of its own, as the loop must not wait for a process that is slow to take them.
        threading.Thread(target=self._answer, daemon=True).start()

    def accept(self, message: _Call | int) -> None:
        if isinstance(message, _Call):
            number = message.number
            task = asyncio.get_running_loop().create_task(self._run(message))
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number))
        elif message in self._tasks:
            self._tasks[message].cancel()

    async def _run(self, call: _Call) -> None:
        self._answers.put((call.number, await self._result(call)))

    async def _result(self, call: _Call) -> _Result:
        try:
            # Nothing is awaited before its client is made of this environment.
            endpoint = self._endpoint(call.endpoint)
            result: _Result = await getattr(self._client, call.method)(endpoint, *call.arguments)
            return result
        except Exception as error:
            return error

    def _endpoint(self, pickled: bytes) -> Endpoint:
        endpoint = self._endpoints.pop(pickled, None)
        if endpoint is None:
            try:
                endpoint, environment = pickle.loads(pickled)
            except Exception as error:  # of whatever module it is of
                raise AttemptFailed(
                    "what is in options must be importable, as a process of its own makes the "
                    f"requests, but there {type(error).__name__}: {error}. Put a credential "
                    "provider, and what it is made of, into a module, not the script or notebook",
                    "never",
                ) from None
            before = _environment()
            for name in before.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment.items() - before.items())
            if len(self._endpoints) == _MOST_ENDPOINTS:
                del self._endpoints[next(iter(self._endpoints))]
        self._endpoints[pickled] = endpoint  # the last one now
        return endpoint

    def _answer(self) -> None:
        """Sends what comes of the requests."""
        while True:
            number, result = self._answers.get()
            data = None
            if isinstance(result, Reply):
                data, result = result.data, result._replace(data=None)
            try:
                self._channel.send((number, result), data)
            except OSError:
                os._exit(0)  # nobody is there to take it
            del data, result  # not to be kept until the next one comes
