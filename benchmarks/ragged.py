"""Random lists of tokens of any length, in memory or in Arrow files, against `numpy.concatenate`.

Requires headrace, and for Arrow files pyarrow. The limit slices the same lists out of one array in
memory and joins them, a batch a call, in so many threads, over a permutation that is already there;
it has neither an order to make nor anyone to hand batches to.

    python benchmarks/ragged.py --rounds 5 --json ragged.json
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import (
    MissingError,
    Numbers,
    Pass,
    RunEpoch,
    epochs_of,
    in_threads,
    measure,
    measure_in_turns,
)

BATCH_SIZE = 128
SCRIPT = Path(__file__).resolve()
# Lengths as those of documents of some hundred tokens: the mean is 291.
MU, SIGMA = 5.171, 1.0
LIMITS = {1: "np.concatenate, 1 thread", 2: "np.concatenate, 2 threads"}
SOURCES = {
    "RaggedArray": ">= 0.5",
    "Arrow": ">= 0.35",
    "Arrow, batches of 1000": ">= 0.35",
}
EXECUTORS = {"Inline": 1, "Threads(2)": 2}


def tokens(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and offsets of so many lists."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(1, rng.lognormal(MU, SIGMA, samples)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return rng.integers(50_000, size=int(offsets[-1]), dtype=np.int32), offsets


def write_arrow(path: str, values: np.ndarray, offsets: np.ndarray, rows: int) -> None:
    """The lists as an Arrow file with record batches of so many rows."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))
    table = pa.table({"tokens": lists})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


def consume(batches: Any, check: bool) -> Pass:
    """Takes all batches; sums up the first token of each list if they are to be checked."""
    started = time.perf_counter()
    first_batch_s = None
    checksum = 0.0
    for batch in batches:
        if first_batch_s is None:
            first_batch_s = time.perf_counter() - started
        if check:
            checksum += float(batch.values[batch.offsets[:-1]].sum())
    assert first_batch_s is not None, "an epoch has at least one batch"
    return Pass(first_batch_s, checksum)


@contextmanager
def concatenate(samples: int, threads: int) -> Iterator[RunEpoch]:
    """The limit."""
    values, offsets = tokens(samples)
    order = np.random.default_rng(0).permutation(samples)

    def work(first: int, check: bool, finished: list[float], sums: list[int]) -> None:
        for start in range(first * BATCH_SIZE, samples, threads * BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            begins, ends = offsets[indices].tolist(), offsets[indices + 1].tolist()
            pieces = [values[begin:end] for begin, end in zip(begins, ends, strict=True)]
            np.concatenate(pieces)
            if not finished:
                finished.append(time.perf_counter())
            if check:
                sums.append(sum(int(piece[0]) for piece in pieces))

    yield in_threads(work, threads)


@contextmanager
def headrace(source: str, folder: str, samples: int, workers: int) -> Iterator[RunEpoch]:
    import headrace as hr

    if source == "RaggedArray":
        reader: Any = hr.RaggedArray(*tokens(samples))
    else:
        try:
            reader = hr.Arrow(f"{folder}/{source}.arrow", "tokens", ragged=True)
        except hr.MissingExtraError as error:
            raise MissingError(str(error)) from None
    executor = hr.Inline() if workers == 1 else hr.Threads(workers)
    loader = hr.Loader(reader, batch_size=BATCH_SIZE, seed=0, executor=executor)
    with epochs_of(loader, consume) as run:
        yield run


def contenders(folder: str, samples: int) -> dict[str, AbstractContextManager[RunEpoch]]:
    made: dict[str, Any] = {}
    for threads, name in LIMITS.items():
        made[name] = concatenate(samples, threads)
    for source in SOURCES:
        for name, workers in EXECUTORS.items():
            made[f"{source}: {name}"] = headrace(source, folder, samples, workers)
    return made


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    samples = request["samples"]
    values, offsets = tokens(samples)
    checksum = float(values[offsets[:-1]].sum())
    nbytes = values.nbytes
    with contenders(request["folder"], samples)[request["name"]] as run:
        numbers = measure(run, request["seconds"], samples, nbytes, checksum)
    return numbers | {
        "tokens_per_s": len(values) / samples * numbers["samples_per_s"] / 1e6,
        "us_per_batch": 1e6 * BATCH_SIZE / numbers["samples_per_s"],
    }


def targets(results: parts.Results) -> list[Numbers]:
    return [
        parts.target(
            f"shuffled batches of lists from {source}, {name}",
            LIMITS[workers],
            bound,
            parts.ratio(results, f"{source}: {name}", LIMITS[workers]),
        )
        for source, bound in SOURCES.items()
        for name, workers in EXECUTORS.items()
    ]


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=19_968, help="number of lists")
    options = parts.options_of(parser, measured, seconds=0.2)
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        values, offsets = tokens(options.samples)
        for source in list(SOURCES)[1:]:
            rows = 1000 if source.endswith("1000") else options.samples
            write_arrow(f"{folder}/{source}.arrow", values, offsets, rows)
        request = {"folder": folder, "samples": options.samples, "seconds": options.seconds}
        names = list(contenders(folder, options.samples))
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    columns = (
        *parts.PLAIN_COLUMNS,
        parts.Column("million tokens/s", "tokens_per_s"),
        parts.Column("us a batch", "us_per_batch", ".1f"),
    )
    parts.report(
        options,
        "ragged",
        f"Shuffled batches of {BATCH_SIZE} of {options.samples} lists of int32, "
        f"{len(values) / options.samples:.0f} long on average.",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
