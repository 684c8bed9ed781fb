"""The order of a loader as PyTorch's samplers give it: batch by batch, or sample by sample.

A batch travels as a list of sample numbers that knows its key. Who passes it on as it is gets the
exact batch; who takes the numbers out of it, to make other lists, gets these samples.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from traceback import walk_stack
from typing import Any

import torch.utils.data as torch_data

from headrace.batching.cursor import Cursor, State
from headrace.batching.feed import Feed, HasFeed, feed_of
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import BatchKey, Tail


class EpochNumbers(list[int]):
    """Sample numbers, with the epoch that they were taken in. So have slices and sums of them."""

    def __init__(self, numbers: Iterable[int], epoch: int) -> None:
        super().__init__(numbers)
        self.epoch = epoch

    def __getitem__(self, rows: Any) -> Any:
        taken = super().__getitem__(rows)
        return EpochNumbers(taken, self.epoch) if isinstance(rows, slice) else taken

    def __add__(self, others: Any) -> Any:
        return EpochNumbers(super().__add__(others), self.epoch)

    def __radd__(self, others: Iterable[int]) -> "EpochNumbers":
        return EpochNumbers([*others, *self], self.epoch)


class KeyedNumbers(EpochNumbers):
    """The sample numbers of a batch, with its key and the tail of the sampler that it is of.

    Trainers may change the list where it is.
    """

    def __init__(self, key: BatchKey, tail: Tail) -> None:
        super().__init__(key.indices.tolist(), key.place.epoch)
        self.key = key
        self.tail = tail

    @property
    def is_batch(self) -> bool:
        """Whether it still has the numbers of the batch."""
        same: bool = self == self.key.indices.tolist()
        return same


class Keys(Iterator[BatchKey]):
    """The keys of one pass; its state is the loader's, after the keys that it has given.

    A DataLoader takes keys ahead of the batches. torchdata's StatefulDataLoader therefore takes the
    state after each key, and saves the one that belongs to the batch that it delivered last.

    Args:
        feed: of the loader.
        moves: whether the batches are going to move the loader as they are delivered.
    """

    def __init__(self, feed: Feed, moves: bool = False) -> None:
        self._feed = feed
        self._moves = moves
        self._cursor: Cursor | None = None  # until the first key, as set_epoch may come before it
        self._keys: Iterator[BatchKey] = iter(())

    def __next__(self) -> BatchKey:
        if self._cursor is None:
            cursor = self._feed.cursor
            self._cursor = cursor.copy(cursor.start)
            self._keys = self._feed.sampler.keys(cursor.start)
            if not self._moves:
                cursor.follow_elsewhere()
        key = next(self._keys)
        self._cursor.advance()
        return key

    def state_dict(self) -> State:
        """As `Loader.state_dict`, but of the place after the last key."""
        cursor = self._feed.cursor
        return (self._cursor or cursor.copy(cursor.start)).state_dict()

    def load_state_dict(self, state: State) -> None:
        """Moves the loader as `Loader.load_state_dict` does, and gives the keys from there on."""
        self._feed.cursor.load_state_dict(state)
        self._cursor = None


class KeyedLists(Iterator[list[int]]):
    """What `Keys` gives, each as the sample numbers of the batch."""

    def __init__(self, feed: Feed, moves: bool) -> None:
        self._keys = Keys(feed, moves)
        self._tail = feed.sampler.tail
        self.state_dict = self._keys.state_dict
        self.load_state_dict = self._keys.load_state_dict

    def __next__(self) -> KeyedNumbers:
        return KeyedNumbers(next(self._keys), self._tail)


class Sampler(torch_data.Sampler[BatchKey]):
    """The keys of a loader's batches, for a `DataLoader(dataset, batch_size=None, sampler=...)`.

    From where a pass of the loader starts to the end of its epoch. In a DataLoader that
    `Loader.to_torch` did not make, nothing moves the loader: say `sampler.set_epoch(epoch)` before
    each epoch. A StatefulDataLoader must then take its state at every step, as it does by default:
    what it restores by skipping batches, it takes for a new epoch.
    """

    def __init__(self, loader: HasFeed) -> None:
        self._feed = feed_of(loader)

    def __len__(self) -> int:
        return len(self._feed.sampler)

    def __iter__(self) -> Keys:
        return Keys(self._feed)

    def set_epoch(self, epoch: int) -> None:
        """As `Loader.set_epoch`."""
        self._feed.cursor.set_epoch(epoch)


class NumberSampler(torch_data.Sampler[int]):
    """The samples of a loader, by number, in the order of a pass.

    As with PyTorch's samplers, it is the batch sampler that drops the last ones. Those of a rank
    are the samples of its batches.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __len__(self) -> int:
        sampler = self._sampler
        if not len(sampler):
            return 0
        return (len(sampler) - 1) * sampler.batch_size + sampler.key(0, len(sampler) - 1).n_valid

    def __iter__(self) -> Iterator[int]:
        for key in self._sampler.keys(self._feed.cursor.start):
            yield from key.indices[: key.n_valid].tolist()

    @property
    def _sampler(self) -> BatchSampler:
        sampler = self._feed.sampler
        return sampler.with_tail("partial") if sampler.world_size == 1 else sampler

    def set_epoch(self, epoch: int) -> None:
        """As `Loader.set_epoch`; but where a trainer counts epochs from 0 in every run, its first
        count after a state was loaded leaves that in force, and its next ones follow it."""
        if not _fabric_counts():
            self._feed.cursor.count_epoch(epoch)


class RankSampler(NumberSampler, torch_data.DistributedSampler[int]):
    """That of a loader that was told its rank, so that trainers need not split it once more."""

    def __init__(self, feed: Feed) -> None:
        NumberSampler.__init__(self, feed)
        sampler = feed.sampler
        self.num_replicas, self.rank, self.epoch = sampler.world_size, sampler.rank, 0
        self.shuffle, self.seed = False, 0
        self.drop_last = sampler.tail == "drop"
        self.num_samples, self.total_size = len(self), len(self) * sampler.world_size

    def set_epoch(self, epoch: int) -> None:
        """As that of `NumberSampler`."""
        self.epoch = epoch
        NumberSampler.set_epoch(self, epoch)


class BatchNumbers(torch_data.BatchSampler):
    """The batches of a loader, each as a list of sample numbers; a pass an iteration.

    Trainers make another one of these arguments. For predictions they have none of the samples
    dropped, and then the batches go on with a smaller one.

    Args:
        sampler: that of the loader, or another one, whose numbers are then taken instead.
        batch_size: samples in a batch of this rank.
        drop_last: whether the last samples, which fill no batch, are left out.

    Attributes:
        moves: set while a DataLoader of `to_torch` starts a pass, which moves the loader.

    Raises:
        ArgumentError: (a ValueError) the last samples are not to be left out, and are fewer than
            the ranks.
    """

    moves = False

    def __init__(
        self,
        sampler: "torch_data.Sampler[int] | Iterable[int]",
        batch_size: int,
        drop_last: bool,
    ) -> None:
        if isinstance(sampler, NumberSampler):
            tail = sampler._feed.sampler.tail
            if not drop_last and tail == "drop":
                sampler = numbers_of(sampler._feed, "partial")
            elif drop_last and tail != "drop":
                sampler = numbers_of(sampler._feed, "drop")
        super().__init__(sampler, batch_size, drop_last)

    @property
    def _feed(self) -> Feed | None:
        # Lightning sets what attributes it has seen set, also those of the former sampler.
        return self.sampler._feed if isinstance(self.sampler, NumberSampler) else None

    @property
    def is_exact(self) -> bool:
        """Whether it gives the batches of the loader."""
        feed = self._feed
        return feed is not None and self.batch_size == feed.sampler.batch_size

    def gives_batches_of(self, feed: Feed) -> bool:
        """Whether its batches are those of this feed, and none else."""
        return self.is_exact and self._feed is feed

    def __len__(self) -> int:
        if self._feed is not None and self.is_exact:
            return len(self._feed.sampler)
        return super().__len__()

    def __iter__(self) -> Iterator[list[int]]:
        if self._feed is not None and self.is_exact:
            return KeyedLists(self._feed, self.moves)
        return super().__iter__()

    def set_epoch(self, epoch: int) -> None:
        """As `Loader.set_epoch`, or that of the sampler which was given."""
        set_epoch = getattr(self.sampler, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)


def _fabric_counts() -> bool:
    """Whether the epoch is but the number of passes that Lightning's Fabric has begun here.

    The loader counts them itself, and goes on from a state whatever was iterated over before.
    """
    callers = islice(walk_stack(sys._getframe(2)), 3)  # a function of Fabric's, or a sampler, first
    names = (str(frame.f_globals.get("__name__")) for frame, _ in callers)
    return any(name.endswith("fabric.wrappers") for name in names)


def numbers_of(feed: Feed, tail: Tail | None = None) -> NumberSampler:
    """The sampler of a loader; or of another tail, with a cursor of its own."""
    if tail is not None:
        feed = feed.with_sampler(feed.sampler.with_tail(tail))
    return RankSampler(feed) if feed.sampler.world_size > 1 else NumberSampler(feed)
