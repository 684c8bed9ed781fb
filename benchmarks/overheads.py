"""What headrace costs beside the reading of samples: time, memory, and its import.

Requires headrace. Each measure is taken in processes of its own, in turns. Files hold 128 KB, and
batches 128 of them, so that a batch takes 16 MiB.

    python benchmarks/overheads.py --rounds 5 --json overheads.json
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import Numbers, measure_apart

BATCH_SIZE = 128
SHAPE = (32, 32, 32, 1)
MIB = 2**20
BATCH_MIB = BATCH_SIZE * 4 * 32**3 / MIB
LOOKAHEAD_MIB = 128
HUGE = 10**12
USUAL_NAMES = "import headrace as hr; hr.Loader; hr.NpyFiles; hr.Threads"
SCRIPT = Path(__file__).resolve()


def turnaround(root: str) -> Numbers:
    """From the request that ends an epoch to the next epoch's first batch.

    The consumer is slower than the loader, so that it measures the turn and not the reading.
    """
    import headrace as hr

    waits = []
    with hr.Loader(hr.NpyFiles(root), batch_size=BATCH_SIZE, executor=hr.Threads(2)) as loader:
        batches = iter(loader)
        next(batches)
        for _ in range(10):
            for _ in range(len(loader) - 1):
                time.sleep(0.01)
                next(batches)
            time.sleep(0.01)
            started = time.perf_counter()
            assert next(batches, None) is None
            batches = iter(loader)
            next(batches)
            waits.append(time.perf_counter() - started)
    return {"ms": 1e3 * statistics.median(waits)}


def first_batch(root: str) -> Numbers:
    """Of a new loader: its threads have to start, and its memory is new."""
    import headrace as hr

    files = hr.NpyFiles(root)
    waits = []
    for seed in range(10):
        with hr.Loader(files, BATCH_SIZE, seed=seed, executor=hr.Threads(2)) as loader:
            started = time.perf_counter()
            next(iter(loader))
            waits.append(time.perf_counter() - started)
    return {"ms": 1e3 * statistics.median(waits)}


def permutation(window: int) -> Numbers:
    """Indices of a domain of 10**12 a second, so many at a time."""
    import headrace as hr

    mapping = hr.Permutation(HUGE, seed=1)
    windows = [np.arange(start, start + window) for start in range(0, HUGE, HUGE // 16)][:16]
    calls = max(16, 2**24 // window)
    started = time.perf_counter()
    for call in range(calls):
        mapping[windows[call % 16]]
    return {"million_per_s": 1e-6 * calls * window / (time.perf_counter() - started)}


def sampler(_root: str) -> Numbers:
    """A batch's indices at n = 10**12, amortised, and the memory that it takes."""
    import headrace as hr

    def keys() -> Iterator[Any]:
        made = hr.BatchSampler(HUGE, BATCH_SIZE)
        return made.keys(made.place(0, 0), steps=4096)

    started = time.perf_counter()
    steps = sum(1 for _ in keys())
    elapsed = time.perf_counter() - started
    tracemalloc.start()
    for _ in keys():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    return {"us_per_batch": 1e6 * elapsed / steps, "mib": peak / MIB}


def imports(_root: str) -> Numbers:
    """Wall-clock of a process that imports headrace and uses a loader's names, above numpy alone.

    Modules are compiled once, as they are where a package is installed.
    """
    taken: dict[str, list[float]] = {"import numpy": [], USUAL_NAMES: []}
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as compiled:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment = kept | {"PYTHONPYCACHEPREFIX": compiled}
        for number in range(16):
            for statement, seconds in taken.items():
                command = [sys.executable, "-c", statement]
                started = time.perf_counter()
                subprocess.run(command, check=True, env=environment)
                if number:  # the first one compiles
                    seconds.append(time.perf_counter() - started)
    numpy_s, headrace_s = map(statistics.median, taken.values())
    return {"ms": 1e3 * (headrace_s - numpy_s)}


def idle_memory(root: str, taken: int) -> Numbers:
    """What the process has grown by once `taken` batches are taken, and the last is held."""
    import headrace as hr

    executor = hr.Threads(2, lookahead_bytes=LOOKAHEAD_MIB * MIB)
    with hr.Loader(hr.NpyFiles(root), batch_size=BATCH_SIZE, executor=executor) as loader:
        before = rss_mib()
        batches = loader.stream()
        for _ in range(taken):
            held = next(batches)
        latest, since = rss_mib(), time.perf_counter()
        while time.perf_counter() - since < 0.5:  # until it has not grown for so long
            time.sleep(0.02)
            now = rss_mib()
            if now > latest:
                latest, since = now, time.perf_counter()
        del held
    return {"mib": latest - before}


def rss_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def tiny(executor: str, *arguments: int) -> Numbers:
    """A loader of 16 bytes a sample and 512 a batch, so nearly all of it is overhead."""
    import headrace as hr

    data = np.zeros((2**17, 4), np.float32)
    chosen = getattr(hr, executor)(*arguments)
    with hr.Loader(data, batch_size=32, executor=chosen) as loader:
        for _ in loader:
            pass
        started = time.perf_counter()
        steps = sum(1 for _ in range(4) for _ in loader)
        elapsed = time.perf_counter() - started
    return {"us_per_batch": 1e6 * elapsed / steps}


def stats(root: str) -> Numbers:
    """What counting a batch for `Loader.stats` takes of the time of loading it."""
    import headrace as hr
    from headrace.batching.stats import Meter

    with hr.Loader(hr.NpyFiles(root), batch_size=BATCH_SIZE, executor=hr.Threads(2)) as loader:
        made = loader._feed.maker.make(loader.sampler.key(0, 0))
        for _ in loader:
            pass
        started = time.perf_counter()
        steps = sum(1 for _ in range(20) for _ in loader)
        loading_s = (time.perf_counter() - started) / steps
    meter = Meter()
    started = time.perf_counter()
    for ready in range(10_000):
        meter.count_block(made, time.perf_counter(), ready % 16)
        meter.count_batch(made.samples, made.nbytes)
    counting_s = (time.perf_counter() - started) / 10_000
    return {"share": counting_s / loading_s, "us_per_batch": 1e6 * counting_s}


TURNAROUND, FIRST = "epoch turnaround, Threads(2)", "first batch after iter(), Threads(2)"
BULK, WINDOW = "Permutation, 2**20 at a time", "Permutation, 2**14 at a time"
SAMPLER, IMPORT = "sampler at n = 10**12", "import of Loader, NpyFiles, Threads, above numpy"
STATS = "counting a batch of 128 KB files for stats()"
IDLE = {taken: f"memory, idle consumer after {taken} batches" for taken in (1, 64)}

UNITS = {
    "ms": "ms",
    "us_per_batch": "us a batch",
    "mib": "MiB",
    "million_per_s": "million indices/s",
    "share": "of the time of loading",
}
MEASURES: dict[str, Callable[[str], Numbers]] = {
    TURNAROUND: turnaround,
    FIRST: first_batch,
    WINDOW: lambda _root: permutation(2**14),
    BULK: lambda _root: permutation(2**20),
    SAMPLER: sampler,
    IMPORT: imports,
    STATS: stats,
    IDLE[1]: lambda root: idle_memory(root, 1),
    IDLE[64]: lambda root: idle_memory(root, 64),
    "a tiny batch, Inline": lambda _root: tiny("Inline"),
    "a tiny batch, Threads(2)": lambda _root: tiny("Threads", 2),
}


def measured(request: Numbers) -> Numbers:
    """The numbers of one measure, in its process."""
    watch = parts.Watch()
    numbers = MEASURES[request["name"]](request["root"])
    return numbers | {"others_cpu_share": watch.stop(1, 0, 0)["others_cpu_share"]}


def in_turns(root: str, rounds: int, patience_s: float) -> parts.Results:
    """As `measuring.measure_in_turns`, for measures that are not speeds of contenders."""
    results: parts.Results = {name: [] for name in MEASURES}
    deadline = time.monotonic() + patience_s
    for number in range(rounds):
        for name, rows in results.items():
            while True:
                result = measure_apart(SCRIPT, {"name": name, "root": root})
                if "missing" in result:
                    raise SystemExit(f"{name}: {result['missing']}")
                if result["others_cpu_share"] <= 0.05 or time.monotonic() > deadline:
                    break
            rows.append(result)
            print(f"round {number + 1} of {rounds}: {name}: {result}", file=sys.stderr)
    return results


def targets(results: parts.Results) -> list[Numbers]:
    def of(name: str, key: str, bound: str, work: str = "", note: str = "") -> Numbers:
        measured = parts.middle(results, name, key)
        return parts.target(f"{work or name}, {UNITS[key]}", "", bound, measured, note)

    most_mib = LOOKAHEAD_MIB + 2 * BATCH_MIB
    budget = f"look-ahead of {LOOKAHEAD_MIB} MiB and two batches of {BATCH_MIB:g}"
    return [
        of(TURNAROUND, "ms", "<= 1"),
        of(FIRST, "ms", "<= 10"),
        of(WINDOW, "million_per_s", ">= 25", note="a window of the sampler"),
        of(BULK, "million_per_s", ">= 25"),
        of(SAMPLER, "us_per_batch", "<= 10"),
        of(SAMPLER, "mib", "<= 5", "memory of the sampler at n = 10**12"),
        of(IMPORT, "ms", "<= 60"),
        of(STATS, "share", "<= 0.01"),
        *(of(name, "mib", f"<= {most_mib:g}", note=budget) for name in IDLE.values()),
    ]


def main() -> None:
    options = parts.options_of(parts.parser(__doc__), measured)
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        for index in range(8 * BATCH_SIZE):
            np.save(f"{folder}/{index}.npy", np.full(SHAPE, index, np.float32))
        results = in_turns(folder, options.rounds, options.patience)
    columns = [parts.Column(unit, key, ".2f") for key, unit in UNITS.items()]
    parts.report(
        options,
        "overheads",
        "What headrace costs beside the reading of samples.",
        columns,
        results,
        {},
        targets(results),
    )


if __name__ == "__main__":
    main()
