"""Weights and mixtures of headrace and of its peers: how exact the shares, what a resume costs.

Each gives batches of 128 numbers of three sources with shares of 0.7, 0.25 and 0.05, shuffled where
the peer shuffles without memory, and nothing is read. In one process each:

- share error: in windows of 1,000 samples, the most that a source is off its share, in samples;
- resume: from a new object to the batch after 500 others, by the state that the peer has, and
  whether the 20 batches from there on are those of a run without a stop;
- microseconds of CPU a batch, of 500 in a row, on all threads: other processes change it little.

WeightedRandomSampler is what PyTorch has for both; a weight of a sample is the share of its source
over its size. Streaming mixes streams of its own format, which are written before.

    python benchmarks/samplings.py --rounds 3 --json samplings.json
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import MissingError, Numbers, measure_in_turns, needed
from peers import streaming_library

SCRIPT = Path(__file__).resolve()
BATCH = 128
SHARES = (0.7, 0.25, 0.05)
SIZES = (100_000, 60_000, 5_000)
STOP, AFTER, TIMED, WINDOW = 500, 20, 500, 1000
ENDS = np.cumsum(SIZES)
SOURCES = [np.arange(end - size, end) for end, size in zip(ENDS.tolist(), SIZES, strict=True)]
# Weights of samples, by which each source has its share.
WEIGHTS = np.repeat(np.array(SHARES) / SIZES, SIZES)

Batches = Iterator[np.ndarray]
State = Callable[[], Any]
# A new run, from a state or the beginning: its batches, and what gives its state.
Start = Callable[[Any], tuple[Batches, State]]


def headrace(shuffle: Any) -> Start:
    import headrace as hr

    def start(state: Any) -> tuple[Batches, State]:
        loader = hr.Loader(hr.Concat(*SOURCES), BATCH, shuffle=shuffle)
        if state is not None:
            loader.load_state_dict(state)
        return loader.stream(), loader.state_dict

    return start


def headrace_mix() -> Start:
    import headrace as hr

    return headrace(hr.Mix(SHARES, length=10**7))


def headrace_weighted() -> Start:
    import headrace as hr

    return headrace(hr.Weighted(WEIGHTS, length=10**7))


def torch_weighted() -> Start:
    """In torchdata's StatefulDataLoader, as PyTorch's own has no state."""
    torch = needed("torch")
    stateful = needed("torchdata.stateful_dataloader")
    data = torch.utils.data.TensorDataset(torch.arange(int(ENDS[-1])))

    def start(state: Any) -> tuple[Batches, State]:
        generator = torch.Generator().manual_seed(0)
        sampler = torch.utils.data.WeightedRandomSampler(WEIGHTS, 10**6, generator=generator)
        loader = stateful.StatefulDataLoader(data, BATCH, sampler=sampler)
        if state is not None:
            loader.load_state_dict(state)
        return (batch.numpy() for (batch,) in loader), loader.state_dict

    return start


def interleave_datasets() -> Start:
    datasets = needed("datasets")

    def start(state: Any) -> tuple[Batches, State]:
        sources = [
            datasets.Dataset.from_dict({"x": source}).to_iterable_dataset() for source in SOURCES
        ]
        mixed = datasets.interleave_datasets(
            sources, list(SHARES), seed=0, stopping_strategy="all_exhausted"
        ).batch(BATCH)
        if state is not None:
            mixed.load_state_dict(state)
        return (np.array(batch["x"]) for batch in mixed), mixed.state_dict

    return start


def sample_from_datasets() -> Start:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = needed("tensorflow")
    folder = tempfile.mkdtemp(prefix="headrace-benchmark-")

    def start(state: Any) -> tuple[Batches, State]:
        sources = [tf.data.Dataset.from_tensor_slices(source).repeat() for source in SOURCES]
        mixed = tf.data.Dataset.sample_from_datasets(sources, list(SHARES), seed=0).batch(BATCH)
        iterator = iter(mixed)
        checkpoint = tf.train.Checkpoint(iterator=iterator)
        if state is not None:
            checkpoint.restore(state)
        return (batch.numpy() for batch in iterator), lambda: checkpoint.save(f"{folder}/state")

    return start


def grain_mix() -> Start:
    grain = needed("grain")

    def start(state: Any) -> tuple[Batches, State]:
        sources = [grain.MapDataset.source(one).shuffle(seed=0).repeat() for one in SOURCES]
        mixed = grain.MapDataset.mix(sources, list(SHARES)).batch(BATCH)
        options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        iterator = iter(mixed.to_iter_dataset(options))
        if state is not None:
            iterator.set_state(state)
        return iterator, iterator.get_state

    return start


def streaming_streams() -> Start:
    """Streams of its own format, by proportions, shuffled by its default algorithm."""
    library = streaming_library()
    needed("streaming.base.util").clean_stale_shared_memory()  # of one that was killed
    root = tempfile.mkdtemp(prefix="headrace-benchmark-")
    for number, source in enumerate(SOURCES):
        with library.MDSWriter(out=f"{root}/{number}", columns={"x": "int64"}) as writer:
            for value in source.tolist():
                writer.write({"x": np.int64(value)})

    def start(state: Any) -> tuple[Batches, State]:
        streams = [
            library.Stream(local=f"{root}/{number}", proportion=share)
            for number, share in enumerate(SHARES)
        ]
        dataset = library.StreamingDataset(
            streams=streams, epoch_size=200_000, batch_size=BATCH, shuffle=True,
            num_canonical_nodes=1,
        )  # fmt: skip
        loader = library.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0)
        if state is not None:
            loader.load_state_dict(state)
        return (np.asarray(batch["x"]) for batch in loader), loader.state_dict

    return start


CONTENDERS: dict[str, Callable[[], Start]] = {
    "headrace, Mix": headrace_mix,
    "headrace, Weighted": headrace_weighted,
    "PyTorch, WeightedRandomSampler": torch_weighted,
    "datasets, interleave_datasets": interleave_datasets,
    "tf.data, sample_from_datasets": sample_from_datasets,
    "Grain, MapDataset.mix": grain_mix,
    "Streaming, streams": streaming_streams,
}


def compared(start: Start) -> Numbers:
    """What was measured of a peer."""
    batches, state_of = start(None)
    first = [next(batches) for _ in range(STOP)]
    state = state_of()
    expected = [np.array(batch) for batch in itertools.islice(batches, AFTER)]
    began = time.perf_counter()
    resumed, _ = start(state)
    found = [np.array(next(resumed))]
    resume_s = time.perf_counter() - began
    found += [np.array(batch) for batch in itertools.islice(resumed, AFTER - 1)]
    began = time.process_time()
    taken = sum(1 for _ in itertools.islice(resumed, TIMED))
    elapsed = time.process_time() - began
    samples = np.concatenate(first)
    samples = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    sources = np.searchsorted(ENDS, samples, "right")
    counts = (sources[:, :, None] == np.arange(3)).sum(axis=1)
    same = [np.array_equal(*pair) for pair in zip(found, expected, strict=True)]
    return {
        "share_error": float(np.abs(counts - np.array(SHARES) * WINDOW).max()),
        "resume_ms": 1e3 * resume_s,
        "exact": float(all(same)),
        "us_per_batch": 1e6 * elapsed / taken,
    }


def of_an_order(make: Callable[[Any], Any]) -> Numbers:
    """Microseconds of CPU that the samples of a batch take at n = 10**7, amortised."""
    import headrace as hr

    n, steps = 10**7, 8192
    sampler = hr.BatchSampler(n, BATCH, make(hr), parts=[(6 * 10**6, 1, ""), (4 * 10**6, 1, "")])
    began = time.process_time()
    taken = sum(1 for _ in sampler.keys(sampler.place(0, 0), steps))
    elapsed = time.process_time() - began
    return {"us_per_batch": 1e6 * elapsed / taken}


def without_replacement(hr: Any) -> Any:
    return hr.Weighted(np.random.default_rng(0).random(10**7), replacement=False)


def sorting() -> Numbers:
    """Of weights without replacement: the order of an epoch, shared out over its batches."""
    import headrace as hr

    order = without_replacement(hr).order(10**7, 0)
    began = time.process_time()
    order.indices(0, np.arange(BATCH))
    return {"us_per_batch": 1e6 * (time.process_time() - began) / (10**7 / BATCH)}


def torch_beyond(n: int) -> Numbers:
    """PyTorch's sampler with so many weights."""
    torch = needed("torch")
    sampler = torch.utils.data.WeightedRandomSampler(np.ones(n), 1000 * BATCH)
    began = time.process_time()
    try:
        taken = sum(1 for _ in sampler) / BATCH
    except RuntimeError as error:
        raise MissingError(f"it fails: {str(error).splitlines()[0]}") from None
    return {"us_per_batch": 1e6 * (time.process_time() - began) / taken}


CLASSES = {"10 classes": 10, "1,000 classes": 1000}
OTHERS: dict[str, Callable[[], Numbers]] = {
    "headrace, shuffled, n = 10**7": lambda: of_an_order(lambda hr: True),
    "headrace, Weighted, n = 10**7": lambda: of_an_order(
        lambda hr: hr.Weighted(np.random.default_rng(0).random(10**7))
    ),
    "headrace, Weighted without replacement, n = 10**7": sorting,
    **{
        f"headrace, Balanced, {name}, n = 10**7": lambda count=count: of_an_order(
            lambda hr: hr.Balanced(np.random.default_rng(0).integers(0, count, 10**7))
        )
        for name, count in CLASSES.items()
    },
    "headrace, Mix, n = 10**7": lambda: of_an_order(lambda hr: hr.Mix([0.7, 0.3])),
    "headrace, Mix of BlockShuffle, n = 10**7": lambda: of_an_order(
        lambda hr: hr.Mix([0.7, 0.3], shuffle=hr.BlockShuffle(1000))
    ),
    "PyTorch, WeightedRandomSampler, n = 2**24 + 1": lambda: torch_beyond(2**24 + 1),
}


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in its process."""
    watch = parts.Watch()
    name = request["name"]
    numbers = compared(CONTENDERS[name]()) if name in CONTENDERS else OTHERS[name]()
    return watch.stop(1, 0, 0) | numbers


def main() -> None:
    options = parts.options_of(parts.parser(__doc__), measured)
    names = [*CONTENDERS, *OTHERS]
    results, missing = measure_in_turns(SCRIPT, names, {}, options.rounds, options.patience)
    for name, rounds in results.items():
        for numbers in rounds:
            for key in ("mb_per_s", "samples_per_s", "cpu_s_per_epoch"):
                numbers.pop(key, None)
        results[name] = rounds
    columns = [
        parts.Column("share error in 1,000, samples", "share_error", ".1f"),
        parts.Column("resume, ms", "resume_ms", ".1f"),
        parts.Column("the same batches", "exact", ".0f"),
        parts.Column("CPU us a batch", "us_per_batch", ".1f"),
    ]
    targets = [
        parts.target(
            f"{name}, CPU us a batch", "", "<= 20", parts.middle(results, name, "us_per_batch")
        )
        for name in OTHERS
        if name.startswith("headrace")
    ]
    parts.report(
        options,
        "samplings",
        "Weights and mixtures.",
        columns,
        results,
        missing,
        targets,
    )


if __name__ == "__main__":
    main()
