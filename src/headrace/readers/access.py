"""What a reader may say of itself besides its samples: how they are accessed, and their names.

A reader of anyone's has three members: `spec`, `len` and `read`. What more it has is asked for here
alone, so that nothing else has to know what is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.readers.reader import Reader


@dataclass(frozen=True, slots=True)
class Access:
    """What reading samples takes.

    Attributes:
        in_memory: whether reading a sample is no more than copying it.
        block: how many samples are stored together, such as in a chunk, and are read as a whole to
            read one of them; 1 if any sample is read by itself.
        blocks_kept: how many blocks the reader keeps in memory.
    """

    in_memory: bool = False
    block: int = 1
    blocks_kept: int = 0


def access_of(reader: Reader) -> Access:
    """What the attributes `in_memory`, `block` and `blocks_kept` say, of those that there are."""
    return Access(
        in_memory=getattr(reader, "in_memory", False),
        block=max(1, getattr(reader, "block", 1)),
        blocks_kept=getattr(reader, "blocks_kept", 0),
    )


def fingerprint_of(reader: Reader) -> str:
    """What the method `fingerprint` returns; nothing if there is none."""
    fingerprint: str = getattr(reader, "fingerprint", str)()
    return fingerprint


def ids_of(reader: Reader) -> Sequence[str] | None:
    """The names of the samples, in order, if `ids` has them."""
    ids: Sequence[str] | None = getattr(reader, "ids", None)
    return ids


def ids_fingerprint_of(reader: Reader) -> str:
    """What the method `ids_fingerprint` returns; nothing if there is none.

    It tells samples apart by their ids, or their indices, where `fingerprint` does not: states of
    0.1.0 hold that as it is.
    """
    ids_fingerprint: str = getattr(reader, "ids_fingerprint", str)()
    return ids_fingerprint
