"""ProcessPool: the workers of `Processes`, and the thread that looks after them.

In a module of its own, as multiprocessing takes a while to import.

Each worker owns slots of shared memory. It makes a batch, copies it into a free slot, and sends a
message that says where; the consumer's arrays lie in the slot, and when nothing refers to them any
more, the slot goes back to its worker with the next call.

A thread of the consumer's process, the pump, sends calls to workers that are idle, takes their
messages, and replaces workers that died. It shares nothing with them but one socket each, so a
worker may be killed at any time: no lock, queue or memory is left in a bad state.
"""

import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing import connection as connections
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from typing import Any

from headrace.errors import WorkerDiedError
from headrace.executors.processes import pickling
from headrace.executors.processes.worker_handle import FunctionReference, WorkerHandle
from headrace.executors.tasks import AnyTask, closed_error, idle_seconds

# Each slot takes a file descriptor, of which a process may have few. A consumer that keeps more
# batches than these gets the others copied.
_MOST_SLOTS = 160
# How long a worker that has closed its connection may take to tell what it died of.
_DYING_SECONDS = 1.0
# After so many workers in a row that died before they were ready, others would die, too.
_MOST_FAILED_STARTS = 3
_MOST_WORKERS_LOST = 2


class ProcessPool:
    """`n` worker processes, which are kept until the pool is closed."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self._n = n
        self.closed = False
        self._waiting: deque[AnyTask] = deque()
        # Closed with the last reference: who submits may be late.
        self._woken, self._wake = multiprocessing.Pipe(duplex=False)
        self._numbers = itertools.count()
        self._functions: dict[int, tuple[int, FunctionReference]] = {}
        self._failed_starts = 0
        self._failure: BaseException | None = None
        self._workers: list[WorkerHandle] = []
        # Before multiprocessing ends all its processes, as these would be replaced.
        self._at_exit = util.Finalize(None, self.close, exitpriority=10)
        self._pump = threading.Thread(target=self._run, name="headrace-pump", daemon=True)
        self._pump.start()

    def submit(self, task: AnyTask) -> None:
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
                task.fail(self._failure or closed_error())
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
            self._workers.append(WorkerHandle(next(self._numbers), most_slots))

    def _serve(self) -> None:
        """Sends out what is waiting; then waits for anything to happen, and sees to it."""
        for worker in self._workers:
            if worker.ready and worker.task is None:
                self._send_next(worker)
        by_handle: dict[Connection | int, WorkerHandle] = {}
        for worker in self._workers:
            by_handle[worker.connection] = by_handle[worker.process.sentinel] = worker
        happened = set(connections.wait([self._woken, *by_handle], idle_seconds()))
        if self._woken in happened:
            os.read(self._woken.fileno(), 4096)
        for worker in list(self._workers):
            alive = True
            if worker.connection in happened:
                alive = self._receive(worker)
            elif worker.process.sentinel in happened:  # and it has sent nothing before
                alive = False
            if not alive:
                self._replace_dead(worker)

    def _send_next(self, worker: WorkerHandle) -> None:
        """Gives the worker the next task, if there is one."""
        while self._waiting and worker.task is None:
            task = self._waiting.popleft()
            function = task.function
            if function is None:  # cancelled
                continue
            number, reference = self._numbered(function)
            sent = None if number in worker.functions else function
            try:
                call = task.argument, sent
                pickled = pickle.dumps(call, 5) if sent is None else pickling.dumps(call)
            except Exception as error:
                task.fail(error)
                continue
            try:
                worker.send(number, reference, pickled)
            except OSError:  # it has died, as will be seen
                self._waiting.appendleft(task)
                return
            worker.task = task

    def _numbered(self, function: Callable[[Any], object]) -> tuple[int, FunctionReference]:
        """The number of a function, and how to see whether it still exists."""
        known = self._functions.get(id(function))
        if known is not None and known[1]() is function:
            return known
        self._functions = {i: entry for i, entry in self._functions.items() if entry[1]()}
        try:
            reference: FunctionReference = weakref.ref(function)
        except TypeError:  # of its type there are none, so it is kept

            def reference() -> Callable[[Any], object]:
                return function

        self._functions[id(function)] = next(self._numbers), reference
        return self._functions[id(function)]

    def _receive(self, worker: WorkerHandle) -> bool:
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
        if task is not None and error is not None:
            task.fail(error)
        elif task is not None:
            task.finish(result, copying_s)
        return True

    def _replace_dead(self, worker: WorkerHandle) -> None:
        """Lets another worker do what one that died was doing."""
        task, ready = worker.task, worker.ready
        how = worker.end(_DYING_SECONDS)
        self._workers.remove(worker)
        if not ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise WorkerDiedError(
                    f"worker processes die before they can begin, the last one with {how}. What "
                    "they wrote to stderr says why. A script that uses Processes must do its work "
                    "below 'if __name__ == \"__main__\":'."
                )
        if task is None:
            return
        task.workers_lost += 1
        if task.workers_lost < _MOST_WORKERS_LOST or task.function is None:
            self._waiting.appendleft(task)
            return
        task.fail(
            WorkerDiedError(
                f"{task.workers_lost} worker processes in a row died while they made the batch of "
                f"{task.argument}; the last one ended with {how}. If that is for want of memory, "
                "use fewer processes or a smaller batch_size."
            )
        )
