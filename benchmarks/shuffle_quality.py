"""How well `BlockShuffle` mixes, and how fast it is read, for windows of one block to all.

Requires headrace[hdf5] and matplotlib. The samples lie in an HDF5 file of gzip chunks, of which the
reader keeps some in memory. For each window:

- spread: the standard deviation of the number of samples of a class in a batch, relative to that of
  a full shuffle, where the samples are stored sorted by class, which is the worst there is, and
  where they are stored at random;
- neighbours: the share of samples that follow one of their own block;
- speed: batches from `Loader` with its default executor, for so many seconds. Contenders take
  turns; the median of the rounds is shown.

    python benchmarks/shuffle_quality.py --rounds 3 --plot docs/shuffle_quality.png
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import h5py
import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot

import headrace as hr
from headrace.batching.read_amplification import read_amplification

BATCH_SIZE = 128
BLOCK, BLOCKS = 256, 256
SAMPLES = BLOCK * BLOCKS
FLOATS = 1024  # 4 KB a sample, 1 MiB a chunk
CACHE_BYTES = 2**26
CLASSES = 16
WINDOWS = [2**k for k in range(9)]
EPOCHS = 4  # whose batches are counted
IN_ORDER, FULL = "in order", "full shuffle"
INK, FAINT, OURS, OTHER = "#1f2328", "#59636e", "#1f6feb", "#bc4c00"


class Quality(NamedTuple):
    """Of an order; see the first lines."""

    spread_sorted: float
    spread_random: float
    neighbours: float


def quality(shuffle: bool | hr.BlockShuffle) -> Quality:
    sampler = hr.BatchSampler(SAMPLES, BATCH_SIZE, shuffle)
    by_class = np.arange(SAMPLES) // (SAMPLES // CLASSES)
    at_random = np.random.default_rng(0).permutation(by_class)
    counts: dict[str, list[np.ndarray]] = {"sorted": [], "random": []}
    same_block = []
    for epoch in range(EPOCHS):
        for step in range(len(sampler)):
            indices = sampler.indices(epoch, step)
            counts["sorted"].append(np.bincount(by_class[indices], minlength=CLASSES))
            counts["random"].append(np.bincount(at_random[indices], minlength=CLASSES))
            same_block.append((np.diff(indices // BLOCK) == 0).mean())
    spread = {name: float(np.std(np.array(each))) for name, each in counts.items()}
    return Quality(spread["sorted"], spread["random"], float(np.mean(same_block)))


def expected_spread(window: int) -> float:
    """Relative to a full shuffle, where each block is of one class."""
    between = (BLOCKS - window) / (BLOCKS - 1) / window
    return math.sqrt(1 + (BATCH_SIZE - 1) * between)


def write(path: Path) -> None:
    """Makes the file: numbers that compress to about a third, as those of photographs may."""
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "x", (SAMPLES, FLOATS), "float32", chunks=(BLOCK, FLOATS), compression="gzip"
        )
        for start in range(0, SAMPLES, BLOCK):
            data[start : start + BLOCK] = generator.integers(0, 256, (BLOCK, FLOATS))


def samples_per_s(path: Path, shuffle: bool | hr.BlockShuffle, seconds: float) -> float:
    """From an epoch's second batch on, as long as that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hr.ReadAmplificationWarning)
        loader = hr.Loader(hr.Hdf5(path, "x", cache_bytes=CACHE_BYTES), BATCH_SIZE, shuffle=shuffle)
    with loader:
        next(iter(loader))  # starts the threads
        taken, started = 0, time.perf_counter()
        for _ in loader.stream():
            taken += BATCH_SIZE
            if time.perf_counter() - started > seconds:
                break
        return taken / (time.perf_counter() - started)


def plot(results: dict[str, dict[str, float]], path: Path) -> None:
    pyplot.rcParams.update({"font.size": 10, "text.color": INK, "axes.labelcolor": INK})
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 7.2), sharex=True)
    windows = [results[str(window)] for window in WINDOWS]

    above.plot(WINDOWS, [expected_spread(w) for w in WINDOWS], color=FAINT, lw=1, ls="--",
               label=r"computed: $\sqrt{1 + (b-1)(M-w)/((M-1)w)}$")  # fmt: skip
    above.plot(WINDOWS, [w["spread_sorted"] for w in windows], "o-", color=OTHER, lw=2,
               label="stored sorted by class")  # fmt: skip
    above.plot(WINDOWS, [w["spread_random"] for w in windows], "s-", color=OURS, lw=2,
               label="stored in random order")  # fmt: skip
    above.set_yscale("log", base=2)
    above.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    above.set_ylabel("spread of class counts in a batch,\n1 = full shuffle (lower is better)")
    above.legend(frameon=False)
    above.set_title(
        f"Mixing: batches of b = {BATCH_SIZE}, M = {BLOCKS} blocks of {BLOCK} samples", loc="left"
    )

    kept = CACHE_BYTES // (BLOCK * FLOATS * 4)
    below.plot(WINDOWS, [w["samples_per_s"] for w in windows], "o-", color=OURS, lw=2)
    speeds = [row["samples_per_s"] for row in results.values()]
    low, high = min(speeds) / 2, max(speeds) * 2
    right = WINDOWS[-1] * 1.15
    for name, x, side in ((IN_ORDER, right, "right"), (FULL, 1, "left")):
        speed = results[name]["samples_per_s"]
        below.axhline(speed, color=FAINT, lw=1, ls="--")
        below.text(x, speed * 1.1, f"{name}: {speed:,.0f}", color=FAINT, ha=side)
    below.axvspan(kept, WINDOWS[-1] * 1.2, color="#eaeef2", zorder=0)
    shaded = f"more than the\n{kept} blocks that\nthe reader keeps"
    below.text(right, math.sqrt(low * high), shaded, color=FAINT, ha="right")
    below.set_yscale("log")
    below.set_ylim(low, high)
    below.set_ylabel("samples per second (higher is better)")
    below.set_title("Reading: an HDF5 file of gzip chunks of 1 MiB", loc="left")
    below.set_xscale("log", base=2)
    below.set_xlim(0.85, WINDOWS[-1] * 1.2)
    below.set_xticks(WINDOWS, [str(w) if w < BLOCKS else f"{w}\n(all)" for w in WINDOWS])
    below.set_xlabel("window of hr.BlockShuffle, in blocks")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eaeef2")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--plot", type=Path, help="where to draw them")
    options = parser.parse_args()

    orders: dict[str, bool | hr.BlockShuffle] = {IN_ORDER: False}
    orders |= {str(window): hr.BlockShuffle(BLOCK, window) for window in WINDOWS}
    orders[FULL] = True
    results: dict[str, dict[str, float]] = {}
    full = quality(True)
    kept = CACHE_BYTES // (BLOCK * FLOATS * 4)
    for name, shuffle in orders.items():
        found = full if shuffle is True else quality(shuffle)
        order = shuffle if isinstance(shuffle, hr.BlockShuffle) else None
        times = 1.0
        if shuffle is not False:
            times = read_amplification(SAMPLES, BLOCK, kept, order, BATCH_SIZE)
        results[name] = {
            "spread_sorted": found.spread_sorted / full.spread_sorted,
            "spread_random": found.spread_random / full.spread_random,
            "neighbours": found.neighbours,
            "amplification": times,
        }
    speeds: dict[str, list[float]] = {name: [] for name in orders}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.h5"
        write(path)
        for number in range(options.rounds):
            for name, shuffle in orders.items():
                speeds[name].append(samples_per_s(path, shuffle, options.seconds))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    for name, each in speeds.items():
        results[name]["samples_per_s"] = statistics.median(each)

    print("| window | spread, sorted by class | spread, at random | neighbours of a block | "
          "computed amplification | samples/s |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in results.items():
        print(
            f"| {name} | {row['spread_sorted']:.2f} | {row['spread_random']:.2f} | "
            f"{row['neighbours']:.1%} | {row['amplification']:.3g} | {row['samples_per_s']:,.0f} |"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
