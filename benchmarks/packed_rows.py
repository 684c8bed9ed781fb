"""Packed rows of headrace, and of Grain: how fast, how full, and what planning takes.

20,000 lists of int32 in an Arrow file, of lognormal lengths with a mean of 291, packed into rows of
2048 and delivered in shuffled batches of 128 rows, with segment ids and positions. Grain's source
slices the values of the file, which is mapped into memory; its samples are shuffled, and rows
packed as they come, in 64 at a time. Both take whole epochs, all samples in each.

Requires headrace, pyarrow and grain. What is planned are lengths of the same kind, 10 million.

    python benchmarks/packed_rows.py --rounds 3 --json packed.json
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
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
    measure,
    measure_in_turns,
    needed,
)

SCRIPT = Path(__file__).resolve()
SAMPLES, LENGTH, BATCH_SIZE, BINS = 20_000, 2048, 128, 64
PLANNED = 10**7
BATCHES_AFTER = 200


def lengths_of(n: int) -> np.ndarray:
    # Of which the mean is 291, as some would be longer than a row.
    drawn = np.random.default_rng(0).lognormal(np.log(291 * 1.03) - 0.5, 1, n)
    return drawn.astype(np.int64).clip(1, LENGTH)


def tokens_of(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.random.default_rng(1).integers(1, 50_000, lengths.sum(), np.int32)
    return tokens, np.concatenate([[0], np.cumsum(lengths)])


def arrow_file(folder: str) -> str:
    pa = needed("pyarrow")
    tokens, offsets = tokens_of(lengths_of(SAMPLES))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(tokens))
    path = f"{folder}/tokens.arrow"
    table = pa.table({"tokens": lists})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


class Watched:
    """Takes batches, of which the first epoch is looked at."""

    def __init__(self, key: str) -> None:
        self.key, self.rows = key, 0

    def consume(self, batches: Iterable[Any], check: bool) -> Pass:
        started = time.perf_counter()
        first_s, total = 0.0, 0
        for batch in batches:
            first_s = first_s or time.perf_counter() - started
            if check:
                total += int(batch[self.key].sum(dtype=np.int64))
                self.rows += len(batch[self.key])
        return Pass(first_s, float(total))


@contextmanager
def headrace(make_reader: Callable[[str], Any], split: str) -> Iterator[tuple[RunEpoch, Watched]]:
    import headrace as hr

    watched = Watched("values")
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        packed = hr.Packed(make_reader(folder), LENGTH, split)
        loader = hr.Loader(packed, BATCH_SIZE, tail="partial")
        with epochs_of(loader, watched.consume) as run:
            yield run, watched


def ragged_array(_folder: str) -> Any:
    import headrace as hr

    return hr.RaggedArray(*tokens_of(lengths_of(SAMPLES)))


def arrow(folder: str) -> Any:
    import headrace as hr

    try:
        return hr.Arrow(arrow_file(folder), columns="tokens", ragged=True)
    except TypeError as error:
        raise MissingError(f"lists of any length can't be read from Arrow: {error}") from None


class Lists:
    """The lists of the file as Grain's source: each is a slice of all values."""

    def __init__(self, path: str) -> None:
        pa = needed("pyarrow")
        column = pa.ipc.open_file(pa.memory_map(path)).read_all()["tokens"].combine_chunks()
        self.values = column.values.to_numpy()
        self.offsets = column.offsets.to_numpy().tolist()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"tokens": self.values[self.offsets[index] : self.offsets[index + 1]]}


@contextmanager
def grain(name: str, threads: int) -> Iterator[tuple[RunEpoch, Watched]]:
    library = needed("grain")
    packing = getattr(needed("grain.experimental"), name)
    options = {} if name.startswith("Concat") else {"num_packing_bins": BINS, "seed": 0}
    watched = Watched("tokens")
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        source = Lists(arrow_file(folder))

        def run(epoch: int, check: bool) -> Pass:
            read = library.ReadOptions(num_threads=threads, prefetch_buffer_size=500 * threads)
            samples = library.MapDataset.source(source).shuffle(seed=epoch).to_iter_dataset(read)
            rows = packing(samples, length_struct={"tokens": LENGTH}, **options)
            return watched.consume(iter(rows.batch(BATCH_SIZE, drop_remainder=False)), check)

        yield run, watched


FIRST, BEST = "Grain, first fit", "Grain, best fit"
ARRAY, ARROW, ALWAYS = "headrace, RaggedArray", "headrace, Arrow", "headrace, Arrow, always split"
CONTENDERS: dict[str, Callable[[], AbstractContextManager[tuple[RunEpoch, Watched]]]] = {
    FIRST: lambda: grain("FirstFitPackIterDataset", 0),
    BEST: lambda: grain("BestFitPackIterDataset", 0),
    f"{BEST}, 2 threads": lambda: grain("BestFitPackIterDataset", 2),
    "Grain, concatenated and split": lambda: grain("ConcatThenSplitIterDataset", 0),
    ARRAY: lambda: headrace(ragged_array, "never"),
    "headrace, RaggedArray, always split": lambda: headrace(ragged_array, "always"),
    ARROW: lambda: headrace(arrow, "never"),
    ALWAYS: lambda: headrace(arrow, "always"),
}
PLANS = {f"plan of {PLANNED} lengths, {split}": split for split in ("never", "long", "always")}


def planned(split: str) -> Numbers:
    """The seconds of planning, and of finding what lies in a batch of rows at random."""
    from headrace.readers.views.packed.plan import Fitted, Joined

    lengths = lengths_of(PLANNED)
    if split == "long":
        lengths *= 4
    watch = parts.Watch()
    if split == "always":
        plan: Fitted | Joined = Joined(lengths, LENGTH, 0)
    else:
        plan = Fitted(lengths, LENGTH, None, 0)
    seconds = watch.elapsed_s
    numbers = watch.stop(1, PLANNED, lengths.nbytes)
    rows = np.random.default_rng(0).integers(0, len(plan), (BATCHES_AFTER, BATCH_SIZE))
    started = time.perf_counter()
    for batch in rows:
        plan.pieces(batch)
    return numbers | {
        "plan_s": seconds,
        "us_per_batch": 1e6 * (time.perf_counter() - started) / BATCHES_AFTER,
        "fill": float(lengths.sum()) / (len(plan) * LENGTH),
        "bytes_per_sample": plan.nbytes / PLANNED,
    }


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    if request["name"] in PLANS:
        return planned(PLANS[request["name"]])
    tokens, _ = tokens_of(lengths_of(SAMPLES))
    with CONTENDERS[request["name"]]() as (run, watched):
        checksum = float(tokens.sum(dtype=np.int64))
        numbers = measure(run, request["seconds"], SAMPLES, tokens.nbytes, checksum)
    return numbers | {
        "million_tokens_per_s": numbers["mb_per_s"] / 4,
        "fill": len(tokens) / (watched.rows * LENGTH),
    }


def targets(results: parts.Results) -> list[Numbers]:
    speed = "million_tokens_per_s"
    made = [
        parts.target(name, rival, ">= 10", parts.ratio(results, name, rival, speed))
        for name in (ARRAY, ARROW)
        for rival in (FIRST, BEST)
    ]
    for name, bound in ((ARROW, ">= 0.9927"), (ALWAYS, ">= 0.9996")):
        made.append(parts.target(f"fill: {name}", "", bound, parts.middle(results, name, "fill")))
    for key, bound in (
        ("plan_s", "<= 20"),
        ("us_per_batch", "<= 200"),
        ("bytes_per_sample", "<= 16"),
    ):
        made += [
            parts.target(f"{key}: {name}", "", bound, parts.middle(results, name, key))
            for name in PLANS
        ]
    return made


COLUMNS = (
    parts.Column("million tokens/s", "million_tokens_per_s", ".1f"),
    parts.Column("fill", "fill", ".4f"),
    parts.Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
    parts.Column("first batch, ms", "first_batch_ms", ".1f"),
    parts.Column("peak RSS, MiB", "peak_rss_mib"),
    parts.Column("s to plan", "plan_s", ".1f"),
    parts.Column("us a batch", "us_per_batch"),
    parts.Column("bytes a sample", "bytes_per_sample", ".1f"),
)


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="least time of a measurement")
    options = parts.options_of(parser, measured, seconds=0.2)
    request = {"seconds": options.seconds}
    names = [*CONTENDERS, *PLANS]
    results, missing = measure_in_turns(SCRIPT, names, request, options.rounds, options.patience)
    parts.report(
        options,
        "packed",
        f"{SAMPLES} lists of int32 in rows of {LENGTH}, batches of {BATCH_SIZE} rows.",
        COLUMNS,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
