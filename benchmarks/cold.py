"""Batches from .npy files that are not in the page cache.

Requires Linux, headrace and a folder on a disk; a C compiler for the limit, torch for DataLoader.
Before each epoch that is timed, the files are dropped from the page cache, and found to be out
of it. A measurement is one epoch, as in the next the files would be there. What lies behind the
disk, such as the cache of a virtual machine's host, can't be dropped. There are as many batches as
the most threads, as each thread reads a batch.

    python benchmarks/cold.py --folder /data --rounds 5 --json cold.json
"""

import ctypes
import mmap
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np

import files
import parts
import peers
from measuring import MissingError, Numbers, Pass, RunEpoch, measure, measure_in_turns
from workload import Workload

SCRIPT = Path(__file__).resolve()
# Threads, and so reads that the disk has to do at once.
DEPTHS = (2, 8, 32)
DEFAULT = "headrace, default"
Contender = Callable[[Workload], AbstractContextManager[RunEpoch]]
DATA_LOADERS = (
    "DataLoader, 0 workers",
    "DataLoader, 2 workers",
    "DataLoader, __getitems__, 2 workers",
)


def limit(depth: int) -> str:
    return f"C, {depth} threads"


def filesystem(folder: str) -> str:
    """The type of the filesystem that holds the folder."""
    path = os.path.realpath(folder)
    found, kind = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, its_kind, *_ = line.split()
        holds = path == mounted or path.startswith(mounted.rstrip("/") + "/")
        if holds and len(mounted) >= len(found):
            found, kind = mounted, its_kind
    return kind


def drop(paths: list[str]) -> None:
    """Drops the files from the page cache; they must have been written to the disk."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def cached_share(paths: list[str]) -> float:
    """The share of the files' pages that the page cache holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = held = 0
    for path in paths:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            mapping = np.frombuffer(mapped, np.uint8)
            state = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
            if libc.mincore(
                ctypes.c_void_p(mapping.ctypes.data),
                ctypes.c_size_t(len(mapped)),
                ctypes.c_void_p(state.ctypes.data),
            ):
                raise OSError(ctypes.get_errno(), "mincore")
            pages += len(state)
            held += int((state & 1).sum())
            del mapping  # a map with a view can't be closed
    return held / pages


def threads(n: int) -> Contender:
    return lambda work: files.headrace(work, "Threads", n)


CONTENDERS: dict[str, Contender] = {
    **{limit(depth): partial(files.c, threads=depth) for depth in DEPTHS},
    DEFAULT: lambda work: files.headrace(work, None),
    **{f"headrace, Threads({n})": threads(n) for n in DEPTHS},
    **{name: peers.CONTENDERS[name] for name in DATA_LOADERS},
}


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    root, samples, shape, limit_library = request["work"]
    work = Workload(root, samples, tuple(shape), limit_library)
    with CONTENDERS[request["name"]](work) as run:

        def cold(epoch: int, check: bool) -> Pass:
            outcome = run(epoch, check)
            if check:  # the warm-up; the epoch after it is timed, and the only one
                drop(work.paths)
                share = cached_share(work.paths)
                if share > 0.01:
                    raise MissingError(f"{share:.0%} of the files stay in the page cache")
            return outcome

        return measure(cold, 1e-9, samples, samples * work.sample_nbytes, work.checksum)


def targets(results: parts.Results) -> list[Numbers]:
    rival = parts.best(results, DATA_LOADERS)
    return [
        parts.target(
            "cold files of 128 KB, headrace's default",
            "DataLoader's best",
            ">= 2",
            parts.ratio(results, DEFAULT, rival),
            f"that is {rival}" if rival else "",
        ),
        *(
            parts.target(
                f"time of cold files of 128 KB, Threads({depth})",
                limit(depth),
                "<= 1.3",
                parts.ratio(results, limit(depth), f"headrace, Threads({depth})"),
            )
            for depth in DEPTHS
        ),
    ]


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--samples", type=int, default=4096, help="a multiple of 128")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk to measure")
    options = parts.options_of(parser, measured, samples=1024)
    kind = filesystem(options.folder)
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-", dir=options.folder) as folder:
        library = files.compile_limit(folder)
        work = Workload(folder, options.samples, (32, 32, 32, 1), library)
        if kind in ("tmpfs", "ramfs"):
            reason = f"{options.folder} is on {kind}, which is memory: name another --folder"
            results: parts.Results = {name: [] for name in CONTENDERS}
            missing = dict.fromkeys(CONTENDERS, reason)
        else:
            work.write()
            os.sync()  # pages that are still to be written can't be dropped
            results, missing = measure_in_turns(
                SCRIPT, list(CONTENDERS), {"work": work}, options.rounds, options.patience
            )
    # The first batch that is measured is that of the warm-up, which is not cold.
    columns = [column for column in parts.PLAIN_COLUMNS if column.key != "first_batch_ms"]
    parts.report(
        options,
        "cold",
        f"{options.samples} files of 128 KB on {kind}, none of them in the page cache.",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
