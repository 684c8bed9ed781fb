"""Cursor: where a loader stands in its epochs, and the state that says so.

A cursor is a small value that can be copied: what runs ahead of the consumer moves a copy.
"""

import functools
from typing import Any

from headrace.batching.source import data_hash
from headrace.errors import ArgumentError, ArgumentTypeError, LoaderMovedError, StateError
from headrace.pytree import Tree
from headrace.readers.reader import Reader
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.keys import Place

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

    @functools.cached_property
    def entries(self) -> State:
        """The entries of a state. Computed once, as hashing ids and labels takes a while."""
        return {
            "samples": self._sampler.n,
            "order": self._sampler.order.describe(),
            "seed": self._sampler.seed,
            "data": data_hash(self._readers),
            "transform_version": self._transform_version,
        }


class Cursor:
    """A place in the epochs of a sampler.

    Args:
        sampler: says which places there are.
        identity: of the loader, for states.
        place: where it stands.
    """

    __slots__ = ("_identity", "_place", "sampler")

    def __init__(self, sampler: BatchSampler, identity: Identity, place: Place) -> None:
        self.sampler = sampler
        self._identity = identity
        self._place = place

    @property
    def place(self) -> Place:
        """The epoch, and how many of its samples all ranks together have consumed."""
        return self._place

    @place.setter
    def place(self, place: Place) -> None:
        self._place = self.sampler.check_place(place)

    def copy(self) -> "Cursor":
        """Another cursor at the same place."""
        return Cursor(self.sampler, self._identity, self._place)

    def seek(self, epoch: int, step: int = 0) -> None:
        """Moves to where `step` of `epoch` begins.

        Raises:
            OutOfRangeError: (an IndexError) an epoch has no such step.
        """
        self._place = self.sampler.place(epoch, step)

    def advance(self) -> Place:
        """Moves on by a step, in this epoch or to the start of the next; the new place."""
        self._place = place = self.sampler.after(self._place)
        return place

    def advance_from(self, place: Place) -> Place:
        """`advance`, if it still stands where whoever moves it has left it.

        Raises:
            LoaderMovedError: (a RuntimeError) something else has moved it.
        """
        if self._place != place:
            raise LoaderMovedError(
                f"the loader was moved to {self._place} while something iterates over it that had "
                f"left it at {place}. Begin another iteration after moving a loader, and have one "
                "at a time."
            )
        return self.advance()

    def state_dict(self) -> State:
        """As `Loader.state_dict`."""
        epoch, position = self._place  # once, as another thread may move it meanwhile
        return {
            "format": _STATE_FORMAT,
            "epoch": epoch,
            "position": position,
            **self._identity.entries,
        }

    def load_state_dict(self, state: State) -> None:
        """As `Loader.load_state_dict`.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples, another order or
                another version of the transform.
        """
        expected = {"format": _STATE_FORMAT, **self._identity.entries}
        for key, ours in expected.items():
            theirs = state.get(key) if isinstance(state, dict) else None
            if theirs != ours:
                raise StateError(
                    "state must come from a loader of the same samples in the same order, and of "
                    f"the same transform_version: its {key!r} is {theirs!r}, and this loader's "
                    f"is {ours!r}."
                )
        try:
            self.place = Place(state.get("epoch", -1), state.get("position", -1))
        except (ArgumentError, ArgumentTypeError) as error:
            raise StateError(f"state can't be gone on with here: {error}") from None
