"""What a rank of 16,384 costs over 10**12 samples: a simulation of a few of them, in one process.

Requires headrace, Linux, and PyTorch for the comparison. The ranks are sampled at the start, the
middle and the end of an epoch; their batches are checked to be disjoint, and to be what one rank
alone with the same order sees. The samples are computed, so that only the loader is measured.

    python benchmarks/scale.py
    python benchmarks/scale.py --n 1000000 --world-size 4      to compare
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import headrace as hr

MILLION = 10**6


class Numbers:
    """A reader of n samples, each of which is its own number."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def read(self, indices: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        out[:] = indices


def take(batches: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(batches)


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most that `work` has allocated at once, with what it returns."""
    tracemalloc.start()
    try:
        kept = work()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak


def a_rank(options: argparse.Namespace, rank: int, state: dict[str, Any]) -> dict[str, Any]:
    """The cost of one rank at the place of `state`, and the samples of its next batches."""

    def make() -> hr.Loader:
        return hr.Loader(
            Numbers(options.n),
            options.batch_size,
            rank=rank,
            world_size=options.world_size,
            executor=hr.Inline(),
        )

    def restart() -> hr.Loader:
        loader = make()
        loader.load_state_dict(state)
        next(loader.stream())
        return loader

    loader = restart()
    stream = loader.stream()
    steps = options.steps
    batches = [next(stream) for _ in range(3)]
    run = statistics.median(seconds(lambda: take(stream, steps)) for _ in range(9))
    loader.load_state_dict(state)
    return {
        "start_us": 1e6 * statistics.median(seconds(make) for _ in range(9)),
        "restart_us": 1e6 * statistics.median(seconds(restart) for _ in range(9)),
        "random_batch_us": 1e6
        * statistics.median(seconds(lambda: loader.batch(state["epoch"], 0)) for _ in range(99)),
        "batch_us": 1e6 * run / steps,
        "state_us": 1e6 * statistics.median(seconds(loader.state_dict) for _ in range(99)),
        "state_bytes": len(json.dumps(loader.state_dict())),
        "memory_kib": peak_bytes(lambda: take(restart().stream(), 9 * steps)) / 1024,
        "batches": batches,
    }


def simulate(options: argparse.Namespace) -> None:
    global_batch = options.batch_size * options.world_size
    epoch_steps = options.n // global_batch
    columns = ["start_us", "restart_us", "random_batch_us", "batch_us", "state_us",
               "state_bytes", "memory_kib"]  # fmt: skip
    print(f"{options.n:,} samples, {options.world_size:,} ranks of {options.batch_size} a batch, "
          f"{epoch_steps:,} steps in an epoch")  # fmt: skip
    print(" ".join(f"{name:>16}" for name in ["rank", "step", *columns]))
    alone = hr.BatchSampler(options.n, options.batch_size)
    state = hr.Loader(Numbers(options.n), options.batch_size).state_dict()
    seen: list[int] = []
    last = options.world_size - 1
    for step in (0, epoch_steps // 2, epoch_steps - 5):
        # Of consecutive ranks, too, as their positions are neighbours.
        for rank in sorted({0, 1 % (last + 1), last // 2, last}):
            at = state | {"epoch": 3, "position": step * global_batch}
            cost = a_rank(options, rank, at)
            numbers = np.concatenate(cost["batches"]).tolist()
            expected = [  # restarting took the batch at step
                alone.indices(3, (step + 1 + later) * options.world_size + rank)
                for later in range(3)
            ]
            assert numbers == np.concatenate(expected).tolist(), (
                "not the samples of the epoch's one order"
            )
            seen += numbers
            values = [f"{rank:>16}", f"{step:>16}", *(f"{cost[name]:>16.1f}" for name in columns)]
            print(" ".join(values))
    assert len(set(seen)) == len(seen), "two ranks have a sample in common"
    print(f"{len(seen)} samples of the sampled ranks: no two are the same")


def ids() -> None:
    """What grows with the number of samples: a file's name for each."""
    names = [f"sample-{number:012}" for number in range(MILLION)]
    with tempfile.TemporaryDirectory() as folder:
        np.save(os.path.join(folder, f"{names[0]}.npy"), np.zeros(1))
        making = seconds(lambda: hr.NpyFiles(folder, ids=names))
        tracemalloc.start()
        files = hr.NpyFiles(folder, ids=names)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        hashing = seconds(files.fingerprint)
    print(
        f"NpyFiles, a million ids of {len(names[0])} characters: {held / MILLION:.1f} bytes a "
        f"sample, {peak / MILLION:.1f} while it is made, beside the list of ids; made in "
        f"{making:.2f} s, fingerprint in {1e3 * hashing:.1f} ms"
    )


def distributed_sampler() -> None:
    """The same part of PyTorch's own sampler, which makes the whole order on every rank."""
    try:
        from torch.utils.data import DistributedSampler
    except ModuleNotFoundError:
        print("DistributedSampler: not measured, as PyTorch is not installed")
        return
    samples: Any = range(10 * MILLION)
    sampler = DistributedSampler(samples, num_replicas=16_384, rank=5)
    before = resident_bytes()
    began = time.perf_counter()
    indices = iter(sampler)
    first = next(indices)
    elapsed = time.perf_counter() - began
    grown = peak_resident_bytes() - before
    assert 0 <= first < 10 * MILLION
    print(
        f"DistributedSampler of PyTorch, ten million samples: {grown / MILLION / 10:.1f} bytes a "
        f"sample at its peak, on every rank; first index of an epoch after {elapsed:.2f} s"
    )


def resident_bytes() -> int:
    with open("/proc/self/status") as status:
        return 1024 * int(status.read().split("VmRSS:")[1].split()[0])


def peak_resident_bytes() -> int:
    with open("/proc/self/status") as status:
        return 1024 * int(status.read().split("VmHWM:")[1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10**12)
    parser.add_argument("--world-size", type=int, default=16_384)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=128, help="of each run that is timed")
    options = parser.parse_args()
    if options.n < 10 * options.batch_size * options.world_size:
        sys.exit("--n must be at least ten global batches")
    distributed_sampler()  # first, as it looks at the peak of the process
    simulate(options)
    ids()


if __name__ == "__main__":
    main()
