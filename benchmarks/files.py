"""Batches from one .npy file per sample: headrace, its peers, and the limit, in one run.

Requires Linux and headrace; a C compiler for the limit and torch for DataLoader, each of which is
named as missing where it is not installed. Shows how fast each contender turns files in the page
cache into shuffled batches, for a consumer that does nothing with them. A measurement is a process:
imports, an epoch to warm up, in which the batches are checked to hold every sample once, and the
timed epochs, which begin with nothing made ahead. The contenders take turns.

    python benchmarks/files.py --rounds 5 --json files.json

prints a Markdown table of the medians over the rounds, and whether headrace is as fast as expected.
Where other processes keep the CPUs busy the ratios say little, as two threads need two CPUs:
`--patience 600` waits that long, in all, for an idle machine.
"""

import argparse
import contextlib
import ctypes
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from measuring import (
    MissingError,
    Numbers,
    Pass,
    RunEpoch,
    consume,
    expectation,
    machine,
    measure,
    measure_in_turns,
    median,
    others,
    table,
)

BATCH_SIZE = 128
LIMIT = "C, 2 threads"
OURS = "headrace, Threads(2)"
LOOP = "np.load loop"
DATA_LOADERS = ("DataLoader, 0 workers", "DataLoader, 2 workers")
SCRIPT = Path(__file__).resolve()


class Workload(NamedTuple):
    """The files, and the compiled limit, if there is a compiler."""

    root: str
    samples: int
    shape: tuple[int, ...]
    limit_library: str | None

    @property
    def ids(self) -> list[str]:
        return [f"id-{index}" for index in range(self.samples)]

    @property
    def paths(self) -> list[str]:
        return [f"{self.root}/{name}.npy" for name in self.ids]

    @property
    def sample_nbytes(self) -> int:
        return 4 * math.prod(self.shape)

    @property
    def checksum(self) -> float:
        """What the first numbers of all samples add up to."""
        return self.samples * (self.samples - 1) / 2

    def write(self) -> None:
        """Makes the files; sample i is full of the number i."""
        for index, path in enumerate(self.paths):
            np.save(path, np.full(self.shape, index, np.float32))

    def order(self, epoch: int) -> np.ndarray:
        """A shuffled order, for contenders without one of their own."""
        return np.random.default_rng(epoch).permutation(self.samples)


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
    header = Path(work.paths[0]).read_bytes()[: -work.sample_nbytes]
    steps = work.samples // BATCH_SIZE
    finished, checksums = np.empty(steps), np.empty(steps)

    def run(epoch: int, _check: bool) -> Pass:
        error = library.read_epoch(
            paths, work.order(epoch), steps, BATCH_SIZE, header, len(header), work.sample_nbytes,
            threads, finished, checksums,
        )  # fmt: skip
        if error:
            raise OSError(error, os.strerror(error))
        return Pass(float(finished[0]), float(checksums.sum()))

    yield run


@contextlib.contextmanager
def headrace(work: Workload, executor: str, *arguments: int) -> Iterator[RunEpoch]:
    """`Loader` over `NpyFiles`."""
    import headrace as hr

    files = hr.NpyFiles(work.root, ids=work.ids)
    chosen = getattr(hr, executor)(*arguments)
    with hr.Loader(files, batch_size=BATCH_SIZE, seed=0, executor=chosen) as loader:

        def run(_epoch: int, check: bool) -> Pass:
            outcome = consume(loader, check)
            if check:  # what the warm-up made ahead for the next epoch would be a head start
                loader.close()
            return outcome

        yield run


@contextlib.contextmanager
def np_load(work: Workload) -> Iterator[RunEpoch]:
    """The tutorial's loop."""
    paths = work.paths

    def batches(epoch: int) -> Iterator[np.ndarray]:
        order = work.order(epoch).tolist()
        for start in range(0, work.samples, BATCH_SIZE):
            x = np.empty((BATCH_SIZE, *work.shape), np.float32)
            for i, index in enumerate(order[start : start + BATCH_SIZE]):
                x[i] = np.load(paths[index])
            yield x

    yield lambda epoch, check: consume(batches(epoch), check)


class TorchFiles:
    """A map-style dataset, as a user of PyTorch writes it."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        from torch import from_numpy  # not above, as only DataLoader's process imports torch

        return from_numpy(np.load(self.paths[index]))


@contextlib.contextmanager
def data_loader(work: Workload, workers: int) -> Iterator[RunEpoch]:
    """PyTorch's DataLoader, whose workers live on from epoch to epoch."""
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingError("torch is not installed") from None

    torch.manual_seed(0)
    loader: Any = torch.utils.data.DataLoader(
        TorchFiles(work.paths),  # type: ignore[arg-type]
        batch_size=BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    yield lambda _epoch, check: consume(loader, check)


CONTENDERS: dict[str, Callable[[Workload], AbstractContextManager[RunEpoch]]] = {
    "C, 1 thread": lambda work: c(work, 1),
    LIMIT: lambda work: c(work, 2),
    "headrace, Inline": lambda work: headrace(work, "Inline"),
    "headrace, Threads(1)": lambda work: headrace(work, "Threads", 1),
    OURS: lambda work: headrace(work, "Threads", 2),
    LOOP: np_load,
    DATA_LOADERS[0]: lambda work: data_loader(work, 0),
    DATA_LOADERS[1]: lambda work: data_loader(work, 2),
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
        with CONTENDERS[request["name"]](work) as run:
            nbytes = work.samples * work.sample_nbytes
            return measure(run, request["seconds"], work.samples, nbytes, work.checksum)
    except MissingError as error:
        return {"missing": str(error)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Batches from one .npy file per sample.")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each contender")
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=2048, help=f"a multiple of {BATCH_SIZE}")
    parser.add_argument("--shape", default="32,32,32,1", help="of a sample")
    parser.add_argument(
        "--patience", type=float, default=0.0, help="seconds, in all, to wait for an idle machine"
    )
    parser.add_argument("--json", type=Path, help="where to store the numbers of every round")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(answer(options.worker)))
        return
    if min(options.rounds, options.samples) < 1 or options.samples % BATCH_SIZE:
        parser.error(f"counts must be positive, and --samples a multiple of {BATCH_SIZE}")
    if not options.seconds > 0:
        parser.error("--seconds must be positive")
    shape = tuple(map(int, options.shape.split(",")))
    about = machine()
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        work = Workload(folder, options.samples, shape, compile_limit(folder))
        print(f"writing {work.samples * work.sample_nbytes / 1e6:.0f} MB", file=sys.stderr)
        work.write()
        request = {"work": work, "seconds": options.seconds}
        results, missing = measure_in_turns(
            SCRIPT, list(CONTENDERS), request, options.rounds, options.patience
        )

    def speed(name: str) -> float:
        return 0.0 if name in missing else median(results[name], "mb_per_s")

    print(
        f"{work.samples} files of float32 {shape}, batches of {BATCH_SIZE}, shuffled, page cache "
        f"warm. {about['cpus']} CPUs, Python {about['python']}, numpy {about['numpy']}. "
        f"{others(results)} Medians of {options.rounds} rounds, each of whole epochs for at least "
        f"{options.seconds:g} s; one MB is 1e6 bytes. C, too, compares each header and allocates "
        "each batch as numpy does, but frees it at once, so that malloc gives it the same memory "
        "again, without page faults, and hands nothing over. RSS includes the imports, and counts "
        "memory that processes share once for each.\n"
    )
    print(table(results, missing, LIMIT) + "\n")
    for rival, least in ((LIMIT, 0.7), (LOOP, 4.0), (max(DATA_LOADERS, key=speed), 4.0)):
        print(expectation(results, missing, OURS, rival, least))
    if options.json is not None:
        about |= {"samples": options.samples, "shape": shape, "seconds": options.seconds}
        stored = {"about": about, "missing": missing, "results": results}
        options.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
