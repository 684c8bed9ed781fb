"""Windows over one array in memory, against the fancy index that gathers the same rows.

Requires headrace. The rival is `array[starts[:, None] + steps]`, a batch a call in one thread, over
starts in a permutation that is already there; it makes the indices of the rows itself, or has them
ready. Neither hands anything over.

    python benchmarks/windows.py --rounds 5 --json windows.json
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

import parts
from measuring import Numbers, Pass, RunEpoch, epochs_of, measure, measure_in_turns

BATCH_SIZE = 128
BOUND = ">= 0.8"
SCRIPT = Path(__file__).resolve()
# Numbers in a row, and rows in a window: a univariate day of hours, sensors, and long windows.
SHAPES = {"24 of 1": (1, 24), "24 of 8": (8, 24), "120 of 14": (14, 120), "512 of 1": (1, 512)}


def rows_of(width: int, samples: int) -> np.ndarray:
    """All numbers of row i are i."""
    return np.repeat(np.arange(samples, dtype=np.float32)[:, None], width, axis=1)


@contextmanager
def fancy(width: int, length: int, samples: int, ready: bool) -> Iterator[RunEpoch]:
    """The rival."""
    array, steps = rows_of(width, samples + length - 1), np.arange(length)
    starts = np.random.default_rng(0).permutation(samples).reshape(-1, BATCH_SIZE)
    rows = [batch[:, None] + steps for batch in starts[:: 1 if ready else len(starts)]]

    def run(_epoch: int, check: bool) -> Pass:
        started = time.perf_counter()
        first = total = 0.0
        for number, batch in enumerate(starts):
            windows = array[rows[number] if ready else batch[:, None] + steps]
            first = first or time.perf_counter() - started
            total += float(windows[:, 0, 0].sum()) if check else 0.0
        return Pass(first, total)

    yield run


@contextmanager
def headrace(width: int, length: int, samples: int, executor: str | None) -> Iterator[RunEpoch]:
    import headrace as hr

    windows = hr.Windows(rows_of(width, samples + length - 1), length)
    chosen = None if executor is None else getattr(hr, executor)()
    loader = hr.Loader(windows, batch_size=BATCH_SIZE, seed=0, executor=chosen)
    with epochs_of(loader) as run:
        yield run


@contextmanager
def read(width: int, length: int, samples: int) -> Iterator[RunEpoch]:
    """The reader alone, a batch a call, without a loader."""
    import headrace as hr

    windows = hr.Windows(rows_of(width, samples + length - 1), length)
    starts = np.random.default_rng(0).permutation(samples).reshape(-1, BATCH_SIZE)

    def run(_epoch: int, check: bool) -> Pass:
        started = time.perf_counter()
        first = total = 0.0
        for batch in starts:
            out = np.empty((BATCH_SIZE, length, width), np.float32)
            windows.read(batch, out)
            first = first or time.perf_counter() - started
            total += float(out[:, 0, 0].sum()) if check else 0.0
        return Pass(first, total)

    yield run


FANCY = "fancy index"
OURS = "headrace, default"
CONTENDERS: dict[str, Callable[[int, int, int], AbstractContextManager[RunEpoch]]] = {
    FANCY: lambda *shape: fancy(*shape, ready=False),
    f"{FANCY}, indices ready": lambda *shape: fancy(*shape, ready=True),
    "headrace, its reader alone": read,
    "headrace, Inline": lambda *shape: headrace(*shape, executor="Inline"),
    OURS: lambda *shape: headrace(*shape, executor=None),
}


def named(shape: str, contender: str) -> str:
    return f"{shape}: {contender}"


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    shape, name = request["name"].split(": ")
    width, length = SHAPES[shape]
    samples = request["samples"]
    checksum = samples * (samples - 1) / 2
    with CONTENDERS[name](width, length, samples) as run:
        nbytes = samples * length * width * 4
        numbers = measure(run, request["seconds"], samples, nbytes, checksum)
    return numbers | {"us_per_batch": 1e6 * BATCH_SIZE / numbers["samples_per_s"]}


def targets(results: parts.Results) -> list[Numbers]:
    made = []
    for shape in SHAPES:
        for ours in ("headrace, its reader alone", OURS):
            against = parts.ratio(results, named(shape, ours), named(shape, FANCY))
            made.append(parts.target(f"windows of {shape}: {ours}", FANCY, BOUND, against))
    return made


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of a measurement")
    options = parts.options_of(parser, measured, seconds=0.2)
    samples = 512 * BATCH_SIZE
    names = [named(shape, name) for shape in SHAPES for name in CONTENDERS]
    request = {"samples": samples, "seconds": options.seconds}
    results, missing = measure_in_turns(SCRIPT, names, request, options.rounds, options.patience)
    columns = (*parts.PLAIN_COLUMNS, parts.Column("us a batch", "us_per_batch", ".1f"))
    parts.report(
        options,
        "windows",
        f"Shuffled windows over {samples} rows of float32 in memory, batches of {BATCH_SIZE}.",
        columns,
        results,
        missing,
        targets(results),
    )


if __name__ == "__main__":
    main()
