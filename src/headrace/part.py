"""Part: what a reader says of the sources that it joins, and what an order may go by."""

from typing import NamedTuple


class Part(NamedTuple):
    """Samples of one source that follow one another.

    Attributes:
        length: how many samples.
        block: how many of them are stored together.
        name: of the source, or "" without one.
    """

    length: int
    block: int = 1
    name: str = ""
