"""Other processes and deadlines, which the contracts of readers and of executors both need.

Starting Python and importing headrace takes half a second, and each contract has tests that call
functions in another process. So `KeptProcesses` keeps one process for each start method, for all
contracts that are tested in one run of pytest.
"""

import contextlib
import gc
import multiprocessing
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from multiprocessing import connection as connections
from multiprocessing import util
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

import pytest

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE_SECONDS = 120.0
START_METHODS = multiprocessing.get_all_start_methods()
needs_fork = pytest.mark.skipif("fork" not in START_METHODS, reason="this system can't fork")

Result = TypeVar("Result")


class _Request(NamedTuple):
    """What a process is to do, and what it would have from this one if it were new.

    Attributes:
        call: a pickle of a function and its arguments, which is loaded last.
        path: `sys.path`.
        folder: the current one.
        environment: the variables.
    """

    call: bytes
    path: list[str]
    folder: str
    environment: dict[str, str]

    @classmethod
    def of(cls, function: Callable[..., object], arguments: tuple[object, ...]) -> "_Request":
        environment = {name: of for name, of in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        call = pickle.dumps((function, arguments))
        return cls(call, list(sys.path), os.getcwd(), environment)

    def result(self) -> object:
        sys.path[:] = self.path
        os.chdir(self.folder)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        function, arguments = pickle.loads(self.call)
        return function(*arguments)


class _Process:
    """A process that answers requests until `end`, as its parent sees it."""

    def __init__(self, method: str) -> None:
        context: Any = multiprocessing.get_context(method)
        self._connection, theirs = context.Pipe()
        # No daemon, as these may have no processes of their own.
        self._process = context.Process(target=_answer_requests, args=(theirs,))
        self._process.start()
        theirs.close()
        # Before multiprocessing waits for its end, where nobody has called `end`.
        util.Finalize(self, self._connection.close, exitpriority=10)

    def is_alive(self) -> bool:
        """Whether it waits for a request."""
        # Of a death the connection knows at once.
        return bool(self._process.is_alive() and not self._connection.poll())

    def call(self, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
        """What `function(*arguments)` returns there.

        Raises:
            AssertionError: it raises an error, ends its process, or hangs.
        """
        request = pickle.dumps(_Request.of(function, arguments))
        try:
            self._connection.send_bytes(request)
            if not self._connection.poll(DEADLINE_SECONDS):
                self.end(0)
                raise AssertionError(f"{function.__name__} hangs in another process")
            answer = self._connection.recv_bytes()
        except (EOFError, OSError):
            code = self.end(DEADLINE_SECONDS)
            raise AssertionError(
                f"{function.__name__} ends its process with exit code {code}"
            ) from None
        result: Result
        result, failure = pickle.loads(answer)
        assert not failure, failure
        return result

    def end(self, seconds: float) -> int:
        """Has the process end, in that time or by being killed; its exit code."""
        self._connection.close()
        self._process.join(seconds)
        self._process.kill()
        self._process.join()
        return int(self._process.exitcode)


def _answer_requests(connection: Connection) -> None:
    """What a process that is kept does, until its parent or the other side is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    # Other children of the parent may hold its side of the connection open.
    while connection in connections.wait([connection, parent.sentinel]):
        try:
            request: _Request = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(_answer(request.result))
        gc.collect()  # what the call has left behind is not there for the next one


class KeptProcesses:
    """Processes that are started when they are first used, and replaced when they have died."""

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}

    def call(
        self, function: Callable[..., Result], *arguments: object, method: str = "spawn"
    ) -> Result:
        """What `function(*arguments)` returns in the process of that start method.

        Raises:
            AssertionError: it raises an error, ends its process, or hangs.
        """
        process = self._processes.get(method)
        if process is None or not process.is_alive():
            process = self._processes[method] = _Process(method)
        return process.call(function, arguments)

    def end(self) -> None:
        """Ends them all.

        Raises:
            AssertionError: one of them hangs or crashes at its end, for what was done in it.
        """
        alive = {m: process for m, process in self._processes.items() if process.is_alive()}
        self._processes.clear()
        codes = {method: process.end(DEADLINE_SECONDS) for method, process in alive.items()}
        assert not any(codes.values()), f"processes that were used do not end well: {codes}"


_kept = KeptProcesses()


def kept_processes(request: pytest.FixtureRequest) -> KeptProcesses:
    """The processes of this run of pytest, at whose end they are ended."""
    request.session.addfinalizer(_kept.end)
    return _kept


def in_new_process(
    function: Callable[..., Result], *arguments: object, method: str = "spawn"
) -> Result:
    """What `function(*arguments)` returns in a process of its own, which then has to end.

    A forked one has the function and its arguments from this process, without a pickle.

    Raises:
        AssertionError: it raises an error, or its process hangs or does not end well.
    """
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_answer, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        assert receiver.poll(DEADLINE_SECONDS), f"{function.__name__} hangs in a new process"
        result: Result
        result, failure = pickle.loads(receiver.recv_bytes())
        assert not failure, failure
        process.join(DEADLINE_SECONDS)
        assert process.exitcode == 0, f"the process does not end: exit code {process.exitcode}"
        return result
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _send_answer(
    connection: Connection, function: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    connection.send_bytes(_answer(lambda: function(*arguments)))
    connection.close()


def _answer(call: Callable[[], object]) -> bytes:
    """A pickle of the result and "", or of None and a traceback."""
    try:
        return pickle.dumps((call(), ""))
    except BaseException:
        return pickle.dumps((None, traceback.format_exc()))


def within_deadline(function: Callable[[], Result]) -> Result:
    """What `function()` returns or raises; fails if it hangs."""
    outcome: Future[Result] = Future()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return outcome.result(DEADLINE_SECONDS)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether `condition()` comes true before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


@contextlib.contextmanager
def frequent_thread_switches() -> Iterator[None]:
    """Makes threads take turns so often that what they share is seen half-done."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
