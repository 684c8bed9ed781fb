"""ThreadPool: threads of this process that take tasks until the pool is closed."""

import os
import queue
import threading

from headrace.executors.lookahead import Task, closed_error, idle_seconds


class ThreadPool:
    """Threads that take tasks from a queue until they meet a None."""

    def __init__(self, n: int) -> None:
        self.pid = os.getpid()
        self.closed = False
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"headrace-{number}", daemon=True)
            for number in range(n)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, task: Task) -> None:
        """Does the task, in one of the threads. To be overridden where it is done elsewhere."""
        task.run()

    def submit(self, task: Task) -> None:
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
            self.run(task)
            del task  # the batch must not outlive its consumer's use of it
