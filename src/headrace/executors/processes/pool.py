"""The pool behind `Processes`, in a module of its own, as multiprocessing takes a while to import.

Each worker owns slots of shared memory. It makes a batch, copies it into a free slot, and sends a
message that says where; the consumer's arrays lie in the slot, and when nothing refers to them any
more, the slot goes back to its worker with the next key.

A thread of the consumer's process, the pump, hands keys to workers that are idle, takes their
messages, and replaces workers that died. It shares nothing with them but one socket each, so a
worker may be killed at any time: no lock, queue or memory is left in a bad state.
"""

import contextlib
import io
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing import connection as connections
from multiprocessing import reduction, resource_tracker, util
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from headrace.arrays import ALIGNMENT_BYTES, Lease, aligned_empty, most_kept
from headrace.errors import SharedMemoryError, WorkerDiedError
from headrace.executors.failures import Failed, loaded
from headrace.executors.lookahead import Task, closed_error, idle_seconds
from headrace.executors.processes import shared_memory
from headrace.executors.processes.shared_memory import Memory

# Smaller batches are copied through the socket. So are those of a consumer that keeps more batches
# than these: each slot takes a file descriptor, of which a process may have few.
_LEAST_SHARED_BYTES = 2**18
_MOST_SLOTS = 160
_PARENT_ALIVE_SECONDS = 5.0
# How long a worker that has closed its connection may take to tell what it died of.
_DYING_SECONDS = 1.0
# After so many workers in a row that died before they were ready, others would die, too.
_MOST_FAILED_STARTS = 3
_MOST_WORKERS_LOST = 2
_REMEDY = (
    "headrace: Processes sends the readers and the transform to its workers as a pickle. Functions "
    "and classes must be at the top level of a module that the workers can import, not in a "
    "notebook or an interactive session. Or use Threads."
)


class _Order(NamedTuple):
    """What a worker is told: to call a function that it may have from before.

    `call` is a pickle of the argument, and of the function if it has to be sent; `freed` are slots
    that may be used again.
    """

    function: int
    call: bytes
    forgotten: list[int]
    freed: list[int]


class _Made(NamedTuple):
    """What a worker answers: a pickle of the result, and where the data of its arrays lie.

    They are at `spans`, pairs of offset and length, of a slot, or without one, of the message that
    follows. The descriptor of a slot that is `new` comes last.
    """

    pickled: bytes
    spans: list[tuple[int, int]]
    nbytes: int
    slot: int | None
    new: bool
    dropped: list[int]
    copying_s: float


class _Worker:
    """A process, as its pool sees it."""

    def __init__(self, number: int, most_slots: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_work,
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
        self.task: Task | None = None
        self.functions: dict[int, Callable[[], Any]] = {}
        self.slots: dict[int, Memory] = {}
        self.freed: deque[int] = deque()

    def receive(self) -> tuple[Any, BaseException | None, float]:
        """What the worker answers: a result or an error, and how long it took to copy.

        Raises:
            EOFError, OSError: the worker has died.
        """
        answer = pickle.loads(self.connection.recv_bytes())
        if isinstance(answer, Failed):
            self.functions.clear()  # as the worker has
            return None, answer.raised(), 0.0
        memory = self._memory_of(answer)
        buffers = [memory[start : start + length] for start, length in answer.spans]
        return *loaded(answer.pickled, buffers), answer.copying_s

    def _memory_of(self, made: _Made) -> Memory:
        for slot in made.dropped:
            del self.slots[slot]
        if made.slot is None:
            memory: Memory = aligned_empty((made.nbytes,), np.dtype(np.uint8))
            if made.nbytes:
                self.connection.recv_bytes_into(memory.data)
            return memory
        if made.new:
            self.slots[made.slot] = self._attached(made.nbytes)
        return np.asarray(Lease(self.slots[made.slot], self.freed, made.slot))

    def _attached(self, nbytes: int) -> Memory:
        try:
            file = reduction.recv_handle(self.connection)
            try:
                return shared_memory.attach(file, nbytes)
            except OSError as error:
                raise RuntimeError(str(error)) from None
        except RuntimeError as error:  # what came was no descriptor, for want of a place for it
            raise SharedMemoryError(
                f"a batch of {nbytes} bytes in shared memory can't be opened: {error}. Are too "
                "many files open? Keep fewer batches, or raise the limit (ulimit -n)."
            ) from None

    def end(self, dying_seconds: float = 0) -> int | None:
        """Kills the process, if it does not die by itself in that time; its exit code."""
        self.connection.close()
        self.slots.clear()
        self.process.join(dying_seconds)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        with contextlib.suppress(ValueError):  # waited for elsewhere, so it seems to run
            self.process.close()
        return code


class ProcessPool:
    """The workers, and the thread that looks after them."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self._n = n
        self.closed = False
        self._waiting: deque[Task] = deque()
        # Closed with the last reference: who submits may be late.
        self._woken, self._wake = multiprocessing.Pipe(duplex=False)
        self._numbers = itertools.count()
        self._functions: dict[int, tuple[int, Callable[[], Any]]] = {}
        self._failed_starts = 0
        self._failure: BaseException | None = None
        self._workers: list[_Worker] = []
        # Before multiprocessing ends all its processes, as these would be replaced.
        self._at_exit = util.Finalize(None, self.close, exitpriority=10)
        self._pump = threading.Thread(target=self._run, name="headrace-pump", daemon=True)
        self._pump.start()

    def submit(self, task: Task) -> None:
        # Without a lock, as a signal handler may close the pool in the midst of this. What was
        # appended before the pool was closed will be finished by the pump.
        self._waiting.append(task)
        if self.closed:
            raise self._failure or closed_error()
        os.write(self._wake.fileno(), b"\0")

    def stop(self) -> None:
        """Lets the workers be killed, without waiting for it."""
        if self.pid != os.getpid():
            return  # a forked child: they are the parent's
        if not self.closed:
            self.closed = True
            os.write(self._wake.fileno(), b"\0")

    def close(self) -> None:
        self.stop()
        if self.pid == os.getpid() and self._pump is not threading.current_thread():
            self._pump.join()

    def _run(self) -> None:
        try:
            while not self.closed:
                self._start_workers()
                self._serve()
        except BaseException as error:
            error.add_note("headrace: while looking after the workers of Processes")
            self._failure = error
        finally:
            self.closed = True
            tasks = [worker.task for worker in self._workers if worker.task is not None]
            while self._waiting:
                tasks.append(self._waiting.popleft())
            for task in tasks:
                task.finish(None, self._failure or closed_error())
            for worker in self._workers:
                worker.end()
            self._workers.clear()
            self._at_exit.cancel()

    def _start_workers(self) -> None:
        while len(self._workers) < self._n and not self.closed:
            resource_tracker.ensure_running()  # which unblocks Ctrl-C
            # Workers are started with Ctrl-C held back: it is the consumer's.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            most_slots = max(2, _MOST_SLOTS // self._n)
            self._workers.append(_Worker(next(self._numbers), most_slots))

    def _serve(self) -> None:
        """Hands out what is waiting; then waits for anything to happen, and takes it in."""
        for worker in self._workers:
            if worker.ready and worker.task is None:
                self._hand_out(worker)
        by_handle: dict[Any, _Worker] = {}
        for worker in self._workers:
            by_handle[worker.connection] = by_handle[worker.process.sentinel] = worker
        happened = set(connections.wait([self._woken, *by_handle], idle_seconds()))
        if self._woken in happened:
            os.read(self._woken.fileno(), 4096)
        for worker in list(self._workers):
            alive = True
            if worker.connection in happened:
                alive = self._take_in(worker)
            elif worker.process.sentinel in happened:  # and it has sent nothing before
                alive = False
            if not alive:
                self._bury(worker)

    def _hand_out(self, worker: _Worker) -> None:
        """Gives the worker the next task, if there is one."""
        while self._waiting and worker.task is None:
            task = self._waiting.popleft()
            function = task.function
            if function is None:  # cancelled
                task.finish(None)
                continue
            number, reference = self._numbered(function)
            known = number in worker.functions
            try:
                call = pickle.dumps((task.argument, None if known else function), 5)
            except Exception as error:
                error.add_note(_REMEDY)
                task.finish(None, error)
                continue
            forgotten = [n for n, alive in worker.functions.items() if alive() is None]
            freed = [worker.freed.popleft() for _ in range(len(worker.freed))]
            order = _Order(number, call, forgotten, freed)
            for each in forgotten:
                del worker.functions[each]
            worker.functions[number] = reference
            try:
                worker.connection.send_bytes(pickle.dumps(order, 5))
            except OSError:  # it has died, as will be seen
                self._waiting.appendleft(task)
                return
            worker.task = task

    def _numbered(self, function: Callable[[Any], Any]) -> tuple[int, Callable[[], Any]]:
        """The number of a function, and how to see whether it still exists."""
        known = self._functions.get(id(function))
        if known is not None and known[1]() is function:
            return known
        self._functions = {i: entry for i, entry in self._functions.items() if entry[1]()}
        try:
            reference: Callable[[], Any] = weakref.ref(function)
        except TypeError:  # of its type there are none, so it is kept

            def reference() -> Any:
                return function

        self._functions[id(function)] = next(self._numbers), reference
        return self._functions[id(function)]

    def _take_in(self, worker: _Worker) -> bool:
        """Takes what the worker has sent; whether it lives."""
        try:
            if not worker.ready:
                worker.connection.recv_bytes()
                worker.ready = True
                self._failed_starts = 0
                return True
            result, error, copying_s = worker.receive()
        except (EOFError, OSError):
            return False
        task, worker.task = worker.task, None
        if task is not None:
            task.finish(result, error, copying_s)
        return True

    def _bury(self, worker: _Worker) -> None:
        """Lets another worker do what one that died was doing."""
        task, ready = worker.task, worker.ready
        code = _described(worker.end(_DYING_SECONDS))
        self._workers.remove(worker)
        if not ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise WorkerDiedError(
                    f"worker processes die before they can begin, the last one with {code}. What "
                    "they wrote to stderr says why. A script that uses Processes must do its work "
                    "below 'if __name__ == \"__main__\":'."
                )
        if task is None:
            return
        task.workers_lost += 1
        if task.workers_lost < _MOST_WORKERS_LOST or task.function is None:
            self._waiting.appendleft(task)
            return
        task.finish(
            None,
            WorkerDiedError(
                f"{task.workers_lost} worker processes in a row died while they made the batch of "
                f"{task.argument}; the last one ended with {code}. If that is for want of memory, "
                "use fewer processes or a smaller batch_size."
            ),
        )


def _described(code: int | None) -> str:
    if code is None:
        return "an exit code that something else took"
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: f" ({number.name})" for number in signal.Signals}
    return f"signal {-code}{names.get(-code, '')}"


def _work(connection: Connection, parent: int, most_slots: int) -> None:
    """What a worker process does until the other side of `connection` is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    desk = _Desk(connection, most_slots)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send_bytes(b"ready")
        while True:
            # Other children of the parent may hold its side of the connection open.
            while not connection.poll(_PARENT_ALIVE_SECONDS):
                if os.getppid() != parent:
                    return
            desk.serve(pickle.loads(connection.recv_bytes()))


class _Desk:
    """What a worker has at hand: functions and slots."""

    def __init__(self, connection: Connection, most_slots: int) -> None:
        self._connection = connection
        self._most_slots = most_slots
        self._functions: dict[int, Callable[[Any], Any]] = {}
        self._slots: dict[int, Memory] = {}
        self._free: list[int] = []
        self._dropped: list[int] = []  # which the consumer's process has not been told of
        self._numbers = itertools.count()

    def serve(self, order: _Order) -> None:
        """Does what it says, and answers."""
        for number in order.forgotten:
            del self._functions[number]
        self._free += order.freed
        answer: _Made | Failed
        memory, file = None, None
        try:
            result = self._call(order)
            answer, memory, file = self._packed(result)
        except BaseException as error:
            self._functions.clear()
            answer = Failed.of(error)
        self._connection.send_bytes(pickle.dumps(answer, 5))
        if memory is not None:
            self._connection.send_bytes(memory.data)
        if file is not None:
            reduction.send_handle(self._connection, file, os.getppid())
            os.close(file)

    def _call(self, order: _Order) -> Any:
        try:
            argument, sent = pickle.loads(order.call)
        except Exception as error:
            error.add_note(_REMEDY)
            raise
        if sent is not None:
            self._functions[order.function] = sent
        return self._functions[order.function](argument)

    def _packed(self, result: Any) -> tuple[_Made, Memory | None, int | None]:
        """The answer, the data that follow it, if any, and the descriptor of a new slot."""
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
        answer = _Made(pickled.getvalue(), spans, end, slot, file is not None, self._dropped, taken)
        self._dropped = []
        return answer, None if slot is not None or not end else memory, file

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

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not np.ndarray or obj.flags.forc:
            return NotImplemented
        copy = obj.copy()
        copy.flags.writeable = obj.flags.writeable
        return copy.__reduce_ex__(5)
