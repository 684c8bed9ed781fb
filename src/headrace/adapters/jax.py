"""JAX: the batches of a loader as `jax.Array`s, one batch ahead.

Batches begin at multiples of 64 bytes, so on a CPU JAX takes their memory over without a copy; the
loader never writes to a batch that it has delivered.

States are the loader's. `get_state` and `set_state` have them in the form of Grain's iterators,
bytes of JSON, so that Grain's handler for Orbax saves and restores them.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import numpy as np

from headrace.adapters.adapter import deliver, needs_pad, one_ahead
from headrace.adapters.ranks import check_parts, warn_if_each_gets_all
from headrace.arrays.conversion import UnheldError, held
from headrace.batching.cursor import Cursor, State
from headrace.batching.feed import Feed, HasFeed, feed_of
from headrace.batching.transforms import Batch
from headrace.errors import ArgumentError, StateError, missing_extra
from headrace.pytree import map_leaves, named_leaves
from headrace.ragged import Ragged
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import Place

try:
    import jax
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.jax", "JAX", "jax") from error


class JaxBatches:
    """The batches of a loader as arrays of JAX; `Loader.to_jax` makes it.

    Each iteration is a pass over one epoch, as that of the loader, and moves the loader with each
    batch that it delivers. The batch after it is already on its way to the device then.

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

    def __iter__(self) -> "JaxPass":
        return JaxPass(self._feed, self.device)

    def set_epoch(self, epoch: int) -> None:
        """As `Loader.set_epoch`."""
        self._feed.cursor.set_epoch(epoch)

    def state_dict(self) -> State:
        """As `Loader.state_dict`."""
        return self._feed.cursor.state_dict()

    def load_state_dict(self, state: State) -> None:
        """As `Loader.load_state_dict`; the next iteration goes on from there.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples or another order.
        """
        self._feed.cursor.load_state_dict(state)

    def get_state(self) -> bytes:
        """The state as JSON, as Grain's iterators give theirs."""
        return _as_json(self.state_dict())

    def set_state(self, state: bytes | str | State) -> None:
        """As `load_state_dict`, of what `get_state` gave."""
        self.load_state_dict(_of_json(state))

    def start_prefetch(self) -> None:
        """For Grain's handler, which calls it after `set_state`. Iterating starts what there is."""

    def __repr__(self) -> str:
        device = "" if self.device is None else f", device={self.device}"
        return f"JaxBatches({self.loader!r}{device})"


class JaxPass(Iterator[Any]):
    """One pass over one epoch, which knows its own place.

    Its state is that of the batch which it delivers next. If a state is loaded into it, the loader
    moves there, and the pass goes on from there to the end of that epoch.
    """

    def __init__(self, feed: Feed, device: "jax.Device | jax.sharding.Sharding | None") -> None:
        self._feed = feed
        self._device = device
        self._cursor: Cursor | None = None  # after the last batch
        self._start()

    def __next__(self) -> Any:
        delivered = [next(self._batches)]
        self._cursor = self._feed.cursor.copy()
        return delivered.pop()  # with no name for it here, it is the consumer's alone

    def state_dict(self) -> State:
        """As `Loader.state_dict`, of the batch that this pass delivers next."""
        return self._place().state_dict()

    def load_state_dict(self, state: State) -> None:
        """As `Loader.load_state_dict`; this pass goes on from there.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples or another order.
        """
        self._feed.cursor.load_state_dict(state)
        self._start()

    def get_state(self) -> bytes:
        """The state as JSON, as Grain's iterators give theirs."""
        return _as_json(self.state_dict())

    def set_state(self, state: bytes | str | State) -> None:
        """As `load_state_dict`, of what `get_state` gave."""
        self.load_state_dict(_of_json(state))

    def start_prefetch(self) -> None:
        """For Grain's handler, which calls it after `set_state`. The first `next` starts it."""

    def _start(self) -> None:
        self._cursor = None
        self._batches: Iterator[Any] = deliver(self._feed, self._batches_from)

    def _place(self) -> Cursor:
        cursor = self._feed.cursor
        return self._cursor or cursor.copy(cursor.start)

    def _batches_from(self, place: Place) -> Iterator[Any]:
        _check_last(self._feed.sampler, self._device, place)
        mover = Mover(self._feed, self._device, place)
        return one_ahead(self._feed.take_epoch(place), mover.start)


class Mover:
    """Puts the batches of a pass on a device, from `place` on, in their order."""

    def __init__(
        self, feed: Feed, device: "jax.Device | jax.sharding.Sharding | None", place: Place
    ) -> None:
        self._feed = feed
        self._device = device
        self._place = place
        self._ranks_checked = False

    def start(self, batch: Batch) -> Callable[[], Batch]:
        """Has JAX copy the batch, which goes on while the caller does other things."""
        place, self._place = self._place, self._feed.sampler.after(self._place)
        names = iter([name for name, _ in named_leaves(batch)])
        began = time.perf_counter()
        moved = [map_leaves(lambda leaf: self._moved(leaf, next(names), place), batch)]
        self._feed.count_delivering(time.perf_counter() - began)
        return moved.pop  # which keeps nothing of it

    def _moved(self, leaf: object, name: str, place: Place) -> object:
        if isinstance(leaf, Ragged):
            raise needs_pad(name, leaf, "JAX")
        if not _is_numeric(leaf):
            return leaf
        device = self._device
        try:
            _check_held(leaf)
            if not self._ranks_checked:
                _check_ranks(self._feed.sampler, device, getattr(leaf, "ndim", 1))
                self._ranks_checked = True
            if _is_global(device):
                gather: Any = jax.make_array_from_process_local_data
                return gather(device, leaf)
            return jax.device_put(leaf, device)
        except Exception as error:
            key = next(self._feed.sampler.keys(place, 1))
            what = f"leaf {name}" if name else "the only leaf"
            shape = f", {leaf.dtype} of shape {leaf.shape}," if isinstance(leaf, np.ndarray) else ""
            where = "JAX's default device" if device is None else str(device)
            error.add_note(
                f"headrace: while putting {what}{shape} of the batch of {key} on {where}"
            )
            raise


def _is_global(device: object) -> "TypeGuard[jax.sharding.Sharding]":
    """Whether it is a sharding over the devices of several processes."""
    return isinstance(device, jax.sharding.Sharding) and not device.is_fully_addressable


def _check_ranks(sampler: BatchSampler, device: object, ndim: int) -> None:
    """Compares the ranks of a loader with the rows that each process of JAX is to give."""
    if _is_global(device):
        check_parts(sampler, _parts(device, ndim), "the sharding")
    else:
        processes = jax.process_count()
        warn_if_each_gets_all(sampler, processes, f"JAX has {processes} processes")


def _parts(sharding: "jax.sharding.Sharding", ndim: int) -> int:
    """How many different parts of the rows of an array processes hold."""
    shape = (len(sharding.device_set),) * ndim  # which the sharding divides, on any axis
    rows: dict[int, set[tuple[int, int, int]]] = {}
    indices: Mapping[Any, Any] = sharding.devices_indices_map(shape)
    for device, index in indices.items():
        rows.setdefault(device.process_index, set()).add(index[0].indices(shape[0]))
    return len(set(map(frozenset, rows.values())))


def _check_last(sampler: BatchSampler, device: object, place: Place) -> None:
    """Raises an ArgumentError if a last batch has another shape on each process."""
    if not _is_global(device) or sampler.tail != "partial":
        return
    for left in sampler.sizes(place.position)[1]:
        if left % sampler.world_size:
            raise ArgumentError(
                f"tail must be 'pad' or 'drop', but is 'partial', and a last batch of an epoch has "
                f"{left} samples, of which {sampler.world_size} ranks can't have equal parts, as "
                "an array of JAX over several processes needs them."
            )


def _as_json(state: State) -> bytes:
    return json.dumps(state).encode()


def _of_json(state: bytes | str | State) -> State:
    if not isinstance(state, bytes | str):
        return state
    try:
        parsed: State = json.loads(state)
    except ValueError as error:
        raise StateError(
            f"state must be JSON, as get_state() gives it, but is not: {error}"
        ) from None
    return parsed


def _check_held(leaf: object) -> None:
    """Raises an ArgumentError if JAX would make other numbers of it, as of int64 without x64."""
    if isinstance(leaf, np.ndarray):
        try:
            held(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
        except UnheldError as error:
            raise ArgumentError(
                f"a batch {error.reason}, as which JAX takes {leaf.dtype}. Call "
                "jax.config.update('jax_enable_x64', True), or change it in a transform."
            ) from None


def _is_numeric(leaf: object) -> bool:
    """Whether JAX has arrays of its dtype; strings and dates stay with numpy."""
    return not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "biufcV"
