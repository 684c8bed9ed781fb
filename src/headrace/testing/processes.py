"""Other processes and deadlines, which the contracts of readers and of executors both need."""

import contextlib
import multiprocessing
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

import pytest

# For what should take milliseconds: only something that hangs takes longer.
DEADLINE_SECONDS = 120.0
START_METHODS = multiprocessing.get_all_start_methods()
needs_fork = pytest.mark.skipif("fork" not in START_METHODS, reason="this system can't fork")


def in_new_process(function: Callable[..., Any], *arguments: Any, method: str = "spawn") -> Any:
    """What `function(*arguments)` returns in a process of its own, which then has to end."""
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_outcome, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        assert receiver.poll(DEADLINE_SECONDS), f"{function.__name__} hangs in a new process"
        result, failure = receiver.recv()
        assert not failure, failure
        process.join(DEADLINE_SECONDS)
        assert process.exitcode == 0, f"the process does not end: exit code {process.exitcode}"
        return result
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _send_outcome(sender: Connection, function: Callable[..., Any], arguments: Any) -> None:
    try:
        outcome = function(*arguments), ""
    except BaseException:
        outcome = None, traceback.format_exc()
    sender.send(outcome)
    sender.close()


def within_deadline(function: Callable[[], Any]) -> Any:
    """What `function()` returns or raises; fails if it hangs."""
    outcome: Future[Any] = Future()

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
