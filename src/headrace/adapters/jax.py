"""JAX: the batches of a loader as `jax.Array`s, one batch ahead.

Batches begin at multiples of 64 bytes, so on a CPU JAX takes their memory over without a copy; the
loader never writes to a batch that it has delivered.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from headrace.adapters.adapter import deliver, one_ahead
from headrace.batching.feed import HasFeed, feed_of
from headrace.batching.transforms import Batch
from headrace.errors import missing_extra
from headrace.pytree import map_leaves

try:
    import jax
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.jax", "JAX", "jax") from error


class JaxBatches:
    """The batches of a loader as arrays of JAX; `Loader.to_jax` makes it.

    Each iteration goes on from the loader's place to the end of its epoch, and moves the loader
    with each batch that it delivers. The batch after it is already on its way to the device then.

    Args:
        loader: the loader.
        device: a `jax.Device` or a `jax.sharding.Sharding`, or None for JAX's default device. With
            a sharding over several processes, each passes its own rank's rows.
    """

    def __init__(
        self, loader: HasFeed, device: "jax.Device | jax.sharding.Sharding | None" = None
    ) -> None:
        self.loader = loader
        self.device = device
        self._feed = feed_of(loader)

    def __len__(self) -> int:
        return len(self._feed.sampler)

    def __iter__(self) -> Iterator[Any]:
        feed = self._feed
        yield from deliver(feed, one_ahead(feed.take_epoch(feed.cursor.place), self._start))

    def __repr__(self) -> str:
        device = "" if self.device is None else f", device={self.device}"
        return f"JaxBatches({self.loader!r}{device})"

    def _start(self, batch: Batch) -> Callable[[], Batch]:
        """Has JAX copy the batch, which goes on while the caller does other things."""
        began = time.perf_counter()
        moved = [self._moved(batch)]
        self._feed.count_delivering(time.perf_counter() - began)
        return moved.pop  # which keeps nothing of it

    def _moved(self, batch: Batch) -> Batch:
        device = self.device
        if isinstance(device, jax.sharding.Sharding) and not device.is_fully_addressable:
            gather: Any = jax.make_array_from_process_local_data
            return map_leaves(
                lambda leaf: gather(device, leaf) if _is_numeric(leaf) else leaf, batch
            )
        return map_leaves(
            lambda leaf: jax.device_put(leaf, device) if _is_numeric(leaf) else leaf, batch
        )


def _is_numeric(leaf: object) -> bool:
    """Whether JAX has arrays of its dtype; strings and dates stay with numpy."""
    return not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "biufcV"
