"""Threads that do something at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor


def at_once(work, arguments):
    """What `work` returns for each argument: called in a thread for each, which start together."""
    arguments = list(arguments)
    start = threading.Barrier(len(arguments))

    def begin(argument):
        start.wait()
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(begin, arguments))
