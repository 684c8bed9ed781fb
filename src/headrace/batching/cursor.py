"""Cursor: where a loader stands in its epochs, and the state that says so.

A cursor is a small value that can be copied: what runs ahead of the consumer moves a copy.

An iteration is a pass over one epoch. It starts at the beginning of one, but for the first after a
state was loaded or a place was sought, which starts there. So the place that a pass left early has
reached is where a state goes on, and not where the next pass starts:

    load_state_dict -> (3, 8)     a pass from (3, 8)   left at (3, 24)    the next one from (4, 0)
"""

import functools
import threading
from typing import Any

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.errors import ArgumentError, ArgumentTypeError, LoaderMovedError, StateError
from headrace.per_process import PerProcess
from headrace.pytree import Tree
from headrace.readers.reader import Reader
from headrace.readers.source import data_hash, ids_hash
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import Place
from headrace.sampling.left_out import parsed
from headrace.sampling.order import BatchedOrder, StagedOrder

_STATE_FORMAT = 1

State = dict[str, Any]


class Identity:
    """What a state must have in common with the loader that loads it.

    Args:
        readers: a structure of readers.
        sampler: of the loader.
        transform_version: of the loader.
    """

    def __init__(
        self, readers: Tree[Reader], sampler: BatchSampler, transform_version: str
    ) -> None:
        self._readers = readers
        self._sampler = sampler
        self._transform_version = transform_version

    def entries(self, place: Place) -> State:
        """The entries of a state of that place."""
        if self._staged is None:
            return self._entries
        return {**self._entries, "order": self._staged.describe_until(*place)}

    def hint(self, theirs: object) -> str:
        """What would help where an entry of a state is that one, as the end of a message."""
        order = self._sampler.order
        # Of such an order, states within an epoch also name the batches of its steps.
        if not isinstance(order, BatchedOrder) or not str(theirs).startswith(
            f"{order.describe()},"
        ):
            return ""
        return (
            " Within an epoch, all ranks together must take the same batches: keep batch_size * "
            "world_size, what else their sizes follow from, and the tail; or go on from a state of "
            "the beginning of an epoch."
        )

    @functools.cached_property
    def _entries(self) -> State:
        """Computed once, as hashing ids, labels and weights takes a while."""
        entries: State = {
            "samples": self._sampler.n,
            "order": self._sampler.order.describe(),
            "seed": self._sampler.seed,
            "data": data_hash(self._readers),
            "transform_version": self._transform_version,
        }
        ids = ids_hash(self._readers)
        return entries | {"ids": ids} if ids else entries

    @functools.cached_property
    def _staged(self) -> StagedOrder | None:
        """The order, if it may be changed beyond a place."""
        order = self._sampler.order
        return order if isinstance(order, StagedOrder) else None


class Cursor:
    """A place in the epochs of a sampler.

    Args:
        sampler: says which places there are.
        identity: of the loader, for states.
        place: where it stands, and the next pass starts.

    Attributes:
        samples_epoch: of the last `set_epoch`, at first 0: samples that are asked for by number get
            its random numbers.
    """

    __slots__ = (
        *("_at", "_counted", "_counted_from", "_followed_elsewhere", "_identity", "_loaded"),
        *("_lock", "sampler", "samples_epoch"),
    )

    def __init__(self, sampler: BatchSampler, identity: Identity, place: Place) -> None:
        self.sampler = sampler
        self._identity = identity
        # The place, and whether nothing was delivered since it was set: one tuple, swapped whole,
        # as other threads may look at it.
        self._at = place, True
        self._loaded: Place | None = None  # by a state, if nothing was delivered since
        self._counted: int | None = None  # the epoch that a trainer is in, if one counts them here
        self._counted_from = 0  # the epoch in which its count is 0
        self._lock = PerProcess(threading.Lock)
        self.samples_epoch = 0
        self._followed_elsewhere = False

    @property
    def place(self) -> Place:
        """The epoch, and how many of its samples all ranks together have consumed."""
        return self._at[0]

    @place.setter
    def place(self, place: Place) -> None:
        self._set(self.sampler.check_place(place))

    @property
    def start(self) -> Place:
        """Where a pass starts that begins now: here, or at the next epoch if one was left here."""
        place, sought = self._at
        if sought or not place.position:
            return place
        return self.sampler.normal(Place(place.epoch + 1, 0))

    def copy(self, place: Place | None = None) -> "Cursor":
        """Another cursor, at the same place or at another one."""
        copy = Cursor(self.sampler, self._identity, place or self.place)
        copy._counted = self._counted
        return copy

    def seek(self, epoch: int, step: int = 0) -> None:
        """Moves to where `step` of `epoch` begins.

        Raises:
            OutOfRangeError: (an IndexError) an epoch has no such step.
        """
        self._set(self.sampler.place(epoch, step))

    def set_epoch(self, epoch: int) -> None:
        """Moves to the beginning of `epoch`, unless a place within it was just sought or loaded."""
        start = Place(check_int("epoch", epoch, 0, MAX_SAMPLES), 0)
        self.samples_epoch = start.epoch
        place, sought = self._at
        if not (sought and place.epoch == start.epoch):
            self._set(start)

    def follow_elsewhere(self) -> None:
        """Says that something gives the batches from `start` on, and won't tell when they come.

        It has used up a place that was sought or loaded. Until this is moved, it has no state.
        """
        with self._lock.get():
            self._at = self.place, False
            self._followed_elsewhere = True

    def count_epoch(self, count: int) -> None:
        """Moves as `set_epoch`, for a trainer that counts epochs, and may not know of the state.

        Accelerate counts from 0 in every run. So 0 just after a state of a later epoch was loaded
        means that epoch, and the counts that follow those which follow it. Any other count below
        the epoch of a state leaves the place as it is, too.

        A loader that is cycled within a trainer's epoch gets ahead of it. The state says so then,
        as the trainer's next epoch may be the one in which the place is, from its first batch.
        """
        check_int("epoch", count, 0, MAX_SAMPLES)
        place, ahead_of = self.place, self._ahead_of
        is_loaded = self._at == (self._loaded, True)
        if is_loaded:
            self._counted_from = place.epoch if count == 0 and ahead_of is None else 0
        epoch = self._counted_from + count
        if not is_loaded:
            self.set_epoch(epoch)
        elif epoch > (place.epoch if ahead_of is None else ahead_of):
            self._set(Place(epoch, 0))
        self._counted = self.samples_epoch = epoch

    @property
    def _ahead_of(self) -> int | None:
        """The epoch that a trainer is in, if passes after that of this epoch have begun."""
        counted = self._counted
        return None if counted is None or self.place <= (counted + 1, 0) else counted

    def advance(self) -> Place:
        """Moves on by a step, in this epoch or to the start of the next; the new place."""
        place = self.sampler.after(self.place)
        self._at = place, False
        self._followed_elsewhere = False
        return place

    def deliver(self, left_at: Place, place: Place) -> Place:
        """Counts the batch at `place` as delivered; the place after it, where this then stands.

        Args:
            left_at: where whoever delivers it has left the cursor.
            place: of the batch.

        Raises:
            LoaderMovedError: (a RuntimeError) something else has moved it.
        """
        after = self.sampler.after(place)
        with self._lock.get():  # of threads that deliver the same batch, one does
            self.check_left_at(left_at)
            self._at = after, False
            self._followed_elsewhere = False
        return after

    def check_left_at(self, left_at: Place) -> None:
        """Raises a LoaderMovedError unless this stands where whoever iterates has left it."""
        if self.place != left_at:
            raise LoaderMovedError(
                f"the loader was moved to {self.place} while something iterates over it that "
                f"had left it at {left_at}. Begin another iteration after moving a loader, and "
                "have one at a time."
            )

    def __getstate__(self) -> "_Parts":
        counts = self._counted, self._counted_from, self.samples_epoch
        return self.sampler, self._identity, self._at, self._loaded, counts

    def __setstate__(self, state: "_Parts") -> None:
        self.sampler, self._identity, self._at, self._loaded, counts = state
        self._counted, self._counted_from, self.samples_epoch = counts
        self._lock = PerProcess(threading.Lock)
        self._followed_elsewhere = False

    def _set(self, place: Place) -> None:
        if self.sampler.left_out:
            place = self.sampler.normal(place)  # all steps from there on may be left out
        with self._lock.get():
            self._at = place, True
            self._counted = None
            self._followed_elsewhere = False

    def state_dict(self) -> State:
        """As `Loader.state_dict`.

        Raises:
            StateError: (a ValueError) something else delivers the batches, and knows where it is.
        """
        if self._followed_elsewhere:
            raise StateError(
                "the loader can't know its place: a DataLoader that to_torch() has not made, such "
                "as one from a trainer's prepare(), delivers its batches. Have the trainer save "
                "its own (Accelerate: use_stateful_dataloader=True, or skip_first_batches), or "
                "iterate over to_torch() itself, of a loader with this process's rank= and "
                "world_size=."
            )
        place = self.place  # once, as another thread may move it meanwhile
        state = {
            "format": _STATE_FORMAT,
            "epoch": place.epoch,
            "position": place.position,
            **self._identity.entries(place),
        }
        if self.sampler.left_out:
            state["skip"] = self.sampler.left_out.as_list()
        if self._ahead_of is not None:
            state["trainer_epoch"] = self._ahead_of
        return state

    def load_state_dict(self, state: State) -> None:
        """As `Loader.load_state_dict`.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples, another order or
                another version of the transform.
        """
        place, left_out, trainer_epoch, problem = Place(0, 0), [], None, None
        try:
            entries = state if isinstance(state, dict) else {}
            place = _checked_place(entries.get("epoch", -1), entries.get("position", -1))
            if "skip" in entries:
                left_out = parsed("skip", entries["skip"])
            if "trainer_epoch" in entries:
                trainer_epoch = check_int("trainer_epoch", entries["trainer_epoch"], 0, MAX_SAMPLES)
        except (ArgumentError, ArgumentTypeError) as error:
            problem = error  # if the state is one of such a loader at all
        expected = {"format": _STATE_FORMAT, **self._identity.entries(place)}
        for key, ours in expected.items():
            theirs = state.get(key) if isinstance(state, dict) else None
            if key == "ids" and theirs is None:  # of 0.1.0, or of the same data without ids
                continue
            if theirs != ours:
                raise StateError(
                    "state must come from a loader of the same samples in the same order, and of "
                    f"the same transform_version: its {key!r} is {theirs!r}, and this loader's "
                    f"is {ours!r}.{self._identity.hint(theirs)}"
                )
        try:
            if problem is not None:
                raise problem
            place = self.sampler.check_place(place)
        except (ArgumentError, ArgumentTypeError) as error:
            raise StateError(f"state can't be gone on with here: {error}") from None
        self.sampler.left_out.add(left_out)
        self._set(place)
        self._loaded, self._counted = self.place, trainer_epoch


def _checked_place(epoch: object, position: object) -> Place:
    return Place(
        check_int("epoch", epoch, 0, MAX_SAMPLES), check_int("position", position, 0, MAX_SAMPLES)
    )


_Parts = tuple[
    BatchSampler, Identity, tuple[Place, bool], Place | None, tuple[int | None, int, int]
]
