"""Random rows of one big array, in memory or in one .npy file, against `numpy.take`.

Requires headrace. The limit is `np.take(array, indices, axis=0, out=out)`, a batch a call, in so
many threads, over a permutation that is already there. It makes its batches in memory that is used
again and again, or newly allocated for each, and hands nothing over.

    python benchmarks/rows.py --rounds 5 --json rows.json
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

import parts
from measuring import Numbers, RunEpoch, epochs_of, in_threads, measure, measure_in_turns

BATCH_SIZE = 128
SCRIPT = Path(__file__).resolve()
# Bytes of a row: how they are called, and the share of the limit that is to be reached.
ROWS = {131072: ("128 KB", ">= 0.95"), 12288: ("12 KB", ">= 0.9"), 64: ("64 bytes", ">= 0.8")}
PLACES = ("in RAM", "in one .npy")
LIMIT = "np.take, 2 threads"
TWO_WORKERS = ("headrace, Inline", "headrace, Threads(2)", "headrace, default")


def write(path: str, samples: int, row_bytes: int) -> None:
    """Makes the file; all numbers of row i are i."""
    shape = (samples, row_bytes // 4)
    rows = np.lib.format.open_memmap(path, "w+", dtype=np.int32, shape=shape)
    rows[:] = np.arange(samples, dtype=np.int32)[:, None]


def rows_of(path: str, place: str) -> np.ndarray:
    mapped = np.load(path, mmap_mode="r")
    return np.array(mapped) if place == PLACES[0] else np.asarray(mapped)


@contextmanager
def take(path: str, place: str, threads: int, reuse: bool) -> Iterator[RunEpoch]:
    """The limit."""
    array = rows_of(path, place)
    samples = len(array)
    order = np.random.default_rng(0).permutation(samples)
    shape = (BATCH_SIZE, *array.shape[1:])

    def work(first: int, check: bool, finished: list[float], sums: list[int]) -> None:
        out = np.empty(shape, array.dtype)
        for start in range(first * BATCH_SIZE, samples, threads * BATCH_SIZE):
            if not reuse:
                out = np.empty(shape, array.dtype)
            # mode="raise" would go through a copy of out.
            np.take(array, order[start : start + BATCH_SIZE], axis=0, out=out, mode="clip")
            if not finished:
                finished.append(time.perf_counter())
            if check:
                sums.append(int(out[:, 0].sum()))

    yield in_threads(work, threads)


@contextmanager
def headrace(path: str, place: str, executor: str | None, *arguments: int) -> Iterator[RunEpoch]:
    import headrace as hr

    source = rows_of(path, place) if place == PLACES[0] else hr.NpyFile(path)
    chosen = None if executor is None else getattr(hr, executor)(*arguments)
    loader = hr.Loader(source, batch_size=BATCH_SIZE, seed=0, executor=chosen)
    with epochs_of(loader) as run:
        yield run


CONTENDERS: dict[str, Callable[[str, str], AbstractContextManager[RunEpoch]]] = {
    "np.take, 1 thread": lambda path, place: take(path, place, 1, True),
    LIMIT: lambda path, place: take(path, place, 2, True),
    "np.take, 1 thread, new memory": lambda path, place: take(path, place, 1, False),
    "np.take, 2 threads, new memory": lambda path, place: take(path, place, 2, False),
    TWO_WORKERS[0]: lambda path, place: headrace(path, place, "Inline"),
    TWO_WORKERS[1]: lambda path, place: headrace(path, place, "Threads", 2),
    TWO_WORKERS[2]: lambda path, place: headrace(path, place, None),
}


def named(size: str, place: str, contender: str) -> str:
    return f"{size}, {place}: {contender}"


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    where, name = request["name"].split(": ")
    size, place = where.split(", ")
    path, samples, row_bytes = request["files"][size]
    checksum = samples * (samples - 1) / 2
    with CONTENDERS[name](path, place) as run:
        numbers = measure(run, request["seconds"], samples, samples * row_bytes, checksum)
    return numbers | {"us_per_batch": 1e6 * BATCH_SIZE / numbers["samples_per_s"]}


def targets(results: parts.Results) -> list[Numbers]:
    made = []
    for size, bound in ROWS.values():
        for place in PLACES:
            ours = parts.best(results, [named(size, place, name) for name in TWO_WORKERS])
            limit = named(size, place, LIMIT)
            new = parts.ratio(results, ours, named(size, place, f"{LIMIT}, new memory"))
            one = parts.ratio(results, ours, named(size, place, "np.take, 1 thread"))
            note = ""
            if ours and new and one:
                note = (
                    f"by {ours.split(': ')[1]}; {new:.2f} of np.take into new memory, {one:.2f} of "
                    "np.take in 1 thread"
                )
            work = f"random rows of {size}, {place}"
            made.append(parts.target(work, LIMIT, bound, parts.ratio(results, ours, limit), note))
    return made


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of a measurement")
    parser.add_argument("--mb", type=int, default=256, help="of each array, in MiB")
    options = parts.options_of(parser, measured, seconds=0.2, mb=64)
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        files = {}
        for row_bytes, (size, _) in ROWS.items():
            samples = options.mb * 2**20 // row_bytes // BATCH_SIZE * BATCH_SIZE
            path = f"{folder}/{row_bytes}.npy"
            write(path, samples, row_bytes)
            files[size] = (path, samples, row_bytes)
        names = [
            named(size, place, name)
            for size, _ in ROWS.values()
            for place in PLACES
            for name in CONTENDERS
        ]
        request = {"files": files, "seconds": options.seconds}
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    columns = (*parts.PLAIN_COLUMNS, parts.Column("us a batch", "us_per_batch", ".1f"))
    parts.report(
        options,
        "rows",
        f"Random rows of one array of {options.mb} MiB, batches of {BATCH_SIZE}, shuffled.",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
