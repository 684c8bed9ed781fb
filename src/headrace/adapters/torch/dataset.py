"""A loader's samples as a map-style dataset, and what becomes of them in a DataLoader.

`dataset[i]` is sample i, and `dataset.__getitems__` what a DataLoader fetches batches with. A batch
that comes by its key is what the loader makes; other lists of numbers are samples by themselves.
"""

import copy
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.utils.data as torch_data

from headrace.adapters.torch.jagged import RaggedSample, sample_of, stacked, with_jagged
from headrace.adapters.torch.sampler import EpochNumbers, KeyedNumbers
from headrace.adapters.torch.tensors import as_tensor
from headrace.adapters.torch.travel import arriving, check_travels
from headrace.arrays import Indices
from headrace.batching.bad_samples import BadSample
from headrace.batching.feed import Feed, HasFeed, feed_of
from headrace.errors import ArgumentError, OutOfRangeError, StateError, bad_type
from headrace.pytree import leaves, map_leaves
from headrace.ragged import Ragged
from headrace.sampling.keys import BatchKey, Place, Tail
from headrace.sampling.order import BatchedOrder


class Dataset(torch_data.Dataset[Any]):
    """The samples of a loader, by number, as tensors; and its batches, by key.

    `dataset[i]` is sample i as the loader's transform makes it, with the random numbers of the
    epoch of the last `set_epoch`, at first epoch 0. A transform of whole batches gets it as a batch
    of one. A `Subset` or a `ConcatDataset` of it, or another sampler, gets these samples, too.

    A sample of any length is a tensor; PyTorch's collate function makes a jagged one of several.

    Args:
        loader: of a source whose transform keeps the samples of a batch.
    """

    def __init__(self, loader: HasFeed) -> None:
        self.loader = loader
        self.feed = feed_of(loader)
        # Of the batch that was fetched last, and of the one that was when a state was taken.
        self._last = self._loaded = Place(0, -1)
        self._next: Place | None = None  # the place after the batch that was fetched last
        # Set while a DataLoader of `to_torch` starts its workers: who counts bad samples.
        self.reports = False

    def __len__(self) -> int:
        """Number of samples."""
        return self.feed.sampler.n

    @property
    def total_dataset_length(self) -> int:
        """As how many samples Accelerate takes it, to cut off what it adds to the last batch.

        Those of an epoch, of which some orders have more or fewer. To batches of several sizes it
        adds nothing, and may cut off nothing.
        """
        order = self.feed.sampler.order
        return 0 if isinstance(order, BatchedOrder) else len(order)

    def __getitem__(self, key: "int | BatchKey") -> Any:
        if isinstance(key, BatchKey):
            return arriving("the dataset", lambda: _whole(self._batch(key)))
        return self.__getitems__([operator.index(key)])[0]

    def __iter__(self) -> Iterator[object]:
        """The samples; without it, an IndexError of one of them would end the loop."""
        return (self[index] for index in range(len(self)))

    def __getitems__(self, numbers: list[int]) -> "Sequence[object]":
        """The samples of these numbers, read at once."""
        return arriving("the dataset", self._samples, numbers)

    def _samples(self, numbers: list[int]) -> "Sequence[object]":
        if isinstance(numbers, KeyedNumbers) and numbers.is_batch:
            return WholeBatch(self._batch(numbers.key, numbers.tail), len(numbers))
        indices = self._in_range(np.array(numbers, np.int64))
        epoch = self.feed.cursor.samples_epoch
        if isinstance(numbers, EpochNumbers):  # which workers that persist would not know otherwise
            epoch = numbers.epoch
            self._check_goes_on(Place(epoch, self.feed.sampler.n))
        key = BatchKey.of_samples(epoch, indices)
        return WholeBatch(map_leaves(as_tensor, self.feed.make(key)), len(indices)).samples()

    def _in_range(self, indices: Indices) -> Indices:
        """The numbers from 0 on; negative ones count from the end.

        Raises:
            OutOfRangeError: (an IndexError) there is no such sample.
        """
        n = len(self)
        wrong = indices[(indices < -n) | (indices >= n)]
        if len(wrong):
            raise OutOfRangeError(f"index must lie in range({n}), but {wrong[0]} was given.")
        return np.where(indices < 0, indices + n, indices)

    def set_epoch(self, epoch: int) -> None:
        """As that of the samplers; the samples by number get the random numbers of that epoch."""
        self.feed.cursor.count_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """For torchdata's StatefulDataLoader: the place of the batch that was fetched last."""
        return self._last._asdict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Has that batch and those before it be errors from now on.

        Who asks for them has forgotten the epoch that it was in.
        """
        self._loaded = Place(**state)

    def of_rank(self, rank: int, world_size: int) -> "Dataset":
        """That of the same loader for a rank of several, with a cursor of its own."""
        loader = copy.copy(self.loader)
        loader._feed = self.feed.with_sampler(self.feed.sampler.of_rank(rank, world_size))
        return Dataset(loader)

    def _batch(self, key: BatchKey, tail: Tail | None = None) -> Any:
        """The batch of a key; from a worker process of `to_torch` perhaps with its bad samples.

        What has samples of any length is left a `Ragged`.

        Args:
            key: of a sampler that differs from that of the loader in its tail alone.
            tail: of that sampler; None for that of the loader.
        """
        feed = self.feed
        self._check_goes_on(key.place)
        self._last = key.place
        if torch_data.get_worker_info() is None:
            # Whoever leaves out batches would have those in between made for nothing.
            in_turn = self._next is None or self._next == key.place
            # Of a trainer's predictions, not all batches may be among those of the loader.
            in_turn = in_turn and feed.sampler.agrees_with(tail or feed.sampler.tail)
            in_turn = in_turn and feed.sampler.steps_left(key.place) > 0
            self._next = feed.sampler.after(key.place)
            batch = feed.take(key.place) if in_turn else feed.make(key)
            return map_leaves(as_tensor, batch)
        if not self.reports:
            return map_leaves(as_tensor, feed.make(key))
        result = feed.maker.make(key)
        batch = map_leaves(as_tensor, result.batches[0])
        # What is not needed would be sent with every batch.
        if not result.bad_samples:
            return batch
        return FromWorker(batch, result.bad_samples, result.key)

    def _check_goes_on(self, place: Place) -> None:
        """Raises a StateError (a ValueError) if a state was loaded that is further on."""
        if place <= self._loaded:
            raise StateError(
                f"a state was loaded of after the batch at {self._loaded}, and that at {place} is "
                "asked for. Call set_epoch(epoch) on the DataLoader at the beginning of each "
                "epoch, also of the one that goes on: a trainer may count from 0 again."
            )


class FromWorker:
    """A batch from a worker process, and what of it is to be counted in that of the loader."""

    def __init__(self, batch: object, bad_samples: tuple[BadSample, ...], key: str) -> None:
        self.batch = batch
        self.bad_samples = bad_samples
        self.key = key


class WholeBatch(Sequence[object]):
    """A batch on its way to the collate function, as a list of its samples.

    Ours takes the batch as it is. Another one gets samples: views of the rows of the batch.

    Args:
        batch: of tensors, and of `Ragged` where samples have any length.
        n: how many samples it has.
    """

    def __init__(self, batch: Any, n: int) -> None:
        self.batch = batch
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return self.samples()[row]
        if not -self._n <= row < self._n:
            raise IndexError(row)
        rows = self.batch.batch if isinstance(self.batch, FromWorker) else self.batch
        for leaf in leaves(rows):
            if not hasattr(leaf, "__getitem__") or len(leaf) != self._n:
                raise ArgumentError(
                    "the transform must keep the samples of a batch where they are taken one by "
                    f"one, but made {_described(leaf)} of {self._n} samples. Iterate over what "
                    "to_torch() gives, unchanged, or use per_sample(fn)."
                )
        return map_leaves(
            lambda leaf: sample_of(leaf, row) if isinstance(leaf, Ragged) else leaf[row], rows
        )

    def samples(self) -> list[object]:
        """The samples, in a list."""
        return [self[row] for row in range(self._n)]


class Collate:
    """Passes batches that come whole to `function`, and makes batches of samples before.

    Args:
        function: of a batch of tensors; None for what comes from workers as it is.
    """

    def __init__(self, function: Callable[[Any], Any] | None) -> None:
        self._function = function

    def __call__(self, samples: object) -> Any:
        if isinstance(samples, WholeBatch):
            batch = samples.batch
        elif isinstance(samples, list):
            batch = _stacked(samples)
        else:  # without batches of PyTorch's, by Sampler
            batch = samples
        if isinstance(batch, FromWorker):
            return FromWorker(self._collated(batch.batch), batch.bad_samples, batch.key)
        return self._collated(batch)

    def _collated(self, batch: object) -> Any:
        batch = arriving("the worker", with_jagged, batch)
        if self._function is not None:
            batch = arriving("collate_fn", self._function, batch)
        return arriving("the worker", check_travels, batch)


def counted(feed: Feed, batches: Iterator[Any]) -> Iterator[Any]:
    """The batches, after what their workers say of them was counted."""
    for batch in batches:
        if isinstance(batch, FromWorker):
            feed.count_substituted(batch.bad_samples, batch.key)
            delivered = [batch.batch]
        else:
            delivered = [batch]
        del batch
        yield delivered.pop()  # with no name for it here, it is the consumer's alone


def _whole(batch: object) -> Any:
    """The batch of tensors alone."""
    if isinstance(batch, FromWorker):
        return FromWorker(with_jagged(batch.batch), batch.bad_samples, batch.key)
    return with_jagged(batch)


def _stacked(samples: list[object]) -> Any:
    """The batch of samples that were taken one by one."""
    return map_leaves(_stack, samples[0], *samples[1:])


def _stack(*rows: Any) -> Any:
    if isinstance(rows[0], RaggedSample):
        return stacked(rows)
    if isinstance(rows[0], torch.Tensor):
        return torch.stack(rows)
    if isinstance(rows[0], np.ndarray | np.generic):
        return np.stack(rows)
    raise bad_type("a sample", rows[0], "tensors or arrays, to be stacked to a batch")


def _described(leaf: object) -> str:
    shape = getattr(leaf, "shape", None)
    return f"a {type(leaf).__name__}" if shape is None else f"an array of shape {tuple(shape)}"
