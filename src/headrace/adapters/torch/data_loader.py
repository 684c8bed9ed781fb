"""PyTorch: a loader as a `torch.utils.data.DataLoader` of tensors, over a dataset of samples.

A batch's key carries the epoch and the samples, so a worker, persistent or not, needs to know
nothing else, and the batches are the same with any number of workers. Without workers, the loader's
own executor makes batches ahead. A batch counts as consumed when the DataLoader delivers it.

The DataLoader has the loader's state. One that something else makes of its parts can't move the
loader, but gives the same batches, epoch for epoch, by `set_epoch`.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
import torch.utils.data as torch_data

from headrace.adapters.adapter import deliver, one_ahead
from headrace.adapters.ranks import warn_if_each_gets_all
from headrace.adapters.torch.dataset import Collate, Dataset, counted
from headrace.adapters.torch.device import Copier
from headrace.adapters.torch.sampler import BatchNumbers, numbers_of
from headrace.adapters.torch.travel import WorkerInit
from headrace.batching.cursor import State
from headrace.batching.feed import HasFeed
from headrace.errors import ArgumentError, bad_value
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import Place
from headrace.sampling.order import BatchedOrder

_LEAST_ACCELERATE = (1, 15)
_OURS = ("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


def make_data_loader(
    loader: HasFeed,
    *,
    device: "torch.device | str | None" = None,
    loader_class: object = torch_data.DataLoader,
    **options: Any,
) -> "HeadraceDataLoader":
    """A DataLoader over `loader`; `Loader.to_torch` calls it.

    Each iteration is a pass over one epoch, as that of the loader, and moves the loader with each
    batch that it delivers. Arrays become tensors that share their memory.

    Args:
        device: where to put the tensors, one batch ahead of the consumer, from a thread of its own.
            To a CUDA device they go through pinned memory, on a stream of their own.
        loader_class: a class of DataLoaders that the result is to be one of, such as torchdata's
            `StatefulDataLoader`. Its state is the loader's all the same.
        options: of `loader_class`, but for what the loader decides itself: dataset, batch_size,
            shuffle, sampler, batch_sampler and drop_last. `collate_fn` is called with each batch of
            tensors.

    Raises:
        ArgumentError: (a ValueError) an option is one that the loader decides, or `in_order=False`,
            which would deliver other batches than those that count as delivered.
    """
    if not (isinstance(loader_class, type) and issubclass(loader_class, torch_data.DataLoader)):
        allowed = "a class of torch.utils.data.DataLoaders"
        raise bad_value("loader_class", loader_class, allowed)
    for name in _OURS:
        if name in options:
            raise bad_value(name, options[name], "left out", "Set it on the Loader.")
    if not options.get("in_order", True):
        remedy = "Batches are delivered in their order, so that a state says which came."
        raise bad_value("in_order", options["in_order"], "True", remedy)
    options["collate_fn"] = Collate(options.get("collate_fn"))
    if options.get("worker_init_fn") is not None:
        options["worker_init_fn"] = WorkerInit(options["worker_init_fn"])
    kind: Any = HeadraceDataLoader
    if not issubclass(kind, loader_class):
        kind = type(kind.__name__, (kind, loader_class), {})
    dataset = Dataset(loader)
    sampler = dataset.feed.sampler
    batches = BatchNumbers(numbers_of(dataset.feed), sampler.batch_size, sampler.tail == "drop")
    data_loader: HeadraceDataLoader = kind(dataset, batch_sampler=batches, device=device, **options)
    return data_loader


class HeadraceDataLoader(torch_data.DataLoader[Any]):
    """A DataLoader that moves its `Dataset`'s loader as batches are delivered.

    Its state is the loader's, so that whatever saves objects with a state saves the loader's place,
    and any number of workers may go on from there.

    Trainers make others like it, of its attributes. Where the loader was not told its rank and the
    trainer shares its samples out, with a `DistributedSampler` of their order, the new one has the
    batches of that rank of the loader. It moves a loader of its own then.
    """

    dataset: Dataset

    def __init__(
        self,
        dataset: Dataset,
        *args: Any,
        device: "torch.device | str | None" = None,
        **options: Any,
    ) -> None:
        batches = options.get("batch_sampler")
        if isinstance(batches, BatchNumbers):
            sampler = batches.sampler
            if (
                isinstance(sampler, torch_data.DistributedSampler)
                and not batches.is_exact
                and sampler.dataset is not dataset  # over which it has an order of its own
            ):
                dataset = dataset.of_rank(sampler.rank, sampler.num_replicas)
                batches = BatchNumbers(
                    numbers_of(dataset.feed), batches.batch_size, batches.drop_last
                )
                options["batch_sampler"] = batches
        super().__init__(dataset, *args, **options)
        self.device = None if device is None else torch.device(device)
        if isinstance(batches, BatchNumbers):
            # PyTorch leaves them out where it is given a batch sampler, but trainers read them.
            for name in ("batch_size", "sampler", "drop_last"):
                object.__setattr__(self, name, getattr(batches, name))

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        caller = sys._getframe(1)
        asked_by: str = caller.f_globals.get("__name__", "")
        if not asked_by.startswith("keras."):
            # What Ray's prepare_data_loader makes takes a batch before it delivers the last one.
            return self._pass(taken_ahead=asked_by.startswith("ray.train."))
        from headrace.adapters.keras.torch_batches import checked

        feed = self.dataset.feed
        return checked(self._pass(), feed.sampler, caller, feed.maker.with_indices)

    def _pass(self, *, taken_ahead: bool = False) -> Iterator[Any]:
        batches = self.batch_sampler
        if not (isinstance(batches, BatchNumbers) and batches.gives_batches_of(self.dataset.feed)):
            # A trainer has put another sampler or tail in: these are not the loader's batches.
            yield from self._batches()
            return
        _warn_if_ranks_repeat(self.dataset.feed.sampler)
        yield from deliver(self.dataset.feed, self._batches, taken_ahead=taken_ahead)

    @property
    def _is_accelerate_prepared(self) -> bool:
        """What Accelerate 1.x asks before it wraps a DataLoader. Its processes must share it then.

        Raises:
            ArgumentError: (a ValueError) they would share what is one rank's part already, or lose
                small batches, or this version of Accelerate would go on with batches of another
                epoch.
        """
        accelerate = sys.modules.get("accelerate")
        if accelerate is None:
            return False
        version = str(accelerate.__version__)
        if tuple(map(int, version.split(".")[:2])) < _LEAST_ACCELERATE:
            raise ArgumentError(
                f"accelerate must be 1.15 or newer, but {version} is installed: its "
                "skip_first_batches takes the batches of epoch 0, whatever the epoch."
            )
        sampler = self.dataset.feed.sampler
        what = remedy = ""
        if sampler.world_size > 1:
            what = f"those of rank {sampler.rank} of {sampler.world_size}"
            remedy = "Make the loader without rank= and world_size=; or keep it"
        elif isinstance(sampler.order, BatchedOrder):  # it loses what has fewer than `batch_size`
            what = "of several sizes"
            remedy = "Make the loader with rank= and world_size=, keep it"
        if what and (processes := accelerate.PartialState().num_processes) > 1:
            raise ArgumentError(
                f"Accelerate shares what it prepares out over its {processes} processes, but this "
                f"loader's batches are {what}. {remedy} from prepare(), and iterate over "
                "to_torch(device=accelerator.device)."
            )
        return False

    def _batches(self, _start: Place | None = None) -> Iterator[Any]:
        """Those of the numbers that the batch sampler gives now."""
        feed = self.dataset.feed
        batch_sampler = self.batch_sampler
        self.dataset.reports = True  # to us, in the workers that are started now
        if isinstance(batch_sampler, BatchNumbers):
            batch_sampler.moves = True
        try:
            results = super().__iter__()
        finally:
            self.dataset.reports = False
            if isinstance(batch_sampler, BatchNumbers):
                batch_sampler.moves = False
        batches = counted(feed, results)
        if self.device is None:
            yield from batches
            return
        with ThreadPoolExecutor(1, "headrace-copy") as thread:
            yield from one_ahead(batches, Copier(self.device, thread, feed).start)

    def set_epoch(self, epoch: int) -> None:
        """As `Loader.set_epoch`."""
        self.dataset.feed.cursor.set_epoch(epoch)

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


def _warn_if_ranks_repeat(sampler: BatchSampler) -> None:
    if dist.is_available() and dist.is_initialized():
        processes = dist.get_world_size()
        warn_if_each_gets_all(
            sampler,
            processes,
            f"torch.distributed has {processes} processes",
            "; or have a trainer share them out, such as Lightning with its "
            "use_distributed_sampler=True",
        )
