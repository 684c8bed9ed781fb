"""Resumable: what has a place in its epochs, and a state that says so: a loader."""

from headrace.batching.cursor import State
from headrace.batching.feed import Feed
from headrace.sampling.keys import Place


class Resumable:
    """The cursor of a feed, as users move and save it."""

    _feed: Feed

    @property
    def place(self) -> Place:
        """The cursor: the epoch, and how many of its samples all ranks together have consumed."""
        return self._feed.cursor.place

    @place.setter
    def place(self, place: Place) -> None:
        self._feed.cursor.place = place

    @property
    def epoch(self) -> int:
        """The epoch of the batch that comes next."""
        return self.place.epoch

    def seek(self, epoch: int, step: int = 0) -> None:
        """Moves the loader, so that the batch at `step` of `epoch` comes next.

        Raises:
            OutOfRangeError: (an IndexError) `step` is not in `range(len(loader))`.
        """
        self._feed.cursor.seek(epoch, step)

    def set_epoch(self, epoch: int) -> None:
        """Has the next pass be over `epoch`, from its first batch.

        Not if a place within that epoch was just loaded: trainers call this after that, too.
        """
        self._feed.cursor.set_epoch(epoch)

    def state_dict(self) -> State:
        """The loader's place, in JSON types, under 1 KB; taken in constant time after the first.

        A batch counts once it has been delivered. Besides the place, the state holds what the
        loader must have in common with the one that loads it: number of samples, order with seed,
        `transform_version`, and hashes of the source's structure, specs, ids and labels, not data.
        """
        return self._feed.cursor.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Moves the loader to the place of `state`, which may come from another batch size,
        world size or executor. Steps that the state leaves out (`skip=`) are left out here, too.

        Raises:
            StateError: (a ValueError) the state is damaged, or of other samples, another order or
                another version of the transform.
        """
        self._feed.cursor.load_state_dict(state)
