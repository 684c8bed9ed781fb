"""Batches from one .npy file per sample: headrace, its peers, and the limit, in one run.

Requires Linux and headrace; a C compiler for the limit, and each peer for itself; what is not
installed is named as missing. Shows how fast each contender turns files in the page cache into
shuffled batches, for a consumer that does nothing with them. A measurement is a process: imports,
an epoch to warm up, in which the batches are checked to hold every sample once, and the timed
epochs. headrace begins these with nothing made ahead; peers that are fastest with one iterator over
all epochs begin them with the few batches that it holds. The contenders take turns.

    python benchmarks/files.py --size 12k --rounds 5 --json files.json

prints a Markdown table of the medians over the rounds, and whether headrace is as fast as expected.
Where other processes keep the CPUs busy the ratios say little, as two threads need two CPUs:
`--patience 600` waits that long, in all, for an idle machine.
"""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

import parts
import peers
from measuring import (
    MissingError,
    Numbers,
    Pass,
    RunEpoch,
    epochs_of,
    machine,
    measure,
    measure_apart,
    measure_in_turns,
    others,
    table,
)
from workload import BATCH_SIZE, SIZES, Workload

LIMIT = "C, 2 threads"
OURS = "headrace, Threads(2)"
DEFAULT = "headrace, default"
CONVERSION = "the conversion for Streaming"
SCRIPT = Path(__file__).resolve()

# How many times as fast as each of them headrace is to be, at 128 KB.
AGAINST_PEERS = (("DataLoader", ">= 5"), ("Grain", ">= 6"), ("SPDL", ">= 4"))


@contextlib.contextmanager
def c(work: Workload, threads: int) -> Iterator[RunEpoch]:
    """The limit: `limit.c`."""
    if work.limit_library is None:
        raise MissingError("there is no C compiler (cc)")
    library = ctypes.CDLL(work.limit_library)
    size, array = ctypes.c_size_t, np.ctypeslib.ndpointer
    library.read_epoch.argtypes = [
        ctypes.POINTER(ctypes.c_char_p), array(np.int64), size, size, ctypes.c_char_p, size, size,
        ctypes.c_int, array(np.float64), array(np.float64),
    ]  # fmt: skip
    paths = (ctypes.c_char_p * work.samples)(*map(os.fsencode, work.paths))
    header = work.header
    finished, checksums = np.empty(work.steps), np.empty(work.steps)

    def run(epoch: int, _check: bool) -> Pass:
        error = library.read_epoch(
            paths, work.order(epoch), work.steps, BATCH_SIZE, header, len(header),
            work.sample_nbytes, threads, finished, checksums,
        )  # fmt: skip
        if error:
            raise OSError(error, os.strerror(error))
        return Pass(float(finished[0]), float(checksums.sum()))

    yield run


@contextlib.contextmanager
def headrace(work: Workload, executor: str | None, *arguments: int) -> Iterator[RunEpoch]:
    """`Loader` over `NpyFiles`."""
    import headrace as hr

    files = hr.NpyFiles(work.root, ids=work.ids)
    options = {}
    if executor is not None:
        executor_class = getattr(hr, executor, None)
        if executor_class is None:
            raise MissingError(f"this version of headrace has no {executor}")
        options["executor"] = executor_class(*arguments)
    loader = hr.Loader(files, batch_size=BATCH_SIZE, seed=0, **options)
    with epochs_of(loader) as run:
        yield run


CONTENDERS: dict[str, Callable[[Workload], AbstractContextManager[RunEpoch]]] = {
    "C, 1 thread": lambda work: c(work, 1),
    LIMIT: lambda work: c(work, 2),
    DEFAULT: lambda work: headrace(work, None),
    "headrace, Inline": lambda work: headrace(work, "Inline"),
    "headrace, Threads(1)": lambda work: headrace(work, "Threads", 1),
    OURS: lambda work: headrace(work, "Threads", 2),
    "headrace, Processes(2)": lambda work: headrace(work, "Processes", 2),
    **peers.CONTENDERS,
}


def compile_limit(folder: str) -> str | None:
    """The shared library of `limit.c`, or None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = f"{folder}/limit.so"
    options = ["-O2", "-shared", "-fPIC", "-pthread"]
    source = str(SCRIPT.with_name("limit.c"))
    subprocess.run([compiler, *options, source, "-o", library], check=True)
    return library


def answer(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    root, samples, shape, limit_library = request["work"]
    work = Workload(root, samples, tuple(shape), limit_library)
    try:
        if request["name"] == CONVERSION:
            return dict(peers.convert(work))
        with CONTENDERS[request["name"]](work) as run:
            nbytes = work.samples * work.sample_nbytes
            return measure(run, request["seconds"], work.samples, nbytes, work.checksum)
    except MissingError as error:
        return {"missing": str(error)}


def targets(size: str, results: parts.Results) -> list[Numbers]:
    """What headrace is to reach with files of that size, and what it reached."""
    work = f"files of {SIZES[size].label}, "
    found = [
        parts.target(work + name, LIMIT, ">= 0.85", parts.ratio(results, contender, LIMIT))
        for name, contender in (("Threads(2)", OURS), ("default", DEFAULT))
    ]
    if size != "128k":
        return found
    for peer, bound in AGAINST_PEERS:
        names = [name for name in peers.CONTENDERS if name.startswith(peer)]
        for against, among in (
            (f"best {peer} with np.load", [n for n in names if n not in peers.OWN_READERS]),
            (f"best {peer}, also with its user's own reader", names),
        ):
            best = parts.best(results, among)
            note = f"the best is {best}" if best else ""
            measured = parts.ratio(results, OURS, best)
            found.append(parts.target(work + "Threads(2)", against, bound, measured, note))
    cpu_s = parts.middle(results, OURS, "cpu_s_per_epoch")
    cpu_us = None if cpu_s is None else 1e6 * cpu_s / SIZES[size].samples
    found.append(parts.target(work + "Threads(2)", "CPU us per file", "<= 30", cpu_us))
    return found


def main() -> None:
    parser = parts.parser(__doc__)
    parser.set_defaults(rounds=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a measurement")
    parser.add_argument("--size", choices=SIZES, default="128k", help="of a sample, in bytes")
    parser.add_argument("--samples", type=int, help=f"how many, instead; times {BATCH_SIZE}")
    parser.add_argument("--shape", help="of a sample, instead, such as 32,32,32,1")
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(answer(options.worker)))
        return
    if options.quick:
        options.rounds, options.seconds = 1, min(options.seconds, 0.2)
    custom = options.shape is not None or options.samples is not None
    _label, shape, samples = SIZES[options.size]
    if options.shape is not None:
        shape = tuple(map(int, options.shape.split(",")))
    if options.samples is not None:
        samples = options.samples
    if min(options.rounds, samples) < 1 or samples % BATCH_SIZE:
        parser.error(f"counts must be positive, and --samples a multiple of {BATCH_SIZE}")
    if not options.seconds > 0:
        parser.error("--seconds must be positive")
    about = machine() | {"samples": samples, "shape": shape, "rounds": options.rounds}
    about |= {"seconds": options.seconds, "quick": options.quick}
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        work = Workload(folder, samples, shape, compile_limit(folder))
        print(f"writing {work.samples * work.sample_nbytes / 1e6:.0f} MB", file=sys.stderr)
        work.write()
        request = {"work": work, "seconds": options.seconds}
        about |= measure_apart(SCRIPT, {"name": CONVERSION, **request})
        results, missing = measure_in_turns(
            SCRIPT, list(CONTENDERS), request, options.rounds, options.patience
        )
    converted = f" Writing them anew for Streaming took {about['conversion_s']:.1f} s."
    print(
        f"{work.samples} files of float32 {shape}, batches of {BATCH_SIZE}, shuffled, page cache "
        f"warm. {about['cpus']} CPUs, Python {about['python']}, numpy {about['numpy']}. "
        f"{others(results)} Medians of {options.rounds} rounds, each of whole epochs for at least "
        f"{options.seconds:g} s; one MB is 1e6 bytes. C, too, compares each header and allocates "
        "each batch as numpy does, but frees it at once, so that malloc gives it the same memory "
        "again, without page faults, and hands nothing over. RSS includes the imports, and counts "
        "memory that processes share once for each."
        f"{converted if 'conversion_s' in about else ''}\n"
    )
    print(table(results, missing, LIMIT) + "\n")
    reached = [] if custom else targets(options.size, results)
    print(parts.target_table(reached))
    if options.json is not None:
        stored = {"part": "files" if custom else f"files-{options.size}", "about": about}
        stored |= {"missing": missing, "results": results, "targets": reached}
        options.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
