"""JAX: the batches of a loader as `jax.Array`s, one batch ahead.

Batches begin at multiples of 64 bytes, so on a CPU JAX takes their memory over without a copy; the
loader never writes to a batch that it has handed over.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from headrace.errors import missing_extra

try:
    import jax
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.jax", "JAX", "jax") from error

from headrace.loader import Loader
from headrace.pytree import map_leaves


class JaxBatches:
    """The batches of a loader as arrays of JAX; `Loader.to_jax` makes it.

    Each iteration goes on from the loader's place to the end of its epoch, and moves the loader
    with each batch that it hands over. The batch after it is already on its way to the device then.

    Args:
        loader: the loader.
        device: a `jax.Device` or a `jax.sharding.Sharding`, or None for JAX's default device. With
            a sharding over several processes, each passes its own rank's rows.
    """

    def __init__(
        self, loader: Loader, device: "jax.Device | jax.sharding.Sharding | None" = None
    ) -> None:
        self.loader = loader
        self.device = device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        loader = self.loader
        place = loader.place
        if not len(loader):
            return
        batch = self._put(loader.fetch(place))
        while True:
            following = loader.sampler.after(place)
            last = following.epoch != place.epoch
            after, failure = None, None
            if not last:
                try:
                    after = self._put(loader.fetch(following))
                except Exception as error:  # which is the next batch's, not this one's
                    failure = error
            loader.check_unmoved(place)
            loader.place = following
            yield batch
            if last:
                return
            if failure is not None:
                raise failure
            place, batch = following, after

    def _put(self, batch: Any) -> Any:
        """The batch on the device; the copy goes on while the caller does other things."""
        began = time.perf_counter()
        moved = self._moved(batch)
        self.loader.count_handing_over(time.perf_counter() - began)
        return moved

    def _moved(self, batch: Any) -> Any:
        device = self.device
        if isinstance(device, jax.sharding.Sharding) and not device.is_fully_addressable:
            gather: Any = jax.make_array_from_process_local_data
            return map_leaves(
                lambda leaf: gather(device, leaf) if _is_numeric(leaf) else leaf, batch
            )
        return map_leaves(
            lambda leaf: jax.device_put(leaf, device) if _is_numeric(leaf) else leaf, batch
        )


def _is_numeric(leaf: Any) -> bool:
    """Whether JAX has arrays of its dtype; strings and dates stay with numpy."""
    return not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "biufcV"
