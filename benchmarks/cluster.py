"""What `hr.Ray` adds to a batch of 16 MB: on the consumer's node, and from another one.

Requires headrace, and Ray. Making the batch costs nothing, as the worker has it ready, so what is
measured is handing it over: one at a time, from asking for it until it is there; and many in a row,
with two workers, as in training. The other node is a second raylet with an object store of its own
on the same machine, so its batches go through the loopback interface: a network adds its own time.
Beside it stand Threads, Processes, the copying of 16 MB of memory, and Ray's `put` and `get` alone.

    python benchmarks/cluster.py --rounds 3 --json cluster.json
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import parts
from measuring import MissingError, Numbers, measure_in_turns

SCRIPT = Path(__file__).resolve()
NBYTES = 16_000_000
STORE_BYTES = 512 * 2**20
IN_A_ROW, ALONE = 40, 40

# Gives batches for keys.
Make = Callable[[Iterable[int]], Iterator[Any]]


class Ready:
    """Makes batches without making anything."""

    def __init__(self) -> None:
        self._batch = np.arange(NBYTES // 4, dtype=np.int32)

    def __call__(self, key: int) -> Any:
        return self._batch


@contextmanager
def headrace(executor: Any) -> Iterator[Make]:
    ready = Ready()
    try:
        yield lambda keys: executor.map(ready, keys)
    finally:
        executor.close()


@contextmanager
def threads() -> Iterator[Make]:
    import headrace as hr

    with headrace(hr.Threads(2)) as make:
        yield make


@contextmanager
def processes() -> Iterator[Make]:
    import headrace as hr

    with headrace(hr.Processes(2)) as make:
        yield make


@contextmanager
def two_nodes() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ModuleNotFoundError as error:
        raise MissingError(f"{error.name} is not installed") from None
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "resources": {"consumer's": 2},
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        },
    )
    try:
        cluster.add_node(num_cpus=2, resources={"other": 2}, object_store_memory=STORE_BYTES)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        yield ray
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def on_node(name: str) -> Iterator[Make]:
    with two_nodes():
        import headrace as hr

        with headrace(hr.Ray(2, resources={name: 1})) as make:
            yield make


@contextmanager
def put_and_get() -> Iterator[Make]:
    with two_nodes() as ray:
        ready = Ready()
        yield lambda keys: (ray.get(ray.put(ready(key))) for key in keys)


@contextmanager
def copying() -> Iterator[Make]:
    ready, copy = Ready(), np.empty(NBYTES // 4, np.int32)

    def copied(key: int) -> Any:
        np.copyto(copy, ready(key))
        return copy

    yield lambda keys: map(copied, keys)


CONTENDERS: dict[str, Callable[[], AbstractContextManager[Make]]] = {
    "a copy of 16 MB by np.copyto": copying,
    "ray.put and ray.get alone": put_and_get,
    "headrace, Threads(2)": threads,
    "headrace, Processes(2)": processes,
    "headrace, Ray(2), the consumer's node": lambda: on_node("consumer's"),
    "headrace, Ray(2), the other node": lambda: on_node("other"),
}


def check(batch: Any) -> None:
    if (batch[0], batch[-1]) != (0, NBYTES // 4 - 1):
        raise SystemExit(f"the batch has {batch[0]} and {batch[-1]} at its ends")


def measured(request: Numbers) -> Numbers:
    """The numbers of one contender, in the process of their measurement."""
    with CONTENDERS[request["name"]]() as make:
        started = time.perf_counter()
        for number, batch in enumerate(make(range(IN_A_ROW))):  # to warm up
            if not number:
                first_batch_ms = 1e3 * (time.perf_counter() - started)
            check(batch)
            del batch
        alone_s = []
        for key in range(ALONE):
            began = time.perf_counter()
            batch = next(make([key]))
            alone_s.append(time.perf_counter() - began)
            check(batch)
            del batch
        epochs = 0
        watch = parts.Watch()
        while watch.elapsed_s < request["seconds"]:
            epochs += 1
            for batch in make(range(IN_A_ROW)):
                check(batch)
                del batch
        elapsed_s = watch.elapsed_s
        numbers = watch.stop(epochs, IN_A_ROW, IN_A_ROW * NBYTES)
    del numbers["samples_per_s"]  # there are none
    return numbers | {
        "first_batch_ms": first_batch_ms,
        "alone_ms": 1e3 * statistics.median(alone_s),
        "in_a_row_ms": 1e3 * elapsed_s / (epochs * IN_A_ROW),
    }


def overheads(results: parts.Results) -> list[Numbers]:
    """What a batch costs that is handed over by Ray; there is no target."""
    found = []
    for name in CONTENDERS:
        if "Ray(2)" in name:
            in_a_row_ms = parts.middle(results, name, "in_a_row_ms")
            note = "" if in_a_row_ms is None else f"one of many in a row: {in_a_row_ms:.3g} ms"
            work = f"overhead of a ready batch of 16 MB, {name.removeprefix('headrace, ')}, ms"
            found.append(parts.target(work, "", "", parts.middle(results, name, "alone_ms"), note))
    return found


def main() -> None:
    parser = parts.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of a measurement")
    options = parts.options_of(parser, measured, seconds=0.3)
    request = {"seconds": options.seconds}
    results, missing = measure_in_turns(
        SCRIPT, list(CONTENDERS), request, options.rounds, options.patience
    )
    columns = (
        parts.Column("one alone, ms", "alone_ms", ".2f"),
        parts.Column("one of many in a row, ms", "in_a_row_ms", ".2f"),
        parts.SPEED,
        parts.Column(f"CPU s for {IN_A_ROW}", "cpu_s_per_epoch", ".3f"),
        parts.Column("first batch, ms", "first_batch_ms", ".0f"),
        parts.Column("peak RSS, MiB", "peak_rss_mib"),
    )
    parts.report(
        options,
        "cluster",
        "A ready batch of 16 MB, handed over; the other node is a raylet on the same machine.",
        columns,
        results,
        missing,
        overheads(results),
    )


if __name__ == "__main__":
    main()
