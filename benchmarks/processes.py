"""Worker processes: a transform that holds the GIL, and the handing over of large batches.

Requires headrace; torch for DataLoader. The transform is a loop in Python that takes 20 ms of CPU
for a batch, so threads can't share it out. In the other part, batches of 16 MiB are random rows of
one .npy file, and what counts is the CPU time that the consumer's process spends for each.

    python benchmarks/processes.py --rounds 3 --json processes.json
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import MissingError, Numbers, Pass, RunEpoch, consume, measure, measure_in_turns

SCRIPT = Path(__file__).resolve()
BATCH_SIZE = 128
HELD_SECONDS = 0.02
# Samples of each part, and bytes of one: steps of small batches, and rows of 128 KB.
PARTS = {"GIL": (32 * BATCH_SIZE, 64), "16 MiB": (2048, 131072)}
OURS, INLINE = "headrace, Processes(2)", "headrace, Inline"


def hold_gil(batch: Any, _rng: Any = None) -> Any:
    """The batch, after a loop that takes 20 ms of this thread's CPU time."""
    started = time.thread_time()
    while time.thread_time() - started < HELD_SECONDS:
        for _ in range(1000):
            pass
    return batch


class Rows:
    """A map-style dataset that takes the rows of a batch at once, as DataLoader likes it best."""

    def __init__(self, path: str, transform: Callable[[Any], Any] | None) -> None:
        self._path = path
        self._transform = transform

    def __len__(self) -> int:
        return len(np.load(self._path, mmap_mode="r"))

    def __getitem__(self, indices: list[int]) -> Any:
        from torch import from_numpy  # not above, as only DataLoader's process imports torch

        rows = np.load(self._path, mmap_mode="r")[indices]
        return from_numpy(rows if self._transform is None else self._transform(rows))


@contextmanager
def headrace(
    path: str, transform: Callable[..., Any] | None, executor: str, *workers: int
) -> Iterator[RunEpoch]:
    import headrace as hr

    if not hasattr(hr, executor):
        raise MissingError(f"this version of headrace has no {executor}")
    file = hr.NpyFile(path)
    # Few batches ahead, as what is made between the warm-up and the epochs is a head start.
    ahead = {"lookahead_bytes": 4 * BATCH_SIZE * file.spec.nbytes} if workers else {}
    loader = hr.Loader(
        file,
        batch_size=BATCH_SIZE,
        seed=0,
        transform=transform,
        executor=getattr(hr, executor)(*workers, **ahead),
    )
    with loader:
        yield lambda _epoch, check: consume(loader, check)


@contextmanager
def data_loader(path: str, transform: Callable[[Any], Any] | None) -> Iterator[RunEpoch]:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingError("torch is not installed") from None

    dataset: Any = Rows(path, transform)
    order = torch.utils.data.RandomSampler(dataset)
    loader: Any = torch.utils.data.DataLoader(
        dataset,
        sampler=torch.utils.data.BatchSampler(order, BATCH_SIZE, drop_last=True),
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
    )
    yield lambda _epoch, check: consume(loader, check)


Contender = Callable[[str, Callable[..., Any] | None], AbstractContextManager[RunEpoch]]

CONTENDERS: dict[str, Contender] = {
    INLINE: lambda path, transform: headrace(path, transform, "Inline"),
    "headrace, Threads(2)": lambda path, transform: headrace(path, transform, "Threads", 2),
    OURS: lambda path, transform: headrace(path, transform, "Processes", 2),
    "DataLoader, 2 workers": data_loader,
}


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    part, name = request["name"].split(": ")
    samples, sample_bytes = PARTS[part]
    path = request["paths"][part]
    consumer_s: list[float] = []
    with CONTENDERS[name](path, hold_gil if part == "GIL" else None) as run:

        def timed(epoch: int, check: bool) -> Pass:
            started = time.process_time()
            outcome = run(epoch, check)
            if not check:
                consumer_s.append(time.process_time() - started)
            return outcome

        checksum = samples * (samples - 1) / 2
        numbers = measure(timed, request["seconds"], samples, samples * sample_bytes, checksum)
    steps = samples // BATCH_SIZE
    return numbers | {
        "ms_per_batch": 1e3 * BATCH_SIZE / numbers["samples_per_s"],
        "consumer_cpu_ms_per_batch": 1e3 * sum(consumer_s) / len(consumer_s) / steps,
    }


def targets(results: parts.Results) -> list[Numbers]:
    beside = [
        f"{name}: {share:.2f}"
        for name in CONTENDERS
        if name not in (INLINE, OURS)
        and (share := parts.ratio(results, f"GIL: {name}", f"GIL: {INLINE}")) is not None
    ]
    return [
        parts.target(
            "a transform that holds the GIL for 20 ms a batch, Processes(2)",
            "Inline",
            ">= 1.8",
            parts.ratio(results, f"GIL: {OURS}", f"GIL: {INLINE}"),
            f"beside it {'; '.join(beside)}",
        ),
        parts.target(
            "consumer's CPU for a batch of 16 MiB, Processes(2), ms",
            "",
            "<= 1",
            parts.middle(results, f"16 MiB: {OURS}", "consumer_cpu_ms_per_batch"),
        ),
    ]


def write(paths: Iterable[tuple[str, str]]) -> None:
    """Makes the file of each part; all numbers of row i are i."""
    for part, path in paths:
        samples, sample_bytes = PARTS[part]
        rows = np.empty((samples, sample_bytes // 4), np.int32)
        rows[:] = np.arange(samples)[:, None]
        np.save(path, rows)


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a measurement")
    options = parts.options_of(parser, measured, seconds=0.3)
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        paths = {part: f"{folder}/{number}.npy" for number, part in enumerate(PARTS)}
        write(paths.items())
        names = [f"{part}: {name}" for part in PARTS for name in CONTENDERS]
        request = {"paths": paths, "seconds": options.seconds}
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    columns = (
        parts.Column("ms a batch", "ms_per_batch", ".2f"),
        parts.Column("consumer's CPU, ms a batch", "consumer_cpu_ms_per_batch", ".2f"),
        *parts.PLAIN_COLUMNS,
    )
    parts.report(
        options,
        "processes",
        f"Batches of {BATCH_SIZE}: a transform that holds the GIL for 20 ms; batches of 16 MiB.",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
