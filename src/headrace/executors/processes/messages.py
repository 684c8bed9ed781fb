"""Messages: what the consumer's process and its workers send each other, pickled."""

from typing import NamedTuple

REMEDY = (
    "headrace: Processes sends the readers and the transform to its workers as a pickle. Functions "
    "and classes must be at the top level of a module that the workers can import, not in a "
    "notebook or an interactive session; there they need cloudpickle: pip install "
    "'headrace[notebook]'. Or use Threads."
)


class Call(NamedTuple):
    """What a worker is told: to call a function that it may have from before.

    Attributes:
        function: its number.
        pickled: the argument, and the function, or None if the worker has it.
        forgotten: numbers of functions that nobody will call any more.
        freed: slots that may be used again.
    """

    function: int
    pickled: bytes
    forgotten: list[int]
    freed: list[int]


class Reply(NamedTuple):
    """What a worker answers with, if the call did not fail.

    Attributes:
        pickled: the result without the data of its arrays.
        spans: where those data lie, pairs of offset and length in bytes.
        nbytes: of the data in all, or of the new slot.
        slot: the slot that they lie in; if None, they are a message of their own that follows.
        new: whether the slot is. Its descriptor then comes last.
        dropped: slots that the worker has given up.
        copying_s: how many seconds it took to copy the data there.
    """

    pickled: bytes
    spans: list[tuple[int, int]]
    nbytes: int
    slot: int | None
    new: bool
    dropped: list[int]
    copying_s: float
