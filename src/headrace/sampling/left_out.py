"""LeftOut: steps of epochs that are not taken, such as that of a batch that broke the training.

Steps are those of the batch size and world size for which they were named. With others, each step
that holds one of these samples is left out whole, so that all ranks have the same steps.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from headrace.arguments import MAX_SAMPLES, check_int
from headrace.errors import bad_value


class Steps(NamedTuple):
    """Steps from `first` to `last` of an epoch, whose global batches are of `size` samples."""

    epoch: int
    first: int
    last: int
    size: int


class LeftOut:
    """The steps that are left out of epochs. Samplers that are copies of one share theirs.

    Attributes:
        changes: how often steps were added.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._steps: list[Steps] = []
        self._runs: dict[int, list[tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._steps)

    def add(self, steps: Iterable[Steps]) -> None:
        """Leaves out more steps.

        Where the same steps were named already, with another size, this size holds: it is that of
        the run which left them out.
        """
        steps = list(steps)
        if not steps:
            return
        self.changes += 1
        named = {each[:3]: each for each in (*self._steps, *steps)}
        self._steps = sorted(named.values())
        runs: dict[int, list[tuple[int, int]]] = {}
        for epoch, first, last, size in self._steps:
            runs.setdefault(epoch, []).append((first * size, (last + 1) * size))
        self._runs = runs  # swapped whole, as other threads may look at it

    def as_list(self) -> list[list[int]]:
        """In JSON types, for a state."""
        return [list(steps) for steps in self._steps]

    def step_runs(self, epoch: int, position: int, steps: int, size: int) -> Iterator[range]:
        """The steps that are taken, by number from `position` on, in runs without a gap.

        Args:
            epoch: of the steps.
            position: at which the first one begins.
            steps: from there to the end of the epoch.
            size: of a global batch.
        """
        begin = 0
        for start, stop in sorted(self._runs.get(epoch, ())):
            first = max(begin, (start - position) // size)
            if first > begin:
                yield range(begin, min(first, steps))
            begin = max(begin, -((position - stop) // size))
            if begin >= steps:
                return
        if begin < steps:
            yield range(begin, steps)


def parsed(argument: str, entries: object, size: int | None = None) -> list[Steps]:
    """The steps that a user, or with their size a state, has named.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) they are no such list.
    """
    names = ("epoch", "first_step", "last_step", *(() if size else ("size",)))
    found = []
    if not isinstance(entries, Sequence):
        raise bad_value(argument, entries, f"a list of ({', '.join(names)})")
    for number, entry in enumerate(entries):
        if not isinstance(entry, Sequence) or len(entry) != len(names):
            raise bad_value(f"{argument}[{number}]", entry, f"({', '.join(names)})")
        least = [0, 0, entry[1], 1]
        numbers = [
            check_int(f"{name} of {argument}[{number}]", value, low, MAX_SAMPLES)
            for name, value, low in zip(names, entry, least[: len(names)], strict=True)
        ]
        epoch, first, last, *of_state = numbers
        found.append(Steps(epoch, first, last, size or of_state[0]))
    return found
