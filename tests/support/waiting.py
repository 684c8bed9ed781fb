"""Waiting for what another thread or process has yet to do."""

import time


def eventually(condition, deadline_s=30):
    """Whether the condition comes true before the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()
