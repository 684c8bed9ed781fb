"""Feed: the batches of a sampler, prefetched by an executor, and the cursor that they move.

Each loader has one, and adapters deliver its batches. It knows no framework.
"""

import copy
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

from headrace.batching.bad_samples import BadSample, BadSamples
from headrace.batching.batch_maker import BatchMaker, BlockResult, ReadyBatches
from headrace.batching.cursor import Cursor, Identity
from headrace.batching.stats import Meter
from headrace.batching.transforms import Batch
from headrace.errors import ExecutorClosedError, stopped_early
from headrace.executors.executor import Executor, Results, map_checked
from headrace.executors.inline import Inline
from headrace.pytree import nbytes
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import BatchKey, Block, Place

# Look-ahead is counted in blocks: one of them is at most this part of its budget.
_BLOCKS_AHEAD = 8
_MOST_STEPS_IN_A_BLOCK = 64


class Feed:
    """The batches of a sampler, in any order, or ahead of their consumer.

    Args:
        sampler: says which samples each batch holds.
        maker: makes a batch of its key.
        executor: makes batches ahead.
        bad_samples: counts what was substituted.
        identity: of the loader, for states.

    Attributes:
        cursor: where iteration goes on. What delivers batches moves it.
        meter: counts what was taken.
    """

    def __init__(
        self,
        sampler: BatchSampler,
        maker: BatchMaker | ReadyBatches,
        executor: Executor,
        bad_samples: BadSamples,
        identity: Identity,
    ) -> None:
        self.sampler = sampler
        self.maker = maker
        self.executor = executor
        self.bad_samples = bad_samples
        start = sampler.normal(Place(0, 0)) if sampler.left_out else Place(0, 0)
        self.cursor: Cursor = Cursor(sampler, identity, start)
        self.meter: Meter = Meter()
        self._identity = identity
        # The prefetched batches, with the place and the process that they are for, and how often
        # steps had been left out by then; or nothing. A list, as popping from it is atomic, also
        # where threads run at once.
        self._ahead: list[tuple[tuple[Place, int, int], Batches]] = []

    def make(self, key: BatchKey) -> Batch:
        """The batch of a key, made in this thread. It counts in `bad_samples`, not in `meter`."""
        result = self.maker.make(key)
        self.bad_samples.take(result.bad_samples, result.key)
        return result.batches[0]

    def take(self, place: Place) -> Batch:
        """The batch at `place`, prefetched if the call before was for the place before it.

        It does not move the cursor.
        """
        return self._take(place, self.sampler.after(place))

    def take_epoch(self, place: Place) -> Iterator[Batch]:
        """The batches from `place` to the end of its epoch, by `take`."""
        for _ in range(self.sampler.steps_left(place)):
            after = self.sampler.after(place)
            yield self._take(place, after)
            place = after

    def _take(self, place: Place, after: Place) -> Batch:
        """The batch at `place`, and then those from `after` on are prefetched."""
        # What was started before a fork is the parent's.
        here = (place, os.getpid(), self.sampler.left_out.changes)
        try:
            started, batches = self._ahead.pop()  # after a failure, the next call starts over
        except IndexError:
            started = None
        if started != here:
            batches = self.batches_from(place)
        try:
            batch = next(batches)
        except ExecutorClosedError:  # by another loader that shares it
            batches = self.batches_from(place)
            batch = next(batches)
        except StopIteration as error:  # the keys are endless
            raise stopped_early(error, f"{self.executor!r}") from error
        self._ahead[:] = [((after, *here[1:]), batches)]
        return batch

    def batches_from(self, place: Place, *, epochs: int | None = None) -> "Batches":
        """The batches from `place` on, prefetched by the executor, apart from those of `take`.

        They end after `epochs` epochs, the first of which is that of `place`; without it, never.
        """
        results = self._results_from(place, epochs, self._steps_in_a_block())
        return Batches(results, self.maker.make, self.meter, self.bad_samples)

    def count_substituted(self, bad_samples: Iterable[BadSample], key: str) -> None:
        """Counts bad samples of a batch from another process.

        Raises:
            SampleError: the error of the first one beyond `max_bad_samples`.
        """
        self.bad_samples.take(bad_samples, key)

    def count_delivering(self, seconds: float) -> None:
        """Counts time that an adapter has spent to bring batches to where they are consumed."""
        self.meter.delivering_s += seconds

    def ready(self, batches: int) -> "Feed":
        """A feed of the same length that gives the first few batches again and again."""
        first: list[BlockResult] = []
        results = self._results_from(Place(0, 0), None, steps_in_a_block=1)
        for result in islice(results, batches):
            self.bad_samples.take(result.bad_samples, result.key)
            first.append(result)
        results.close()
        maker = ReadyBatches(first, self.maker.with_indices)
        return Feed(self.sampler, maker, Inline(), self.bad_samples, self._identity)

    def with_sampler(self, sampler: BatchSampler) -> "Feed":
        """A feed of the same samples in the same order, with a cursor of its own.

        It starts where the next pass of this one would.

        Args:
            sampler: that of this feed, for another rank or with another tail.
        """
        feed = copy.copy(self)
        feed.sampler, feed.meter = sampler, self.meter
        feed.cursor = Cursor(sampler, self._identity, self.cursor.start)
        return feed

    def close(self) -> None:
        """Drops the prefetched batches, and ends the executor's workers."""
        self._ahead.clear()
        self.executor.close()
        self.maker.release_memory()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_ahead": [], "meter": Meter()}

    def _results_from(
        self, place: Place, epochs: int | None, steps_in_a_block: int
    ) -> Results[BlockResult]:
        """What the executor makes of the blocks from `place` on."""
        last = None if epochs is None else place.epoch + epochs
        blocks = _blocks(self.sampler, place, last, steps_in_a_block)
        return map_checked(self.executor, self.maker, blocks)

    def _steps_in_a_block(self) -> int:
        """How many batches are made at a time: several, where making one costs very little."""
        # An executor without such a budget makes each batch when it is asked for.
        budget = self.executor.lookahead_bytes // _BLOCKS_AHEAD
        if not budget or not self.maker.reads_together:
            return 1
        batch_nbytes = self.sampler.batch_size * self.maker.sample_nbytes
        return max(1, min(_MOST_STEPS_IN_A_BLOCK, budget // max(1, batch_nbytes)))


@runtime_checkable
class HasFeed(Protocol):
    """What adapters are given: a loader."""

    _feed: Feed


def feed_of(loader: HasFeed) -> Feed:
    """The feed of a loader, for its adapters. It is no part of what a loader shows to users."""
    return loader._feed


class Batches(Iterator[Batch]):
    """The batches of `results`, each of which holds those of a block; counted as they are taken.

    Args:
        results: of an executor.
        make: makes the batches of keys that a result leaves, when their turn comes.
        meter: counts what is taken.
        bad_samples: counts what was substituted in it.
    """

    def __init__(
        self,
        results: Results[BlockResult],
        make: Callable[[BatchKey], BlockResult],
        meter: Meter,
        bad_samples: BadSamples,
    ) -> None:
        self._results = results
        self._make = make
        self._meter = meter
        self._bad_samples = bad_samples
        self._batches: list[Batch] = []  # of the present block, the next one last
        self._samples = 0
        self._nbytes: int | None = 0  # of each of those batches; None where they differ
        self._copied_s = 0.0
        self._left: list[BatchKey] = []

    def __next__(self) -> Batch:
        if not self._batches:
            self._take_block()
        size = self._nbytes
        self._meter.count_batch(self._samples, nbytes(self._batches[-1]) if size is None else size)
        return self._batches.pop()  # with no name for it here, it is the consumer's alone

    def _take_block(self) -> None:
        asked = time.perf_counter()
        ready = self._results.ready
        if not self._left:
            result = next(self._results)
            copied_s = self._results.copying_s
            self._meter.delivering_s += copied_s - self._copied_s
            self._copied_s = copied_s
            self._left = list(result.left)
        if self._left:
            result = self._make(self._left.pop(0))
        if result.bad_samples:
            self._bad_samples.take(result.bad_samples, result.key)
        self._meter.count_block(result, asked, ready)
        self._batches = result.batches
        self._batches.reverse()
        self._samples, self._nbytes = result.samples, result.batch_nbytes


def _blocks(sampler: BatchSampler, place: Place, last: int | None, most: int) -> Iterator[Block]:
    epoch, position = place
    first = True
    while epoch != last:
        yield from sampler.blocks(Place(epoch, position), most=most, at_once=not first)
        epoch, position, first = epoch + 1, 0, False
