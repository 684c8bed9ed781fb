"""WorkerHandle: a worker process, as the consumer's process sees it."""

import contextlib
import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import numpy as np

from headrace.arrays import Lease, aligned_empty
from headrace.errors import SharedMemoryError
from headrace.executors.failures import Failed, loaded
from headrace.executors.processes import shared_memory
from headrace.executors.processes.messages import Call, Reply
from headrace.executors.processes.shared_memory import Memory
from headrace.executors.processes.worker import work
from headrace.executors.tasks import AnyTask

# Gives a function, or None when nobody refers to it any more.
FunctionReference = Callable[[], Callable[[Any], object] | None]


class WorkerHandle:
    """A worker process, its task, and what it is known to have: functions and slots."""

    def __init__(self, number: int, most_slots: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work,
            args=(theirs, os.getpid(), most_slots),
            name=f"headrace-{number}",
            daemon=True,
        )
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self.ready = False
        self.task: AnyTask | None = None
        self.functions: dict[int, FunctionReference] = {}
        self._slots: dict[int, Memory] = {}
        self._freed: deque[int] = deque()

    def send(self, number: int, function: FunctionReference, pickled: bytes) -> None:
        """Sends the worker a call of the function of that number.

        Raises:
            OSError: the worker has died.
        """
        forgotten = [n for n, alive in self.functions.items() if alive() is None]
        freed = [self._freed.popleft() for _ in range(len(self._freed))]
        for each in forgotten:
            del self.functions[each]
        self.functions[number] = function
        call = Call(number, pickled, forgotten, freed)
        self.connection.send_bytes(pickle.dumps(call, 5))

    def receive(self) -> tuple[Any, BaseException | None, float]:
        """What the worker answers: a result or an error, and how long it took to copy.

        Raises:
            EOFError, OSError: the worker has died.
        """
        answer: Reply | Failed = pickle.loads(self.connection.recv_bytes())
        if isinstance(answer, Failed):
            self.functions.clear()  # as the worker has
            return None, answer.raised(), 0.0
        memory = self._memory_of(answer)
        buffers = [memory[start : start + length] for start, length in answer.spans]
        return *loaded(answer.pickled, buffers), answer.copying_s

    def _memory_of(self, reply: Reply) -> Memory:
        for slot in reply.dropped:
            del self._slots[slot]
        if reply.slot is None:
            memory: Memory = aligned_empty((reply.nbytes,), np.dtype(np.uint8))
            if reply.nbytes:
                self.connection.recv_bytes_into(memory.data)
            return memory
        if reply.new:
            self._slots[reply.slot] = self._attached(reply.nbytes)
        return np.asarray(Lease(self._slots[reply.slot], self._freed, reply.slot))

    def _attached(self, nbytes: int) -> Memory:
        try:
            file = reduction.recv_handle(self.connection)
            try:
                return shared_memory.attach(file, nbytes)
            except OSError as error:
                raise RuntimeError(str(error)) from None
        except RuntimeError as error:  # what came was no descriptor, as too many files are open
            raise SharedMemoryError(
                f"a batch of {nbytes} bytes in shared memory can't be opened: {error}. Are too "
                "many files open? Keep fewer batches, or raise the limit (ulimit -n)."
            ) from None

    def end(self, dying_seconds: float = 0) -> str:
        """Kills the process, if it does not die by itself in that time; how it ended, in words."""
        self.connection.close()
        self._slots.clear()
        self.process.join(dying_seconds)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        with contextlib.suppress(ValueError):  # waited for elsewhere, so it seems to run
            self.process.close()
        return _described(code)


def _described(code: int | None) -> str:
    if code is None:
        return "an exit code that something else took"
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: f" ({number.name})" for number in signal.Signals}
    return f"signal {-code}{names.get(-code, '')}"
