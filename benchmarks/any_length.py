"""Padded batches of lists of tokens of any length: at random, and of like length, in buckets.

The lists lie in memory, one after another. What is counted are their own tokens, without those of
the padding. In buckets, a batch has at most 32,768 tokens, padding counted, and the lengths of the
buckets are those that batches are padded to; at random, a batch has 128 lists and is padded to the
longest. tf.data and DataLoader are written as a knowledgeable user would; left out, as slower on
2 CPUs, are a DataLoader of single samples without `__getitems__`, and tf.data over a generator.

Requires headrace; tensorflow and torch for the peers.

    python benchmarks/any_length.py --rounds 5 --json any_length.json
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import parts
import ragged
from measuring import Numbers, Pass, RunEpoch, consume, epochs_of, measure, measure_in_turns, needed

SCRIPT = Path(__file__).resolve()
BATCH_SIZE, LONGEST, BUDGET = 128, 2048, 32_768
LADDER = [64, 128, 256, 512, 1024, LONGEST]
SIZES = [BUDGET // rung for rung in LADDER]


def tokens(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and offsets of so many lists; no token is that of the padding."""
    values, offsets = ragged.tokens(samples)
    lengths = np.minimum(np.diff(offsets), LONGEST)
    return values[: lengths.sum()] + 1, np.concatenate([[0], np.cumsum(lengths)])


class Watched:
    """Takes batches; of those of the first epoch it counts the elements."""

    def __init__(self) -> None:
        self.elements = 0

    def consume(self, batches: Iterable[Any], check: bool) -> Pass:
        return consume(self._counted(batches) if check else batches, check)

    def _counted(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            self.elements += int(np.prod(batch.shape))
            yield batch


Contender = AbstractContextManager[tuple[RunEpoch, Watched]]


@contextmanager
def headrace(samples: int, buckets: bool, workers: int) -> Iterator[tuple[RunEpoch, Watched]]:
    import headrace as hr

    values, offsets = tokens(samples)
    watched = Watched()
    executor = hr.Inline() if workers == 1 else hr.Threads(workers)
    options: dict[str, Any] = {"batch_size": BATCH_SIZE, "transform": hr.pad()}
    if buckets:
        order = hr.Buckets(np.diff(offsets), LADDER, max_tokens=BUDGET)
        options = {"batch_size": SIZES[0], "shuffle": order, "transform": hr.pad(ladder=LADDER)}
    reader = hr.RaggedArray(values, offsets)
    loader = hr.Loader(reader, tail="partial", executor=executor, **options)
    with epochs_of(loader, watched.consume) as run:
        yield run, watched


@contextmanager
def tf_data(samples: int, buckets: bool) -> Iterator[tuple[RunEpoch, Watched]]:
    tf = needed("tensorflow")
    values, offsets = tokens(samples)
    watched = Watched()
    with tf.device("CPU:0"):
        all_values, all_offsets = tf.constant(values), tf.constant(offsets)
    lists = tf.data.Dataset.range(samples).shuffle(samples, seed=0)
    lists = lists.map(
        lambda i: all_values[all_offsets[i] : all_offsets[i + 1]], num_parallel_calls=2
    )
    if buckets:
        batches = lists.bucket_by_sequence_length(
            tf.size,
            [rung + 1 for rung in LADDER],
            [*SIZES, 1],  # of longer ones there are none
            pad_to_bucket_boundary=True,
        )
    else:
        batches = lists.padded_batch(BATCH_SIZE)
    batches = batches.prefetch(tf.data.AUTOTUNE)

    def run(_epoch: int, check: bool) -> Pass:
        return watched.consume(batches.as_numpy_iterator(), check)

    yield run, watched


class Lists:
    """The lists as a dataset of PyTorch's."""

    def __init__(self, samples: int) -> None:
        values, offsets = tokens(samples)
        self.values = needed("torch").from_numpy(values)
        self.offsets = offsets.tolist()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitems__(self, indices: list[int]) -> list[Any]:
        values, offsets = self.values, self.offsets
        return [values[offsets[i] : offsets[i + 1]] for i in indices]


class BucketSampler:
    """Batches of the indices of like length, shuffled anew in each epoch, as users write it."""

    def __init__(self, lengths: np.ndarray) -> None:
        rungs = np.searchsorted(LADDER, lengths)
        self.buckets = [np.flatnonzero(rungs == rung) for rung in range(len(LADDER))]
        self.rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[list[int]]:
        batches = []
        for bucket, size in zip(self.buckets, SIZES, strict=True):
            order = self.rng.permutation(bucket).tolist()
            batches += [order[start : start + size] for start in range(0, len(order), size)]
        for number in self.rng.permutation(len(batches)):
            yield batches[number]


@contextmanager
def data_loader(samples: int, buckets: bool, workers: int) -> Iterator[tuple[RunEpoch, Watched]]:
    torch = needed("torch")
    watched = Watched()
    dataset = Lists(samples)
    options: dict[str, Any] = {"batch_size": BATCH_SIZE, "shuffle": True}
    if buckets:
        options = {"batch_sampler": BucketSampler(np.diff(dataset.offsets))}
    batches = torch.utils.data.DataLoader(
        dataset,
        collate_fn=_padded,
        num_workers=workers,
        persistent_workers=bool(workers),
        **options,
    )

    def run(_epoch: int, check: bool) -> Pass:
        return watched.consume(batches, check)

    yield run, watched


def _padded(samples: list[Any]) -> Any:
    return needed("torch").nn.utils.rnn.pad_sequence(samples, batch_first=True)


KINDS = {"in buckets": True, "at random": False}
OURS = {"headrace, Inline": 1, "headrace, Threads(2)": 2}
LOADERS = {"DataLoader, 0 workers": 0, "DataLoader, 2 workers": 2}


def contenders(samples: int) -> dict[str, Callable[[], Contender]]:
    made: dict[str, Callable[[], Contender]] = {}
    for kind, buckets in KINDS.items():
        for name, workers in OURS.items():
            made[f"{kind}: {name}"] = lambda b=buckets, w=workers: headrace(samples, b, w)
        made[f"{kind}: tf.data"] = lambda b=buckets: tf_data(samples, b)
        for name, workers in LOADERS.items():
            made[f"{kind}: {name}"] = lambda b=buckets, w=workers: data_loader(samples, b, w)
    return made


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    samples = request["samples"]
    values, offsets = tokens(samples)
    checksum = float(values[offsets[:-1]].sum())
    with contenders(samples)[request["name"]]() as (run, watched):
        numbers = measure(run, request["seconds"], samples, values.nbytes, checksum)
    return numbers | {
        "million_tokens_per_s": numbers["mb_per_s"] / values.itemsize,
        "padding": 1 - len(values) / watched.elements,
    }


def targets(results: parts.Results) -> list[Numbers]:
    """Like against like, and buckets against what a collate function that pads makes at random."""
    speed, made = "million_tokens_per_s", []

    def add(kind: str, rival_kind: str, rivals: Iterable[str], bound: str) -> None:
        ours = parts.best(results, [f"{kind}: {name}" for name in OURS], speed)
        rival = parts.best(results, [f"{rival_kind}: {name}" for name in rivals], speed)
        if ours is not None and rival is not None:
            measured = parts.ratio(results, ours, rival, speed)
            note = f"by {ours.removeprefix(f'{kind}: ')}"
            made.append(parts.target(f"padded lists {kind}", rival, bound, measured, note))

    add("in buckets", "in buckets", ["tf.data"], ">= 5")
    add("in buckets", "at random", LOADERS, ">= 5")
    add("in buckets", "in buckets", LOADERS, "")
    add("at random", "at random", ["tf.data"], ">= 5")
    add("at random", "at random", LOADERS, ">= 5")
    return made


COLUMNS = (
    parts.Column("million tokens/s", "million_tokens_per_s", ".1f"),
    parts.Column("share of padding", "padding", ".3f"),
    parts.Column("CPU s per epoch", "cpu_s_per_epoch", ".3f"),
    parts.Column("first batch, ms", "first_batch_ms", ".1f"),
    parts.Column("peak RSS, MiB", "peak_rss_mib"),
)


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=19_968, help="number of lists")
    options = parts.options_of(parser, measured, seconds=0.2)
    request = {"seconds": options.seconds, "samples": options.samples}
    names = list(contenders(options.samples))
    results, missing = measure_in_turns(SCRIPT, names, request, options.rounds, options.patience)
    values, _ = tokens(options.samples)
    parts.report(
        options,
        "any_length",
        f"Padded batches of {options.samples} lists of int32, "
        f"{len(values) / options.samples:.0f} long on average.",
        COLUMNS,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
