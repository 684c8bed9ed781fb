"""What the tests of executors share: threads, a clock, and scripts in processes of their own."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import in_workers
import pytest

import headrace as hr
from headrace.executors import lookahead, tasks

SUPPORT = Path(in_workers.__file__).parent
# For what should take seconds at most: only something that hangs takes longer.
DEADLINE = 120


SCRIPT = """
import gc, itertools, multiprocessing, os, signal, sys, threading, time, warnings
{top}
import numpy as np
import headrace as hr
import in_workers

def main():
{work}

if __name__ == "__main__":
    # Shells have it ignored in what they run in the background, and so in its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
"""


@pytest.fixture
def two_threads():
    executor = hr.Threads(2)
    yield executor
    executor.close()


@pytest.fixture
def clock(monkeypatch):
    """What the look-ahead takes for the time: it is moved on by a test, and hardly by itself."""
    clock, looks = SimpleNamespace(now_s=0.0), itertools.count()
    clock.perf_counter = lambda: clock.now_s + 1e-6 * next(looks)
    for module in (lookahead, tasks):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def run(tmp_path):
    """A function that starts a script in a session of its own: a file, its work in `main()`.

    What is at the `top` is done in each worker process, too.
    """
    processes = []
    path = [str(SUPPORT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]

    def start(work, *, top="", prefix=()):
        file = tmp_path / f"script_{len(processes)}.py"
        work = textwrap.indent(textwrap.dedent(work), "    ")
        file.write_text(SCRIPT.format(top=top, work=work))
        processes.append(
            subprocess.Popen(
                [*prefix, sys.executable, str(file)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def passes(run):
    """A function that runs such a script to its end, which has to come without a word."""

    def run_to_its_end(work, **options):
        process = run(f"{textwrap.dedent(work)}\nprint('passed')", **options)
        assert process.communicate(timeout=DEADLINE) == ("passed\n", "")

    return run_to_its_end
