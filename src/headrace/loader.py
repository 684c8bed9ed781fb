"""Loader: a source of samples, a sampler and a transform, as batches.

Requires the feed, and the adapters when one is asked for. Promises the law: a batch is a pure
function of (data, configuration, epoch, step), whoever makes it, whenever, in whatever order.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast, overload

import numpy as np

from headrace.adapters.adapter import deliver, endless
from headrace.arguments import check_bool, check_int
from headrace.arrays import KEPT_BYTES, Array, Indices, MemoryPool
from headrace.batching.bad_samples import BadSample, BadSamples, OnError, substitution_of
from headrace.batching.batch_maker import BatchMaker
from headrace.batching.cursor import Identity
from headrace.batching.feed import Feed
from headrace.batching.loader_options import Part, WithAnyTail, WithoutPadding
from headrace.batching.read_amplification import natural_block, warn_of_amplification
from headrace.batching.resumable import Resumable
from headrace.batching.stats import Stats
from headrace.batching.transforms import Transforms, check_transform
from headrace.errors import ArgumentError
from headrace.executors.executor import Executor, check_executor
from headrace.executors.threads import Threads
from headrace.readers.access import parts_of_source
from headrace.readers.source import common_length, readers_of
from headrace.readers.views.parts import ids_at_of_parts
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import Found, Tail
from headrace.sampling.order import Sampling

if TYPE_CHECKING:
    import jax
    import keras

    from headrace.adapters.jax import JaxBatches
    from headrace.adapters.torch import HeadraceDataLoader

B = TypeVar("B")


class Loader(Resumable, Generic[B]):
    """Batches of samples, epoch after epoch, the same ones every time.

    A loader is an endless sequence of which any batch can be made at random, and has a cursor, its
    `place`, which iteration moves: `for batch in loader` is one pass over one epoch, and the next
    loop one over the next epoch. To look at a batch without moving, use `batch`.

    `Loader[B]` has batches of type B. Static checkers know it for arrays and for readers of one
    array, alone or in a tuple or dict, and by the annotation of a transform's result.

    Args:
        source: a reader, a numpy array whose first axis runs over the samples, or a tuple or dict,
            nested at will, of those, all equally long. A batch has the same structure, of arrays.
        batch_size: samples in a batch.
        shuffle: a new order in each epoch (True), or the order of the source in all (False: for
            predictions that are to be matched with the samples); or `BlockShuffle()`, a new order
            in each epoch that costs little where samples are stored in blocks, such as chunks; or
            `Weighted`, `Balanced`, `Mix` or another `Sampling`, whose epochs may have another
            length.
        seed: of the order and of the transform's random numbers, 0 to 2**128 - 1.
        tail: what becomes of the last samples of an epoch that don't fill a batch: "drop" leaves
            them out; "partial" makes a smaller batch of them; "pad" fills a batch up with other
            samples, and then every batch has one more element at its end, float32 weights of shape
            (batch,): 1 for samples, 0 for padding.
        rank: which of the `world_size` training processes this is. Each gets its own part of every
            step; `batch_size` is that of one rank.
        world_size: number of training processes.
        transform: `fn(batch, rng)` that returns the batch to deliver, or `per_sample(fn)`; or a
            list of such, each of which gets what the one before it returns. `rng` is a
            `numpy.random.Generator` whose numbers depend on seed, epoch and position alone, and
            which is only good during the call.
        transform_version: names what the transform does, such as "2". A state says it, and is
            refused by a loader with another one. At most 64 characters.
        on_error: what becomes of a sample that can't be read: "raise" raises its error; "replace"
            takes another sample instead, the same one on every run and executor, in all parts of
            the source, and warns of it. An error of the storage itself, such as of the
            network, is raised all the same.
        max_bad_samples: how many samples may be replaced before it is an error, for "replace".
        match_ids: whether parts of the source that have ids must have the same, in one order.
        with_indices: every batch has one more element, its last: the indices of its samples, int64,
            shape (batch,). Keras does not get them: see `KerasDataset.trained_indices`.
        skip: (epoch, first step, last step) for each run of steps that is left out, such as that of
            a batch which broke the training. Such an epoch is so much shorter than `len(loader)`;
            all other batches stay what they are. States keep them, as steps of the batch size and
            world size that they were given with.
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

    @overload
    def __init__(
        self: "Loader[B]",
        source: object,
        batch_size: int,
        *,
        transform: Callable[[Any, np.random.Generator], B],
        **options: Unpack[WithoutPadding],
    ) -> None: ...
    @overload
    def __init__(
        self: "Loader[Array]",
        source: Part,
        batch_size: int,
        *,
        transform: None = None,
        **options: Unpack[WithoutPadding],
    ) -> None: ...
    @overload
    def __init__(
        self: "Loader[tuple[Array, Array]]",
        source: tuple[Part, Part],
        batch_size: int,
        *,
        transform: None = None,
        **options: Unpack[WithoutPadding],
    ) -> None: ...
    @overload
    def __init__(
        self: "Loader[tuple[Array, Array, Array]]",
        source: tuple[Part, Part, Part],
        batch_size: int,
        *,
        transform: None = None,
        **options: Unpack[WithoutPadding],
    ) -> None: ...
    @overload
    def __init__(
        self: "Loader[dict[str, Array]]",
        source: Mapping[str, Part],
        batch_size: int,
        *,
        transform: None = None,
        **options: Unpack[WithoutPadding],
    ) -> None: ...
    @overload
    def __init__(
        self: "Loader[Any]",
        source: object,
        batch_size: int,
        *,
        transform: Transforms | None = None,
        **options: Unpack[WithAnyTail],
    ) -> None: ...

    def __init__(
        self,
        source: object,
        batch_size: int,
        *,
        shuffle: bool | Sampling = True,
        seed: int = 0,
        tail: Tail = "drop",
        rank: int = 0,
        world_size: int = 1,
        transform: Transforms | None = None,
        transform_version: str = "",
        on_error: OnError = "raise",
        max_bad_samples: int | None = None,
        match_ids: bool = True,
        with_indices: bool = False,
        skip: Sequence[tuple[int, int, int]] = (),
        executor: Executor | None = None,
    ) -> None:
        readers = readers_of(source, match_ids=check_bool("match_ids", match_ids))
        n = common_length(readers, match_ids=match_ids)
        block, parts = natural_block(readers), parts_of_source(readers)
        sampler = BatchSampler(
            n, batch_size, shuffle, seed, tail, rank, world_size, block, parts, skip
        )
        check_transform(transform, transform_version)
        executor = Threads() if executor is None else check_executor(executor)
        if not len(sampler):
            warnings.warn(
                f"an epoch of {len(sampler.order) or n} samples has no step: a global batch takes "
                f"{sampler.global_batch_size}, and tail='drop' leaves out what does not fill "
                "one. Use a smaller batch_size, or tail='partial' or 'pad'.",
                stacklevel=2,
            )
        substitution = substitution_of(on_error, max_bad_samples, n, sampler.order)
        warn_of_amplification(readers, sampler, stacklevel=2)
        # A consumer that pauses and then catches up gives back all prefetched batches at once.
        memory = MemoryPool(max(KEPT_BYTES, executor.lookahead_bytes))
        check_bool("with_indices", with_indices)
        maker = BatchMaker(
            readers, transform, seed, tail == "pad", memory, substitution, with_indices
        )
        self._readers = readers
        identity = Identity(readers, sampler, transform_version)
        self._feed = Feed(sampler, maker, executor, BadSamples(max_bad_samples or 0), identity)

    def __len__(self) -> int:
        """Number of steps in an epoch, the same on every rank; `skip` makes some epochs shorter."""
        return len(self.sampler)

    def __repr__(self) -> str:
        sampler, place = self.sampler, self.place
        rank = f", rank={sampler.rank} of {sampler.world_size}" if sampler.world_size > 1 else ""
        return (
            f"Loader(n={self.n}, batch_size={self.batch_size}{rank}, steps={len(self)}, "
            f"order={sampler.order.describe()!r}, executor={self.executor!r}, "
            f"at epoch {place.epoch}, position {place.position})"
        )

    def __str__(self) -> str:
        # What frameworks say of data of a type that they do not know.
        return f"{self!r}; a framework takes loader.to_keras(), .to_torch() or .to_jax()"

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.sampler.n

    @property
    def batch_size(self) -> int:
        """Samples in a batch of this rank."""
        return self.sampler.batch_size

    @property
    def sampler(self) -> BatchSampler:
        """Which samples each batch holds."""
        return self._feed.sampler

    @property
    def executor(self) -> Executor:
        """Where batches are made; another one takes over with the next iteration."""
        return self._feed.executor

    @executor.setter
    def executor(self, executor: Executor) -> None:
        self._feed.executor = check_executor(executor)

    def batch(self, epoch: int, step: int) -> B:
        """The batch at `step` of `epoch`, made in this thread without moving the loader.

        Without a transform, each array has shape (batch, *sample) and the reader's dtype.

        Raises:
            OutOfRangeError: (an IndexError) `step` is not in `range(len(loader))`.
            SampleError: a sample can't be read; what a transform raises comes as it is.
        """
        return cast(B, self._feed.make(self.sampler.key(epoch, step)))

    def indices(self, epoch: int, step: int) -> Indices:
        """The samples that the batch at `step` of `epoch` holds: int64, shape (batch,).

        Those that are bad are among them, and not their substitutes.
        """
        return self.sampler.indices(epoch, step)

    def ids(self, epoch: int, step: int) -> list[str]:
        """The names of the samples that `indices` tells, as the first reader has them.

        Raises:
            ArgumentError: (a ValueError) no reader of the source has names for its samples.
        """
        ids = ids_at_of_parts(self._readers, self.indices(epoch, step))
        if ids is None:
            raise ArgumentError(
                "source must have a reader with names for its samples, such as NpyFiles, but none "
                "has. Use indices(epoch, step), their numbers."
            )
        return ids

    def find(self, sample: int, epoch: int) -> list[Found]:
        """Where `sample` comes in `epoch`: each a (step, rank, row), in the order of the steps.

        Of this loader's batch size and number of ranks, on all of them. Empty where it does not
        come: it fills no batch, its step is left out, or the order has no place for it in that
        epoch. Orders compute it; `Weighted`, and one of your own that can't search, go through the
        epoch. With replacement, a million positions take about 0.3 s.

        Args:
            sample: its index in the source.
            epoch: from 0 on.
        """
        return self.sampler.find(sample, epoch)

    def __iter__(self) -> Iterator[B]:
        """One pass over one epoch, from its first batch to its last: `len(loader)` batches.

        The first pass is over epoch 0, and each one that follows over the next epoch. After
        `load_state_dict`, `seek` or `set_epoch`, the next pass starts at that place. A pass that is
        left early is over: the next one is over the next epoch. One that has delivered nothing
        counts for nothing. The loader moves as batches are delivered.

        Raises:
            LoaderMovedError: (a RuntimeError) another pass, or thread, has moved the loader.
        """
        return cast("Iterator[B]", deliver(self._feed, self._feed.take_epoch))

    def stream(self) -> Iterator[B]:
        """The batches from the loader's place on, epoch after epoch, without end.

        Unlike a pass, it goes on within an epoch in which another one was left.
        """
        if not len(self):
            raise ArgumentError(f"a stream needs an epoch of at least one step; {self!r} has none.")
        return cast("Iterator[B]", endless(self._feed))

    @property
    def bad_samples(self) -> list[BadSample]:
        """The samples that `on_error="replace"` has replaced, in the order in which they came;
        without those of other ranks, and of workers of a `DataLoader` not made by `to_torch`."""
        return self._feed.bad_samples.listed()

    def stats(self) -> Stats:
        """Where the time went since the loader was made, or since `reset_stats`.

        It counts what this process has taken from the executor, so neither what `batch` makes nor
        PyTorch's workers. Printed, it tells whether the data or the consumer is the bottleneck.
        """
        return self._feed.meter.stats()

    def reset_stats(self) -> None:
        """Has `stats` count from now on, as after the first steps, which compile the model."""
        self._feed.meter.reset()

    def headspace(self, batches: int = 8) -> "Loader[B]":
        """A loader that costs nothing, to learn how fast training could be with a free one.

        It has this loader's length and gives batches of the same form, to any framework, but they
        are always the same few, which are made now. Train on it for a while, and compare.

        Args:
            batches: how many batches to repeat, if an epoch has as many.
        """
        count = min(check_int("batches", batches, 1, 2**31), len(self))
        free = copy.copy(self)
        free._feed = self._feed.ready(count)
        return free

    def close(self) -> None:
        """Drops the prefetched batches and ends the executor's workers, until the next use."""
        self._feed.close()

    def __enter__(self) -> "Loader[B]":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def to_keras(self, *, shapes: Any = None) -> "keras.utils.PyDataset":
        """A `keras.utils.PyDataset` for fit, evaluate, predict: see `headrace.adapters.keras`.

        `shapes`: of batches on tensorflow, such as `((None, None, 3), (None,))` for (x, y), with
        None for axes that vary. Default: the axes that the model leaves open.
        """
        from headrace.adapters.keras.dataset import KerasDataset

        return KerasDataset(self, shapes=shapes)

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

    def to_jax(self, device: "jax.Device | jax.sharding.Sharding | None" = None) -> "JaxBatches":
        """An iterable of `jax.Array`s, an epoch an iteration: see `headrace.adapters.jax`.

        Args:
            device: a device or a sharding to put the arrays on. Default: JAX's default device.
        """
        from headrace.adapters.jax import JaxBatches

        return JaxBatches(self, device)
