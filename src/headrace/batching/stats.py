"""Stats: where the time of a loader goes, so that one line tells what holds training up.

Requires the batch maker's results. Collecting takes about a microsecond for each batch.
"""

import time
from typing import NamedTuple

from headrace.batching.batch_maker import BlockResult

# With less waiting than this, a free loader would hardly be noticed.
_SMALL_SHARE = 0.05


class Stats(NamedTuple):
    """What a loader has delivered, and how long that took. Durations are in seconds.

    Attributes:
        batches: delivered.
        samples: in them, without padding.
        nbytes: of their arrays.
        elapsed_s: from when the first batch was asked for to when the last was delivered.
        waited_s: how long of that the consumer waited for batches.
        reading_s: spent reading the samples. Of this and the next two, workers spend several
            seconds in a second.
        transforming_s: spent in the transform.
        handing_over_s: spent copying to shared memory, and to tensors and devices.
        ready_p50: the median of the number of batches that were ready when one was asked for.
        ready_p99: the 99th percentile of it: about how far look-ahead goes.
        replaced: bad samples in the batches, for which others were taken.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> loader = hr.Loader(np.zeros((6, 2)), batch_size=2)
        >>> batches = list(loader)
        >>> stats = loader.stats()
        >>> stats.batches, stats.samples, stats.nbytes
        (3, 6, 96)
    """

    batches: int
    samples: int
    nbytes: int
    elapsed_s: float
    waited_s: float
    reading_s: float
    transforming_s: float
    handing_over_s: float
    ready_p50: int
    ready_p99: int
    replaced: int = 0

    @property
    def waited_share(self) -> float:
        """The part of the time that the consumer waited for batches, from 0 to 1."""
        return self.waited_s / self.elapsed_s if self.elapsed_s else 0.0

    def __str__(self) -> str:
        if not self.batches:
            return "No batch was handed over yet."
        work = {
            "read": self.reading_s,
            "transform": self.transforming_s,
            "hand over": self.handing_over_s,
        }
        verdict = "the consumer is the bottleneck"
        if self.waited_share >= _SMALL_SHARE:
            longest = max(work, key=lambda name: work[name])
            verdict = f"data is the bottleneck, most of all to {longest} it"
        each = ", ".join(f"{1e3 * s / self.batches:.3g} ms to {name}" for name, s in work.items())
        replaced = f", {self.replaced} of them replaced" if self.replaced else ""
        samples = f"{self.samples} samples{replaced}"
        size = f"{self.batches} batches ({samples}, {self.nbytes / 1e6:.3g} MB)"
        return (
            f"{verdict}: the consumer waited {self.waited_share:.0%} of {self.elapsed_s:.3g} s for "
            f"{size}. One took {each}. When asked for one, {self.ready_p50} were ready (median; "
            f"{self.ready_p99} in the 99th percentile)."
        )


class Meter:
    """Counts what is delivered."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets what was counted."""
        self.delivering_s: float = 0.0
        self._batches = self._samples = self._nbytes = self._replaced = 0
        self._started: float | None = None
        self._last = self._waited_s = self._reading_s = self._transforming_s = 0.0
        self._times_ready: dict[int, int] = {}

    def count_block(self, result: BlockResult, asked: float, ready: int) -> None:
        """Counts a result of a `BatchMaker` that was asked for then, when so many were ready."""
        now = time.perf_counter()
        if self._started is None:
            self._started = asked
        self._waited_s += now - asked
        self._reading_s += result.reading_s
        self._transforming_s += result.transforming_s
        self._replaced += len(result.bad_samples)
        steps = len(result.batches)
        ready *= steps
        self._times_ready[ready] = self._times_ready.get(ready, 0) + steps

    def count_batch(self, samples: int, nbytes: int) -> None:
        """Counts a batch that is delivered now."""
        self._last = time.perf_counter()
        self._batches += 1
        self._samples += samples
        self._nbytes += nbytes

    def stats(self) -> Stats:
        """What was counted."""
        return Stats(
            self._batches,
            self._samples,
            self._nbytes,
            0.0 if self._started is None else self._last - self._started,
            self._waited_s,
            self._reading_s,
            self._transforming_s,
            self.delivering_s,
            self._percentile_ready(50),
            self._percentile_ready(99),
            self._replaced,
        )

    def _percentile_ready(self, percent: int) -> int:
        rest = sum(self._times_ready.values()) * percent / 100
        for ready, times in sorted(self._times_ready.items()):
            rest -= times
            if rest <= 0:
                return ready
        return 0
