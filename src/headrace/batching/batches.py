"""Batches: what an executor makes of blocks, one batch after the other, and counted.

Requires the results of a `BatchMaker`.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from headrace.batching.bad_samples import BadSamples
from headrace.batching.batch_maker import Made
from headrace.batching.stats import Meter
from headrace.sampling.batch_sampler import BatchKey


class Batches(Iterator[Any]):
    """The batches of `results`, each of which has those of one block.

    Args:
        results: of an executor.
        make: makes the batches of keys that are left, when their turn comes.
        meter: counts what is handed over.
        bad_samples: counts what was replaced in it.
    """

    def __init__(
        self,
        results: Iterator[Made],
        make: Callable[[BatchKey], Made],
        meter: Meter,
        bad_samples: BadSamples,
    ) -> None:
        self._results = results
        self._make = make
        self._meter = meter
        self._bad_samples = bad_samples
        self._batches: list[Any] = []  # of the present block, the next one last
        self._samples = self._nbytes = 0
        self._copied_s = 0.0
        self._left: list[BatchKey] = []

    def __next__(self) -> Any:
        if not self._batches:
            self._take_block()
        self._meter.count_batch(self._samples, self._nbytes)
        return self._batches.pop()  # with no name for it here, it is the consumer's alone

    def _take_block(self) -> None:
        asked = time.perf_counter()
        ready = getattr(self._results, "ready", 0)
        if not self._left:
            made = next(self._results)
            copied_s = getattr(self._results, "copying_s", 0.0)
            self._meter.handing_over_s += copied_s - self._copied_s
            self._copied_s = copied_s
            self._left = list(made.left)
        if self._left:
            made = self._make(self._left.pop(0))
        if made.replaced:
            self._bad_samples.take(made.replaced, made.made_for)
        self._meter.count_block(made, asked, ready)
        self._batches = made.batches
        self._batches.reverse()
        self._samples, self._nbytes = made.samples, made.batch_nbytes
