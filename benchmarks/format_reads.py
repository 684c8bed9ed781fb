"""Random batches from each format, against the obvious loop and the library's own bulk read.

Requires headrace with the extras of the formats; a format whose library is not installed is named
as missing. A module in `formats/` writes the samples, and has the loop: what a `__getitem__` with
that library would do, with handles kept open, a sample a call, in one thread. The limit is the
library's fastest way to read everything once, in the order in which it is stored, in one call.
All is in the page cache. Decoded blocks may take an eighth of the data, as they could of data
larger than memory; the loop has the library's own caches as they come.

    python benchmarks/format_reads.py --rounds 3 --json formats.json
"""

import importlib
import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import headrace as hr
import parts
from measuring import (
    MissingError,
    Numbers,
    Pass,
    RunEpoch,
    consume,
    epochs_of,
    measure,
    measure_in_turns,
)

BATCH_SIZE = 64
SCRIPT = Path(__file__).resolve()
FORMATS = ("npz", "npy_shards", "hdf5", "zarr", "parquet", "arrow", "getitem", "images", "tar")
# Where samples are stored in blocks, both orders are measured.
IN_BLOCKS = ("hdf5", "zarr", "parquet")
FULL, BLOCKS = "full shuffle", "BlockShuffle"
LIMIT, LOOP = "bulk read", "loop, a sample a call"
ONE, TWO = "headrace, Inline", "headrace, Threads(2)"
CONTENDERS = (LIMIT, LOOP, ONE, TWO)


def samples_of(n: int, side: int) -> np.ndarray:
    """Noisy gradients, which compress to about two thirds: uint8, shape (n, side, side, 3)."""
    rng = np.random.default_rng(0)
    samples = rng.integers(16, size=(n, side, side, 3), dtype=np.uint8)
    samples += np.linspace(0, 200, side, dtype=np.uint8)[:, None, None]
    samples[:, 0, 0, 0] = np.arange(n) % 251
    return samples


def module_of(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"formats.{name}")
    except ImportError as error:
        raise MissingError(f"{error.name or error} is not installed") from None


def contenders_of(module: ModuleType, folder: Path, n: int, cache_bytes: int) -> dict[str, Any]:
    """The module's contenders, with a limited cache where the reader has one."""
    limited = "cache_bytes" in inspect.signature(module.contenders).parameters
    limit = {"cache_bytes": cache_bytes} if limited else {}
    found: dict[str, Any] = module.contenders(folder, n, **limit)
    return found


@contextmanager
def bulk(module: ModuleType, folder: Path, checksum: float) -> Iterator[RunEpoch]:
    read = module.bulk(folder)

    def run(_epoch: int, check: bool) -> Pass:
        if read() <= 0:
            raise SystemExit("the bulk read has read nothing")
        return Pass(0.0, checksum if check else 0.0)

    yield run


@contextmanager
def loop(
    read: Callable[..., None], n: int, order: Any, shape: tuple[int, ...]
) -> Iterator[RunEpoch]:
    sampler = hr.BatchSampler(n, BATCH_SIZE, order, seed=0)

    def batches(epoch: int) -> Iterator[np.ndarray]:
        for step in range(len(sampler)):
            out = np.empty((BATCH_SIZE, *shape), np.uint8)
            read(sampler.indices(epoch, step), out)
            yield out

    yield lambda epoch, check: consume(batches(epoch), check)


@contextmanager
def headrace(reader: Any, order: Any, executor: hr.Executor) -> Iterator[RunEpoch]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hr.ReadAmplificationWarning)  # it is what is measured
        loader = hr.Loader(reader, BATCH_SIZE, shuffle=order, seed=0, executor=executor)
    with epochs_of(loader) as run:
        yield run


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    where, name = request["name"].split(": ")
    stored_as, order_name = where.split(", ")
    module = module_of(stored_as)
    folder, n, side = Path(request["folder"]) / stored_as, request["samples"], request["side"]
    samples = samples_of(n, side)
    if not folder.exists():
        folder.mkdir()
        module.write(folder, samples)
    checksum = float(samples[:, 0, 0, 0].sum())
    nbytes = samples.nbytes
    found = contenders_of(module, folder, n, nbytes // 8)
    reader = found["headrace"].__self__
    order: Any = True
    if order_name == BLOCKS:
        blocks = -(-n // reader.block)
        # Two windows fit into what is kept.
        order = hr.BlockShuffle(reader.block, max(1, min(blocks, reader.blocks_kept) // 2))
    makers = {
        LIMIT: lambda: bulk(module, folder, checksum),
        LOOP: lambda: loop(found["loop"], n, order, samples.shape[1:]),
        ONE: lambda: headrace(reader, order, hr.Inline()),
        TWO: lambda: headrace(reader, order, hr.Threads(2)),
    }
    with makers[name]() as run:
        return measure(run, request["seconds"], n, nbytes, checksum)


def targets(results: parts.Results) -> list[Numbers]:
    """Faster than the loop, with each format; how much of the bulk read that is, is said."""
    made = []
    for group in dict.fromkeys(name.rpartition(": ")[0] for name in results):
        ours = parts.best(results, [f"{group}: {ONE}", f"{group}: {TWO}"])
        against = parts.ratio(results, ours, f"{group}: {LOOP}")
        limit = parts.ratio(results, ours, f"{group}: {LIMIT}")
        note = f"by {ours.split(': ')[1]}; {limit:.2f} of the bulk read" if ours and limit else ""
        made.append(parts.target(f"random batches from {group}", LOOP, ">= 1", against, note))
    return made


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a measurement")
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--side", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--formats", nargs="*", default=FORMATS, choices=FORMATS)
    options = parts.options_of(parser, measured, seconds=0.1, samples=512)
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as folder:
        names = [
            f"{stored_as}, {order}: {name}"
            for stored_as in options.formats
            for order in ((FULL, BLOCKS) if stored_as in IN_BLOCKS else (FULL,))
            for name in CONTENDERS
        ]
        request = {
            "folder": folder,
            "samples": options.samples // BATCH_SIZE * BATCH_SIZE,
            "side": options.side,
            "seconds": options.seconds,
        }
        results, missing = measure_in_turns(
            SCRIPT, names, request, options.rounds, options.patience
        )
    parts.report(
        options,
        "formats",
        f"{options.samples} samples of {options.side} x {options.side} x 3 uint8 in each format, "
        f"batches of {BATCH_SIZE}.",
        parts.PLAIN_COLUMNS,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
