"""PyTorch: a loader as a `torch.utils.data.DataLoader` of tensors.

The sampler's key carries the epoch and the samples, so a worker, persistent or not, needs to know
nothing else, and the batches are the same with any number of workers. Without workers, the loader's
own executor makes batches ahead. A batch counts as consumed when the DataLoader delivers it.

The DataLoader has the loader's state. One that something else makes of `Dataset` and `Sampler`
can't move the loader; for torchdata's StatefulDataLoader, the sampler's iterators have a state.
"""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import numpy as np

from headrace.adapters.adapter import deliver, one_ahead
from headrace.batching.bad_samples import BadSample
from headrace.batching.cursor import State
from headrace.batching.feed import Feed, HasFeed, feed_of
from headrace.batching.transforms import Batch
from headrace.errors import bad_value, missing_extra
from headrace.pytree import leaves, map_leaves
from headrace.sampling.keys import BatchKey

try:
    import torch
    from torch.utils import data as torch_data
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.torch", "PyTorch", "torch") from error

_OURS = ("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


def make_data_loader(
    loader: HasFeed,
    *,
    device: "torch.device | str | None" = None,
    loader_class: type[torch_data.DataLoader[Any]] = torch_data.DataLoader,
    **options: Any,
) -> "HeadraceDataLoader":
    """A DataLoader over `loader`; `Loader.to_torch` calls it.

    Each iteration goes on from the loader's place to the end of its epoch, and moves the loader
    with each batch that it delivers. Arrays become tensors that share their memory.

    Args:
        device: where to put the tensors, one batch ahead of the consumer, from a thread of its own.
            To a CUDA device they go through pinned memory, on a stream of their own.
        loader_class: a class of DataLoaders that the result is to be one of, such as torchdata's
            `StatefulDataLoader`. Its state is the loader's all the same.
        options: of `loader_class`, but for what the loader decides itself: dataset, batch_size,
            shuffle, sampler, batch_sampler and drop_last.
    """
    if not (isinstance(loader_class, type) and issubclass(loader_class, torch_data.DataLoader)):
        raise bad_value("loader_class", loader_class, "a class of torch.utils.data.DataLoaders")
    for name in _OURS:
        if name in options:
            raise bad_value(name, options[name], "left out", "Set it on the Loader.")
    collate = options.get("collate_fn", _as_it_is)
    if collate is not None:
        options["collate_fn"] = functools.partial(_collated, collate)
    kind = HeadraceDataLoader
    if not issubclass(kind, loader_class):
        both = type(kind.__name__, (kind, loader_class), {})
        kind = cast(type[HeadraceDataLoader], both)
    data_loader = kind(Dataset(loader), None, sampler=Sampler(loader), **options)
    data_loader.device = None if device is None else torch.device(device)
    return data_loader


class HeadraceDataLoader(torch_data.DataLoader[Any]):
    """A DataLoader that moves its `Dataset`'s loader as batches are delivered.

    Its state is the loader's, so that whatever saves objects with a state saves the loader's place,
    and any number of workers may go on from there.
    """

    dataset: "Dataset"
    device: torch.device | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        feed = self.dataset.feed
        self.dataset.reports = True  # to us, in the workers that are started now
        try:
            results = super().__iter__()
        finally:
            self.dataset.reports = False
        batches = map(functools.partial(_reported, feed), results)
        if self.device is None:
            yield from deliver(feed, batches)
            return
        with ThreadPoolExecutor(1, "headrace-copy") as thread:
            copier = _Copier(self.device, thread, feed)
            yield from deliver(feed, one_ahead(batches, copier.start))

    def __repr__(self) -> str:
        workers = f", num_workers={self.num_workers}" if self.num_workers else ""
        return f"{type(self).__name__}({self.dataset.loader!r}{workers})"

    def state_dict(self) -> State:
        """As `Loader.state_dict`."""
        return self.dataset.feed.cursor.state_dict()

    def load_state_dict(self, state: State) -> None:
        """As `Loader.load_state_dict`; the next iteration goes on from there.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples or another order.
        """
        self.dataset.feed.cursor.load_state_dict(state)


class _Copier:
    """Copies batches to a device in a thread of its own, while the caller does other things."""

    def __init__(self, device: torch.device, thread: ThreadPoolExecutor, feed: Feed) -> None:
        # "cuda" is the current one of this thread; that of the copying thread is another.
        self._device = torch.empty(0, device=device).device
        self._thread = thread
        self._feed = feed
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def start(self, batch: Batch) -> Callable[[], Batch]:
        """Starts to copy the batch; what it returns waits for that."""
        copied = self._thread.submit(self._copy, batch)

        def finish() -> Batch:
            began = time.perf_counter()
            moved, event = copied.result()
            self._wait(moved, event)
            self._feed.count_delivering(time.perf_counter() - began)
            return moved

        return finish

    def _copy(self, batch: Batch) -> tuple[Batch, torch.cuda.Event | None]:
        """The batch on the device, and the event after which it is there."""
        if self._stream is None:
            return map_leaves(lambda leaf: _to(leaf, self._device), batch), None
        with torch.cuda.stream(self._stream):
            # torch keeps the pinned memory until the copy from it is done.
            moved = map_leaves(lambda leaf: _to(_pinned(leaf), self._device), batch)
            return moved, self._stream.record_event()

    def _wait(self, moved: Batch, event: torch.cuda.Event | None) -> None:
        """Lets what the caller does on the device from now on come after the copy."""
        if event is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(event)
        for leaf in leaves(moved):
            if isinstance(leaf, torch.Tensor):
                leaf.record_stream(stream)  # its memory is of the copying stream


def _pinned(leaf: object) -> object:
    return leaf.pin_memory() if isinstance(leaf, torch.Tensor) else leaf


def _to(leaf: object, device: torch.device) -> object:
    return leaf.to(device, non_blocking=True) if isinstance(leaf, torch.Tensor) else leaf


class _FromWorker(NamedTuple):
    """A batch from a worker process, and what of it is to be counted in that of the loader."""

    batch: Batch
    bad_samples: tuple[BadSample, ...]
    key: str


def _reported(feed: Feed, batch: Batch) -> Batch:
    """The batch, after what its worker says of it was counted."""
    if isinstance(batch, _FromWorker):
        feed.count_substituted(batch.bad_samples, batch.key)
        return batch.batch
    return batch


class Dataset(torch_data.Dataset[Any]):
    """Batches by key: `dataset[key]` is a batch of tensors, `key` one that `Sampler` gives.

    Bad samples that a worker process replaces are warned of there, where a DataLoader is not one
    of `Loader.to_torch`. Where it is, `reports` is set while its workers are started.
    """

    def __init__(self, loader: HasFeed) -> None:
        self.loader = loader
        self.feed = feed_of(loader)
        self.reports = False

    def __len__(self) -> int:
        return len(self.feed.sampler)

    def __getitem__(self, key: BatchKey) -> Any:
        if torch_data.get_worker_info() is None:
            return map_leaves(as_tensor, self.feed.take(key.place))
        if not self.reports:
            return map_leaves(as_tensor, self.feed.make(key))
        result = self.feed.maker.make(key)
        batch = map_leaves(as_tensor, result.batches[0])
        # What is not needed would be sent with every batch.
        if not result.bad_samples:
            return batch
        return _FromWorker(batch, result.bad_samples, result.key)


class Sampler(torch_data.Sampler[BatchKey]):
    """The keys of a loader's batches, from its place to the end of its epoch.

    In a DataLoader that `Loader.to_torch` did not make, nothing moves the loader: say
    `loader.seek(epoch)` before each epoch. A StatefulDataLoader must then take its state at every
    step, as it does by default: what it restores by skipping batches, it takes for a new epoch.
    """

    def __init__(self, loader: HasFeed) -> None:
        self._feed = feed_of(loader)

    def __len__(self) -> int:
        return len(self._feed.sampler)

    def __iter__(self) -> "Keys":
        return Keys(self._feed)


class Keys(Iterator[BatchKey]):
    """The keys of one iteration; its state is the loader's, after the keys that it has given.

    A DataLoader takes keys ahead of the batches. torchdata's StatefulDataLoader therefore takes the
    state after each key, and saves the one that belongs to the batch that it delivered last.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._start()

    def __next__(self) -> BatchKey:
        key = next(self._keys)
        self._cursor.advance()
        return key

    def state_dict(self) -> State:
        """As `Loader.state_dict`, but of the place after the last key."""
        return self._cursor.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Moves the loader as `Loader.load_state_dict` does, and gives the keys from there on."""
        self._feed.cursor.load_state_dict(state)
        self._start()

    def _start(self) -> None:
        self._cursor = self._feed.cursor.copy()
        self._keys: Iterator[BatchKey] = self._feed.sampler.keys(self._cursor.place)


def as_tensor(leaf: object) -> object:
    """A tensor that shares the memory of `leaf`, if that is an array of numbers; else `leaf`."""
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "biufc":
        return leaf
    if not leaf.flags.writeable or any(stride < 0 for stride in leaf.strides):
        leaf = leaf.copy()  # of such memory torch makes no tensor, or warns
    return torch.from_numpy(leaf)


def _collated(collate: Callable[[Batch], Batch], batch: Batch) -> Batch:
    if isinstance(batch, _FromWorker):
        return batch._replace(batch=collate(batch.batch))
    return collate(batch)


def _as_it_is(batch: Batch) -> Batch:
    # torch's own collate function would turn tuples into lists.
    return batch
