"""Measurements of contenders that make batches, each in a process of its own.

Requires Linux and numpy. A benchmark defines its contenders and calls `measure_in_turns`, which for
each measurement starts the benchmark's own file again, with a request as JSON after `--worker`;
there the benchmark calls `measure`, and prints what it returns as JSON.
"""

import ctypes
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Numbers = dict[str, Any]

# The share of the CPUs that others may use while something is measured.
_IDLE_SHARE = 0.05


class Pass(NamedTuple):
    """What an epoch gave: seconds to its first batch, and the sum of its samples' first numbers."""

    first_batch_s: float
    checksum: float


class MissingError(Exception):
    """A contender can't run; the message says what is not there."""


# Runs the epoch of that number; the flag says whether it is the warm-up, which is to be checked.
RunEpoch = Callable[[int, bool], Pass]


def consume(batches: Iterable[Any], check: bool) -> Pass:
    """Takes all batches and does nothing with them, unless they are to be checked."""
    started = time.perf_counter()
    first_batch_s = None
    checksum = 0.0
    for batch in batches:
        if first_batch_s is None:
            first_batch_s = time.perf_counter() - started
        if check:
            checksum += float(batch.reshape(len(batch), -1)[:, 0].sum())
    assert first_batch_s is not None, "an epoch has at least one batch"
    return Pass(first_batch_s, checksum)


def measure(run: RunEpoch, seconds: float, samples: int, nbytes: int, checksum: float) -> Numbers:
    """The numbers of a contender over whole epochs for `seconds`, after an epoch to warm up."""
    received = run(0, True).checksum
    if received != checksum:
        raise SystemExit(f"the samples add up to {received}; expected is {checksum}")
    passes: list[Pass] = []
    elapsed = 0.0
    all_started, cpu_started, started = busy_s(), cpu_s(), time.perf_counter()
    while elapsed < seconds:
        passes.append(run(len(passes) + 1, False))
        elapsed = time.perf_counter() - started
    cpu_used, all_used = cpu_s() - cpu_started, busy_s() - all_started
    epochs = len(passes)
    return {
        "epochs": epochs,
        "mb_per_s": epochs * nbytes / 1e6 / elapsed,
        "samples_per_s": epochs * samples / elapsed,
        "cpu_s_per_epoch": cpu_used / epochs,
        "first_batch_ms": 1e3 * passes[0].first_batch_s,
        "peak_rss_mib": peak_rss_mib(),
        "others_cpu_share": max(0.0, all_used - cpu_used) / elapsed / (os.cpu_count() or 1),
    }


def cpu_s() -> float:
    """CPU seconds that this process and its living workers have used.

    The rusage of children counts those that have ended, and these have not.
    """
    total = time.process_time()
    for worker in multiprocessing.active_children():
        clock = ctypes.c_int()
        error = ctypes.CDLL(None).clock_getcpuclockid(worker.pid, ctypes.byref(clock))
        if error:
            raise OSError(error, os.strerror(error))
        total += time.clock_gettime(clock.value)
    return total


def busy_s() -> float:
    """CPU seconds that all processes of the machine have used."""
    user, nice, system, _idle, _iowait, *interrupts = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def peak_rss_mib() -> float:
    """The most memory that this process and each of its workers have held, added up."""
    total_kib = 0
    for pid in (os.getpid(), *(worker.pid for worker in multiprocessing.active_children())):
        # Not ru_maxrss, which a process inherits from the one that started it.
        status = Path(f"/proc/{pid}/status").read_text()
        total_kib += int(status.split("VmHWM:")[1].split()[0])
    return total_kib / 1024


def measure_in_turns(
    script: Path, names: list[str], request: Numbers, rounds: int, patience_s: float
) -> tuple[dict[str, list[Numbers]], dict[str, str]]:
    """The numbers of each contender, from a process a round, and what the others are missing.

    The order rotates from round to round, so that none profits from who ran before it. For
    `patience_s` seconds in all, a measurement waits for the machine to be idle, and is taken again
    if it did not stay so.
    """
    results: dict[str, list[Numbers]] = {name: [] for name in names}
    missing: dict[str, str] = {}
    deadline = time.monotonic() + patience_s
    for number in range(rounds):
        first = 3 * number % len(names)
        for name in names[first:] + names[:first]:
            if name in missing:
                continue
            while True:
                _await_idle(deadline)
                result = _measure_apart(script, {"name": name, **request})
                if "missing" in result:
                    missing[name] = shown = result["missing"]
                    break
                busy = result["others_cpu_share"]
                if busy <= _IDLE_SHARE or time.monotonic() > deadline:
                    results[name].append(result)
                    shown = f"{result['mb_per_s']:.0f} MB/s, while others used {busy:.0%}"
                    break
            print(f"round {number + 1} of {rounds}: {name}: {shown}", file=sys.stderr)
    return results, missing


def _measure_apart(script: Path, request: Numbers) -> Numbers:
    worker = subprocess.run(
        [sys.executable, str(script), "--worker", json.dumps(request)],
        stdout=subprocess.PIPE,
        timeout=600,
    )
    if worker.returncode:
        raise SystemExit(f"{request['name']} failed")
    numbers: Numbers = json.loads(worker.stdout)
    return numbers


def _await_idle(deadline: float) -> None:
    cpus = os.cpu_count() or 1
    while time.monotonic() < deadline:
        before, started = busy_s(), time.perf_counter()
        time.sleep(0.5)
        if busy_s() - before <= _IDLE_SHARE * cpus * (time.perf_counter() - started):
            return


def median(measured: list[Numbers], key: str) -> float:
    return float(statistics.median(numbers[key] for numbers in measured))


def table(results: dict[str, list[Numbers]], missing: dict[str, str], limit: str) -> str:
    """A Markdown table of the medians, with the ratio of each speed to that of `limit`."""
    lines = [
        f"| contender | MB/s | lowest to highest | of {limit} | samples/s | CPU s per epoch "
        "| first batch, ms | peak RSS, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, measured in results.items():
        if name in missing:
            lines.append(f"| {name} | missing: {missing[name]} | | | | | | |")
            continue
        speeds = [numbers["mb_per_s"] for numbers in measured]
        speed = statistics.median(speeds)
        share = "" if limit in missing else f"{speed / median(results[limit], 'mb_per_s'):.2f}"
        lines.append(
            f"| {name} | {speed:.0f} | {min(speeds):.0f} to {max(speeds):.0f} | {share} "
            f"| {median(measured, 'samples_per_s'):.0f} "
            f"| {median(measured, 'cpu_s_per_epoch'):.3f} "
            f"| {median(measured, 'first_batch_ms'):.1f} "
            f"| {median(measured, 'peak_rss_mib'):.0f} |"
        )
    return "\n".join(lines)


def expectation(
    results: dict[str, list[Numbers]], missing: dict[str, str], ours: str, rival: str, least: float
) -> str:
    """A line that says how many times as fast as `rival` we are, and whether that is enough."""
    if rival in missing:
        verdict = f"not measured, as {missing[rival]}"
    else:
        ratio = median(results[ours], "mb_per_s") / median(results[rival], "mb_per_s")
        verdict = f"{ratio:.2f}: {'met' if ratio >= least else 'not met'}"
    return f"- {ours} / {rival}, expected >= {least:g}: {verdict}"


def others(results: dict[str, list[Numbers]]) -> str:
    """A sentence on how far the machine was busy with something else."""
    shares = [numbers["others_cpu_share"] for measured in results.values() for numbers in measured]
    return (
        f"Other processes used {statistics.median(shares):.0%} of the CPUs during the median "
        f"measurement, {max(shares):.0%} during the worst."
    )


def machine() -> Numbers:
    """Where the numbers come from."""
    return {
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
