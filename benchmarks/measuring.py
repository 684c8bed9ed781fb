"""Measurements of contenders that make batches, each in a process of its own.

Requires Linux and numpy. A benchmark defines its contenders and calls `measure_in_turns`, which for
each measurement starts the benchmark's own file again, with a request as JSON after `--worker`;
there the benchmark calls `measure`, and prints what it returns as JSON.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# What only the process that starts others needs is imported there, as it counts in their memory.

Numbers = dict[str, Any]

# The share of the CPUs that others may use while something is measured.
_IDLE_SHARE = 0.05
# A measurement that takes longer hangs, as some peers do.
_DEADLINE_S = 300.0
# What may run in a benchmark; the versions of those that are installed go into its results.
_LIBRARIES = (
    "headrace", "numpy", "keras", "torch", "torchdata", "jax", "tensorflow-cpu", "grain",
    "spdl-core", "mosaicml-streaming", "datasets", "ray", "h5py", "zarr", "pyarrow", "pillow",
    "pandas", "soundfile", "google-crc32c", "litdata", "torchvision", "simplejpeg",
    "cykooz.resizer", "opencv-python-headless",
)  # fmt: skip


class Pass(NamedTuple):
    """What an epoch gave: seconds to its first batch, and the sum of its samples' first numbers."""

    first_batch_s: float
    checksum: float


class MissingError(Exception):
    """A contender can't run; the message says what is not there."""


def needed(name: str) -> Any:
    """The module of that name."""
    try:
        return importlib.import_module(name)
    except ImportError as error:  # also where the installation of a peer is incomplete
        raise MissingError(f"{name} can't be imported: {error}") from None


# Runs the epoch of that number; the flag says whether it is the warm-up, which is to be checked.
RunEpoch = Callable[[int, bool], Pass]


def in_threads(work: Callable[[int, bool, list[float], list[int]], None], threads: int) -> RunEpoch:
    """An epoch of `work(thread, check, finished, sums)` in threads of its own.

    Each appends when its first batch was finished, unless another did, and what is to be checked.
    """

    def run(_epoch: int, check: bool) -> Pass:
        started = time.perf_counter()
        finished: list[float] = []
        sums: list[int] = []
        workers = [
            threading.Thread(target=work, args=(first, check, finished, sums))
            for first in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return Pass(finished[0] - started, float(sum(sums)))

    return run


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


@contextlib.contextmanager
def epochs_of(loader: Any, take: Callable[[Any, bool], Pass] = consume) -> Iterator[RunEpoch]:
    """Epochs of a loader of headrace, taken by `take(loader, check)`."""

    def run(_epoch: int, check: bool) -> Pass:
        outcome = take(loader, check)
        if check:  # what the warm-up made ahead would be a head start
            loader.close()
        return outcome

    with loader:
        yield run


def measure(run: RunEpoch, seconds: float, samples: int, nbytes: int, checksum: float) -> Numbers:
    """The numbers of a contender over whole epochs for `seconds`, after an epoch to warm up.

    The time to the first batch is that of the warm-up, whose workers have yet to start.
    """
    warm_up = run(0, True)
    if warm_up.checksum != checksum:
        raise SystemExit(f"the samples add up to {warm_up.checksum}; expected is {checksum}")
    epochs = 0
    elapsed = 0.0
    all_started, cpu_started, started = busy_s(), cpu_s(), time.perf_counter()
    while elapsed < seconds:
        epochs += 1
        run(epochs, False)
        elapsed = time.perf_counter() - started
    cpu_used, all_used = cpu_s() - cpu_started, busy_s() - all_started
    return {
        "epochs": epochs,
        "mb_per_s": epochs * nbytes / 1e6 / elapsed,
        "samples_per_s": epochs * samples / elapsed,
        "cpu_s_per_epoch": cpu_used / epochs,
        "first_batch_ms": 1e3 * warm_up.first_batch_s,
        "peak_rss_mib": peak_rss_mib(),
        "others_cpu_share": max(0.0, all_used - cpu_used) / elapsed / (os.cpu_count() or 1),
    }


def family() -> list[int]:
    """This process and all that it and its workers have started and that still live."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                # The command's name, in parentheses, may hold anything.
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(fields[1])
    found = [os.getpid()]
    for pid in found:  # which grows meanwhile
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_s() -> float:
    """CPU seconds that this process and its living workers have used.

    The rusage of children counts those that have ended, and these have not.
    """
    total = time.process_time()
    for pid in family()[1:]:
        clock = ctypes.c_int()
        if not ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
            with contextlib.suppress(OSError):
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
    for pid in family():
        with contextlib.suppress(OSError, IndexError):  # it has just ended
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
    if it did not stay so. A contender whose process fails twice in a row is missing.
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
                result = measure_apart(script, {"name": name, **request})
                if result.get("failed"):
                    result = measure_apart(script, {"name": name, **request})
                if "missing" in result:
                    missing[name] = shown = result["missing"]
                    results[name].clear()
                    break
                busy = result["others_cpu_share"]
                if busy <= _IDLE_SHARE or time.monotonic() > deadline:
                    results[name].append(result)
                    shown = f"{result['mb_per_s']:.0f} MB/s, while others used {busy:.0%}"
                    break
            print(f"round {number + 1} of {rounds}: {name}: {shown}", file=sys.stderr)
    return results, missing


def measure_apart(script: Path, request: Numbers) -> Numbers:
    """What the script prints for the request, in a process of its own, or why it is missing."""
    import subprocess

    command = [sys.executable, str(script), "--worker", json.dumps(request)]
    # A session of its own, so that the workers of one that hangs can be ended with it.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as worker:
        try:
            output, errors = worker.communicate(timeout=_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            return {"missing": f"it had not ended after {_DEADLINE_S:g} s", "failed": True}
        except BaseException:
            os.killpg(worker.pid, signal.SIGKILL)
            raise
    if worker.returncode:
        sys.stderr.write(errors)
        reason = (errors.strip().splitlines() or [f"exit status {worker.returncode}"])[-1]
        return {"missing": f"it failed: {reason}", "failed": True}
    # Libraries may print, too.
    numbers: Numbers = json.loads(output.strip().splitlines()[-1])
    return numbers


def _await_idle(deadline: float) -> None:
    cpus = os.cpu_count() or 1
    while time.monotonic() < deadline:
        before, started = busy_s(), time.perf_counter()
        time.sleep(0.5)
        if busy_s() - before <= _IDLE_SHARE * cpus * (time.perf_counter() - started):
            return


def median(measured: list[Numbers], key: str) -> float:
    return float(np.median([numbers[key] for numbers in measured]))


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
        speed = np.median(speeds)
        share = "" if limit in missing else f"{speed / median(results[limit], 'mb_per_s'):.2f}"
        lines.append(
            f"| {name} | {speed:.0f} | {min(speeds):.0f} to {max(speeds):.0f} | {share} "
            f"| {median(measured, 'samples_per_s'):.0f} "
            f"| {median(measured, 'cpu_s_per_epoch'):.3f} "
            f"| {median(measured, 'first_batch_ms'):.1f} "
            f"| {median(measured, 'peak_rss_mib'):.0f} |"
        )
    return "\n".join(lines)


def others(results: dict[str, list[Numbers]]) -> str:
    """A sentence on how far the machine was busy with something else."""
    shares = [numbers["others_cpu_share"] for measured in results.values() for numbers in measured]
    return (
        f"Other processes used {np.median(shares):.0%} of the CPUs during the median "
        f"measurement, {max(shares):.0%} during the worst."
    )


def machine() -> Numbers:
    """Where the numbers come from."""
    import importlib.metadata
    import platform

    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory_kib = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    return {
        "machine": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "cpu": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "memory_gib": round(memory_kib / 1024**2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "versions": versions,
    }
