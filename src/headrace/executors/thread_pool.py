"""ThreadPool: threads of this process that take tasks until the pool is closed."""

import atexit
import os
import queue
import threading
import time
import weakref

from headrace.executors.tasks import AnyTask, closed_error, idle_seconds

# How long the end of the interpreter waits for batches that are being made.
_EXIT_SECONDS = 5.0

_pools: "weakref.WeakSet[ThreadPool]" = weakref.WeakSet()


class ThreadPool:
    """Threads that take tasks from a queue until they meet a None."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self.closed = self._dropping = False
        self._tasks: queue.SimpleQueue[AnyTask | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"headrace-{number}", daemon=True)
            for number in range(n)
        ]
        for thread in self._threads:
            thread.start()
        _pools.add(self)

    def run(self, task: AnyTask) -> None:
        """Does the task, in one of the threads. To be overridden where it is done elsewhere."""
        function, argument = task.function, task.argument
        if function is None:  # cancelled
            return
        try:
            result = function(argument)
        except BaseException as error:
            task.fail(error)
        else:
            task.finish(result)

    def submit(self, task: AnyTask) -> None:
        # Without a lock, as a signal handler may close the pool in the midst of this. What is put
        # before the pool is closed comes before what ends the threads.
        self._tasks.put(task)
        if self.closed:
            raise closed_error()

    def stop(self) -> None:
        """Lets the threads end after the tasks they were given, without waiting."""
        if self.pid != os.getpid():
            return  # a forked child: they are the parent's
        if not self.closed:
            self.closed = True
            for _ in self._threads:
                self._tasks.put(None)

    def close(self) -> None:
        self._dropping = True  # what waits in the queue could take as long as a store is away
        self.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=idle_seconds())
            except queue.Empty:
                continue
            if task is None:
                return
            if self._dropping:
                task.fail(closed_error())
            else:
                self.run(task)
            del task  # the batch must not outlive its consumer's use of it

    def end_at_exit(self, deadline: float) -> None:
        """Ends the threads with the tasks that they are at, if that is in time."""
        self._dropping = True
        self.stop()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


@atexit.register
def _end_all() -> None:
    """Before the interpreter ends, as a thread that it ends within a library may abort it."""
    deadline = time.monotonic() + _EXIT_SECONDS
    for pool in list(_pools):
        if pool.pid == os.getpid():
            pool.end_at_exit(deadline)
