"""PyTorch: a loader as a `torch.utils.data.DataLoader` of tensors.

The sampler's key carries the epoch and the samples, so a worker, persistent or not, needs to know
nothing else, and the batches are the same with any number of workers. Without workers, the loader's
own executor makes batches ahead. A batch counts as consumed when the DataLoader hands it over.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from headrace.errors import bad_value, missing_extra

try:
    import torch
    from torch.utils import data as torch_data
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.torch", "PyTorch", "torch") from error

from headrace.loader import Loader
from headrace.sampler import BatchKey
from headrace.structure import map_leaves

_OURS = ("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


def make_data_loader(loader: Loader, **options: Any) -> "HeadraceDataLoader":
    """A DataLoader over `loader`; `Loader.to_torch` calls it.

    Each iteration goes on from the loader's place to the end of its epoch, and moves the loader
    with each batch that it hands over. Arrays become tensors that share their memory.

    Args:
        options: of `torch.utils.data.DataLoader`, but for what the loader decides itself:
            dataset, batch_size, shuffle, sampler, batch_sampler and drop_last.
    """
    for name in _OURS:
        if name in options:
            raise bad_value(name, options[name], "left out", "Set it on the Loader.")
    options.setdefault("collate_fn", _as_it_is)
    return HeadraceDataLoader(Dataset(loader), None, sampler=Sampler(loader), **options)


class HeadraceDataLoader(torch_data.DataLoader[Any]):
    """A DataLoader that moves its `Dataset`'s loader as batches are handed over."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        loader: Loader = self.dataset.loader  # type: ignore[attr-defined]
        place = loader.place
        for batch in super().__iter__():
            loader.check_unmoved(place)
            loader.place = place = loader.sampler.after(place)
            yield batch


class Dataset(torch_data.Dataset[Any]):
    """Batches by key: `dataset[key]` is a batch of tensors, `key` one that `Sampler` gives."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __getitem__(self, key: BatchKey) -> Any:
        if torch_data.get_worker_info() is not None:
            batch = self.loader.make_batch(key).batch
        else:
            batch = self.loader.fetch(key.place)
        return map_leaves(as_tensor, batch)


class Sampler(torch_data.Sampler[BatchKey]):
    """The keys of a loader's batches, from its place to the end of its epoch."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[BatchKey]:
        return self._loader.sampler.keys(self._loader.place)


def as_tensor(leaf: Any) -> Any:
    """A tensor that shares the memory of `leaf`, if that is an array of numbers; else `leaf`."""
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "biufc":
        return leaf
    if not leaf.flags.writeable or any(stride < 0 for stride in leaf.strides):
        leaf = leaf.copy()  # of such memory torch makes no tensor, or warns
    return torch.from_numpy(leaf)


def _as_it_is(batch: Any) -> Any:
    # torch's own collate function would turn tuples into lists.
    return batch
