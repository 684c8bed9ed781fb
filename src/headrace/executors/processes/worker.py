"""Worker: what a worker process of `Processes` does, from its start to its end."""

import contextlib
import io
import itertools
import os
import pickle
import signal
import time
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from headrace.arrays import ALIGNMENT_BYTES, most_kept
from headrace.executors.failures import Failed
from headrace.executors.processes import pickling, shared_memory
from headrace.executors.processes.messages import REMEDY, Call, Reply
from headrace.executors.processes.shared_memory import Memory

# Smaller batches are copied through the socket.
_LEAST_SHARED_BYTES = 2**18
_PARENT_ALIVE_SECONDS = 5.0


def work(connection: Connection, parent: int, most_slots: int) -> None:
    """What a worker process does until the other side of `connection` is gone.

    Args:
        connection: where calls come from and replies go to.
        parent: the number of the consumer's process.
        most_slots: how many slots it may have at a time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    worker = Worker(connection, most_slots)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send_bytes(b"ready")
        while True:
            # Other children of the parent may hold its side of the connection open.
            while not connection.poll(_PARENT_ALIVE_SECONDS):
                if os.getppid() != parent:
                    return
            worker.answer(pickle.loads(connection.recv_bytes()))


class Worker:
    """What a worker keeps from one call to the next: functions and slots."""

    def __init__(self, connection: Connection, most_slots: int) -> None:
        self._connection = connection
        self._most_slots = most_slots
        self._functions: dict[int, Callable[[Any], object]] = {}
        self._slots: dict[int, Memory] = {}
        self._free: list[int] = []
        self._dropped: list[int] = []  # which the consumer's process has not been told of
        self._numbers = itertools.count()

    def answer(self, call: Call) -> None:
        """Does what the call says, and sends a `Reply` or a `Failed`."""
        for number in call.forgotten:
            del self._functions[number]
        self._free += call.freed
        answer: Reply | Failed
        memory, file = None, None
        try:
            result = self._result(call)
            answer, memory, file = self._packed(result)
        except BaseException as error:
            self._functions.clear()
            answer = Failed.of(error, pickling.dumps)
        self._connection.send_bytes(pickle.dumps(answer, 5))
        if memory is not None:
            self._connection.send_bytes(memory.data)
        if file is not None:
            reduction.send_handle(self._connection, file, os.getppid())
            os.close(file)

    def _result(self, call: Call) -> object:
        try:
            argument, sent = pickle.loads(call.pickled)
        except Exception as error:
            error.add_note(REMEDY)
            raise
        if sent is not None:
            self._functions[call.function] = sent
        return self._functions[call.function](argument)

    def _packed(self, result: object) -> tuple[Reply, Memory | None, int | None]:
        """The reply, the data that follow it, if any, and the descriptor of a new slot."""
        began = time.perf_counter()
        found: list[pickle.PickleBuffer] = []
        pickled = io.BytesIO()
        _Pickler(pickled, 5, buffer_callback=found.append).dump(result)
        buffers = [buffer.raw() for buffer in found]
        spans, end = [], 0
        for buffer in buffers:
            spans.append((end, buffer.nbytes))
            end += -(-buffer.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        slot, file = None, None
        may_share = self._free or len(self._slots) < self._most_slots
        if may_share and end >= _LEAST_SHARED_BYTES:
            slot, file = self._slot(end)
            memory = self._slots[slot]
        else:
            memory = np.empty(end, np.uint8)
        for buffer, (start, length) in zip(buffers, spans, strict=True):
            memory[start : start + length].data[:] = buffer
        taken = time.perf_counter() - began
        reply = Reply(pickled.getvalue(), spans, end, slot, file is not None, self._dropped, taken)
        self._dropped = []
        return reply, None if slot is not None or not end else memory, file

    def _slot(self, nbytes: int) -> tuple[int, int | None]:
        """A free slot of at least that size, and its descriptor if it is new."""
        fitting = [slot for slot in self._free if len(self._slots[slot]) >= nbytes]
        file = None
        if fitting:
            slot = min(fitting, key=lambda fit: len(self._slots[fit]))
            self._free.remove(slot)
            surplus = self._free[most_kept(nbytes) :]
        else:
            surplus = list(self._free)  # too small
        for each in surplus:
            self._free.remove(each)
            del self._slots[each]
            self._dropped.append(each)
        if not fitting:
            slot = next(self._numbers)
            file = shared_memory.create(nbytes)
            self._slots[slot] = shared_memory.attach(os.dup(file), nbytes)
        return slot, file


class _Pickler(pickle.Pickler):
    """Leaves the data of arrays out, also where they have gaps."""

    def reducer_override(self, obj: object) -> Any:
        if type(obj) is not np.ndarray or obj.flags.forc:
            return NotImplemented
        copy = obj.copy()
        copy.flags.writeable = obj.flags.writeable
        return copy.__reduce_ex__(5)
