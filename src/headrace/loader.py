"""Loader: a source of samples, a sampler and a transform, as batches.

Requires the sampler, the readers and the executors. Promises the law: a batch is a pure function of
(data, configuration, epoch, step), whoever makes it, whenever, in whatever order.
"""

import copy
import functools
import itertools
import os
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, get_args

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.arrays import KEPT_BYTES, Indices, MemoryPool
from headrace.batching.bad_samples import BadSample, BadSamples, Replacement
from headrace.batching.batch_maker import BatchMaker, Repeated
from headrace.batching.batches import Batches
from headrace.batching.read_amplification import natural_block, warn_of_amplification
from headrace.batching.source import common_length, data_hash, readers_of
from headrace.batching.stats import Meter, Stats
from headrace.batching.transforms import Transform, per_sample
from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    ExecutorClosedError,
    LoaderMovedError,
    StateError,
    bad_type,
    bad_value,
)
from headrace.executors.executor import Executor
from headrace.executors.inline import Inline
from headrace.executors.threads import Threads
from headrace.sampling.batch_sampler import BatchKey, BatchSampler, Block, Place, Tail
from headrace.sampling.block_shuffle import BlockShuffle

if TYPE_CHECKING:
    import jax
    import keras

    from headrace.adapters.torch import HeadraceDataLoader

OnError = Literal["raise", "replace"]

_STATE_FORMAT = 1
_LONGEST_VERSION = 64
# Blocks are small beside the look-ahead, so that it stays what it is.
_BLOCKS_AHEAD = 8
_MOST_STEPS_IN_A_BLOCK = 64


class Loader:
    """Batches of samples, epoch after epoch, the same ones every time.

    A loader is a sequence of endless length of which any batch can be made at random, and has a
    cursor, its `place`, which iteration moves: `for batch in loader` goes on from the place to the
    end of its epoch. To look at a batch without moving, use `batch`.

    Args:
        source: a reader, a numpy array whose first axis runs over the samples, or a tuple or dict,
            nested at will, of those, all equally long. A batch has the same structure, of arrays.
        batch_size: samples in a batch.
        shuffle: a new order in each epoch (True), or the order of the source in all (False: for
            predictions that are to be matched with the samples); or `BlockShuffle()`, a new order
            in each epoch that costs little where samples are stored in blocks, such as chunks.
        seed: of the order and of the transform's random numbers, 0 to 2**128 - 1.
        tail: what becomes of the last samples of an epoch that don't fill a batch: "drop" leaves
            them out; "partial" makes a smaller batch of them; "pad" fills a batch up with other
            samples, and then every batch has one more element at its end, float32 weights of shape
            (batch,): 1 for samples, 0 for padding.
        rank: which of the `world_size` training processes this is. Each gets its own part of every
            step; `batch_size` is that of one rank.
        world_size: number of training processes.
        transform: `fn(batch, rng)` that returns the batch to hand over, or `per_sample(fn)`. `rng`
            is a `numpy.random.Generator` whose numbers depend on seed, epoch and position alone,
            and which is only good during the call.
        transform_version: names what the transform does, such as "2". A state says it, and is
            refused by a loader with another one. At most 64 characters.
        on_error: what becomes of a sample that can't be read: "raise" raises its error; "replace"
            takes another sample in its place, the same one on every run and executor, in all
            parts of the source, and warns of it. An error of the storage itself, such as of the
            network, is raised all the same.
        max_bad_samples: how many different samples this loader may replace; the one beyond is an
            error. Required for "replace".
        executor: where batches are made: `Threads(n)`; `Processes(n)`, for a transform that holds
            the GIL; `Inline()`. Default: `Threads()`. Its workers start when iteration does.
            Loaders may share one; each looks ahead within its whole budget.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> x, y = np.arange(10.0), np.arange(10)
        >>> loader = hr.Loader((x, y), batch_size=4, shuffle=False)
        >>> len(loader)
        2
        >>> for batch_x, batch_y in loader:
        ...     print(batch_y)
        [0 1 2 3]
        [4 5 6 7]
        >>> loader.batch(epoch=1, step=1)[1]
        array([4, 5, 6, 7])
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        shuffle: bool | BlockShuffle = True,
        seed: int = 0,
        tail: Tail = "drop",
        rank: int = 0,
        world_size: int = 1,
        transform: Transform | per_sample | None = None,
        transform_version: str = "",
        on_error: OnError = "raise",
        max_bad_samples: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._readers = readers_of(source)
        n = common_length(self._readers)
        if isinstance(shuffle, BlockShuffle) and shuffle.block is None:
            shuffle = BlockShuffle(natural_block(self._readers), shuffle.window)
        self.sampler = BatchSampler(n, batch_size, shuffle, seed, tail, rank, world_size)
        if (
            transform is not None
            and not callable(transform)
            and not isinstance(transform, per_sample)
        ):
            raise bad_type("transform", transform, "a function of (batch, rng), or per_sample(fn)")
        if not isinstance(transform_version, str):
            raise bad_type("transform_version", transform_version, "a str, such as '2'")
        if len(transform_version) > _LONGEST_VERSION:
            allowed = f"a str of at most {_LONGEST_VERSION} characters"
            raise bad_value("transform_version", transform_version, allowed)
        self._transform_version = transform_version
        if executor is not None and (
            isinstance(executor, type) or not isinstance(executor, Executor)
        ):
            raise bad_type("executor", executor, "Inline(), Threads(n) or another executor")
        if not len(self.sampler):
            warnings.warn(
                f"an epoch of {n} samples has no step: a global batch takes "
                f"{self.sampler.global_batch_size}, and tail='drop' leaves out what does not fill "
                "one. Use a smaller batch_size, or tail='partial' or 'pad'.",
                stacklevel=2,
            )
        replacement = _replacement(on_error, max_bad_samples, n)
        warn_of_amplification(self._readers, shuffle, self.sampler, stacklevel=2)
        self._bad_samples = BadSamples(max_bad_samples or 0)
        self.executor: Executor = Threads() if executor is None else executor
        # All that was made ahead comes back at once, when a consumer that has paused catches up.
        memory = MemoryPool(max(KEPT_BYTES, getattr(self.executor, "lookahead_bytes", 0)))
        self.make_batch: BatchMaker | Repeated = BatchMaker(
            self._readers, transform, seed, tail == "pad", memory, replacement
        )
        self._meter = Meter()
        self._place = Place(0, 0)
        # Batches made ahead, with the place and the process that they are for; or nothing. A list,
        # as taking out of it is one step, also where threads run at once.
        self._ahead: list[tuple[tuple[Place, int], Iterator[Any]]] = []

    def __len__(self) -> int:
        """Number of steps in an epoch, the same on every rank."""
        return len(self.sampler)

    def __repr__(self) -> str:
        return f"Loader({self._readers!r}, {self.sampler!r}, executor={self.executor!r})"

    def batch(self, epoch: int, step: int) -> Any:
        """The batch at `step` of `epoch`, made in this thread without moving the loader.

        Without a transform, each array has shape (batch, *sample) and the reader's dtype.

        Raises:
            OutOfRangeError: (an IndexError) `step` is not in `range(len(loader))`.
            SampleError: a sample can't be read; what a transform raises comes as it is.
        """
        return self.make(self.sampler.key(epoch, step))

    def make(self, key: BatchKey) -> Any:
        """The batch of a key of the loader's sampler, as `batch` makes it."""
        made = self.make_batch.make(key)
        self.count_replaced(made.replaced, made.made_for)
        return made.batches[0]

    def count_replaced(self, replaced: Iterable[BadSample], made_for: str) -> None:
        """Counts bad samples of a batch that another process has made. Adapters tell of them.

        Raises:
            SampleError: the error of the first one beyond `max_bad_samples`.
        """
        self._bad_samples.take(replaced, made_for)

    def indices(self, epoch: int, step: int) -> Indices:
        """The samples that the batch at `step` of `epoch` holds: int64, shape (batch,).

        Those that are bad are among them, and not what is taken in their place.
        """
        return self.sampler.indices(epoch, step)

    def __iter__(self) -> Iterator[Any]:
        """The batches from the loader's place to the end of its epoch.

        The loader moves as they are taken, and stands at the next epoch after the last. All its
        iterators move the same place, so a loop over a loader within a loop over it ends both
        epochs. Not to be used from several threads at once.
        """
        epoch = self._place.epoch
        while len(self) and self._place.epoch == epoch:
            yield self._next()

    def stream(self) -> Iterator[Any]:
        """The batches from the loader's place on, epoch after epoch, without end."""
        if not len(self):
            raise ArgumentError(f"a stream needs an epoch of at least one step; {self!r} has none.")
        while True:
            yield self._next()

    @property
    def place(self) -> Place:
        """The cursor: the epoch, and how many of its samples all ranks together have consumed."""
        return self._place

    @place.setter
    def place(self, place: Place) -> None:
        self._place = self.sampler.check_place(place)

    def check_unmoved(self, place: Place) -> None:
        """Raises an error unless the loader stands at `place`, where an adapter has left it.

        Raises:
            LoaderMovedError: (a RuntimeError) something else has moved it.
        """
        if self._place != place:
            raise LoaderMovedError(
                f"the loader was moved to {self._place} while something iterates over it that had "
                f"left it at {place}. Begin another iteration after moving a loader, and have one "
                "at a time."
            )

    @property
    def epoch(self) -> int:
        """The epoch of the batch that comes next."""
        return self._place.epoch

    def seek(self, epoch: int, step: int = 0) -> None:
        """Moves the loader, so that the batch at `step` of `epoch` comes next.

        Raises:
            OutOfRangeError: (an IndexError) `step` is not in `range(len(loader))`.
        """
        self._place = self.sampler.place(epoch, step)

    def fetch(self, place: Place) -> Any:
        """The batch at `place`, made ahead if the call before was for the place before it.

        Adapters take batches with it. It does not move the loader.
        """
        here = (place, os.getpid())  # what was begun before a fork is the parent's
        try:
            begun, batches = self._ahead.pop()  # whatever fails, the next call begins anew
        except IndexError:
            begun = None
        if begun != here:
            batches = self.batches_from(place)
        try:
            batch = next(batches)
        except ExecutorClosedError:  # by another loader that shares it
            batches = self.batches_from(place)
            batch = next(batches)
        self._ahead[:] = [((self.sampler.after(place), here[1]), batches)]
        return batch

    def batches_from(self, place: Place, *, epochs: int | None = None) -> Iterator[Any]:
        """The batches from `place` on, made ahead by the executor, without moving the loader.

        They end after `epochs` epochs, of which the first may have begun; without it, never.
        """
        return Batches(
            self._results_from(place, epochs),
            self.make_batch.make,
            self._meter,
            self._bad_samples,
        )

    @property
    def bad_samples(self) -> list[BadSample]:
        """The samples that `on_error="replace"` has replaced, in the order in which they came.

        Those that another rank meets are not among them, nor those of the workers of a PyTorch
        `DataLoader` that `to_torch` has not made.
        """
        return self._bad_samples.listed()

    def stats(self) -> Stats:
        """Where the time went since the loader was made, or since `reset_stats`.

        It counts what this process has taken from the executor: all but what `batch` makes, and
        what PyTorch's worker processes do. `print(loader.stats())` tells in one line whether the
        data or the consumer is the bottleneck.
        """
        return self._meter.stats()

    def reset_stats(self) -> None:
        """Lets `stats` begin anew, as after the first steps, which compile the model."""
        self._meter.reset()

    def count_handing_over(self, seconds: float) -> None:
        """Adds to the time of handing batches over. Adapters tell what they spend on it."""
        self._meter.handing_over_s += seconds

    def headspace(self, batches: int = 8) -> "Loader":
        """A loader that costs nothing, to learn how fast training could be with a free one.

        It has this loader's length and gives batches of the same form, to any framework, but they
        are always the same few, which are made now. Train on it for a while, and compare.

        Args:
            batches: how many batches to repeat, if an epoch has as many.
        """
        count = min(check_int("batches", batches, 1, 2**31), len(self))
        free = copy.copy(self)
        ready = list(itertools.islice(self._results_from(Place(0, 0)), count))
        for made in ready:
            self.count_replaced(made.replaced, made.made_for)
        free.make_batch = Repeated(ready)
        free.executor = Inline()
        free._place = Place(0, 0)
        free._meter = Meter()
        return free

    def state_dict(self) -> dict[str, Any]:
        """The loader's place, in JSON types, under 1 KB; taken in constant time after the first.

        A batch counts once it has been handed over. Beside the place, the state holds what the
        loader must have in common with the one that loads it: number of samples, order with seed,
        `transform_version`, and a hash of the source's structure, specs, and ids or labels, but not
        of the data.
        """
        place = self._place  # once, as another thread may move the loader meanwhile
        return {
            "format": _STATE_FORMAT,
            "epoch": place.epoch,
            "position": place.position,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Moves the loader to the place of `state`, which may come from another batch size,
        world size or executor.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples, another order or
                another version of the transform.
        """
        expected = {"format": _STATE_FORMAT, **self._identity()}
        for key, ours in expected.items():
            theirs = state.get(key) if isinstance(state, dict) else None
            if theirs != ours:
                raise StateError(
                    "state must come from a loader of the same samples in the same order, and of "
                    f"the same transform_version: its {key!r} is {theirs!r}, and this loader's "
                    f"is {ours!r}."
                )
        try:
            self.place = Place(state.get("epoch", -1), state.get("position", -1))
        except (ArgumentError, ArgumentTypeError) as error:
            raise StateError(f"state can't be gone on with here: {error}") from None

    def close(self) -> None:
        """Drops the batches made ahead and ends the executor's workers, until the next use."""
        self._ahead.clear()
        self.executor.close()
        self.make_batch.release_memory()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ahead": [], "_meter": Meter()}

    def to_keras(self) -> "keras.utils.PyDataset":
        """A `keras.utils.PyDataset` for fit, evaluate, predict: see `headrace.adapters.keras`."""
        from headrace.adapters.keras import KerasDataset

        return KerasDataset(self)

    def to_torch(self, **options: Any) -> "HeadraceDataLoader":
        """A PyTorch `DataLoader` of tensors, an epoch an iteration: see `headrace.adapters.torch`.

        It has the loader's `state_dict` and `load_state_dict`.

        Args:
            options: `device` for tensors on that device, one batch ahead, to CUDA devices through
                pinned memory; `loader_class` for a DataLoader of that class, such as torchdata's
                `StatefulDataLoader`; and those of `torch.utils.data.DataLoader`, such as
                `num_workers`.
        """
        from headrace.adapters.torch import make_data_loader

        return make_data_loader(self, **options)

    def to_jax(self, device: "jax.Device | jax.sharding.Sharding | None" = None) -> Any:
        """An iterable of `jax.Array`s, an epoch an iteration: see `headrace.adapters.jax`.

        Args:
            device: a device or a sharding to put the arrays on. Default: JAX's default device.
        """
        from headrace.adapters.jax import JaxBatches

        return JaxBatches(self, device)

    def _results_from(self, place: Place, epochs: int | None = None) -> Iterator[Any]:
        """What the executor makes of the keys from `place` on."""
        last = None if epochs is None else place.epoch + epochs
        blocks = _blocks(self.sampler, place, last, self._steps_in_a_block())
        return self.executor.map(self.make_batch, blocks)

    def _steps_in_a_block(self) -> int:
        """How many batches are made and handed over together, where they cost little else."""
        if not self.make_batch.reads_together:
            return 1
        # An executor without such a budget makes each batch when it is asked for.
        budget = getattr(self.executor, "lookahead_bytes", 0) // _BLOCKS_AHEAD
        batch_nbytes = self.sampler.batch_size * self.make_batch.sample_nbytes
        return max(1, min(_MOST_STEPS_IN_A_BLOCK, budget // max(1, batch_nbytes)))

    def _next(self) -> Any:
        """The batch at the loader's place, which moves on."""
        batch = self.fetch(self._place)
        self._place = self.sampler.after(self._place)
        return batch

    @functools.cached_property
    def _data_hash(self) -> str:
        return data_hash(self._readers)

    def _identity(self) -> dict[str, Any]:
        """What a state must have in common with the loader that loads it."""
        return {
            "samples": self.sampler.n,
            "order": self.sampler.order.describe(),
            "seed": self.sampler.seed,
            "data": self._data_hash,
            "transform_version": self._transform_version,
        }


def _blocks(sampler: BatchSampler, place: Place, last: int | None, most: int) -> Iterator[Block]:
    epoch, position = place
    first = True
    while epoch != last:
        yield from sampler.blocks(Place(epoch, position), most=most, at_once=not first)
        epoch, position, first = epoch + 1, 0, False


def _replacement(on_error: OnError, max_bad_samples: int | None, n: int) -> Replacement | None:
    if on_error not in get_args(OnError):
        raise bad_value("on_error", on_error, "'raise' or 'replace'")
    if on_error == "raise":
        if max_bad_samples is not None:
            remedy = "It is of on_error='replace'."
            raise bad_value("max_bad_samples", max_bad_samples, "left out", remedy)
        return None
    if max_bad_samples is None:
        raise bad_value(
            "max_bad_samples",
            max_bad_samples,
            "an int with on_error='replace'",
            "Say how many of the samples may be bad before it is an error.",
        )
    return Replacement(n, check_int("max_bad_samples", max_bad_samples, 1, MAX_SAMPLES))
