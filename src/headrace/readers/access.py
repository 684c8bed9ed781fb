"""What a reader may say of itself besides its samples: how they are accessed, and their names.

A reader of anyone's has three members: `spec`, `len` and `read`. What more it has is asked for here
alone, so that nothing else has to know what is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headrace.arrays import Array, Indices
from headrace.pytree import Tree
from headrace.readers.reader import Reader


class ReadAmplificationWarning(UserWarning):
    """Much more than the samples will be read, and in another order it would not."""


@dataclass(frozen=True, slots=True)
class Access:
    """What reading samples takes.

    Attributes:
        in_memory: whether reading a sample is no more than copying it.
        block: how many samples are stored together, such as in a chunk, and are read as a whole to
            read one of them; 1 if any sample is read by itself.
        blocks_kept: how many blocks the reader keeps in memory.
        block_cost: how many samples' worth is read with a block. More than `block` in a view that
            leaves out some samples of each; 0 stands for `block`.
        blocks_aligned: whether blocks begin at the multiples of `block`. Not in a view that begins
            within a block, or whose blocks have different lengths, `block` on average.
    """

    in_memory: bool = False
    block: int = 1
    blocks_kept: int = 0
    block_cost: float = 0
    blocks_aligned: bool = True

    @property
    def cost(self) -> float:
        """How many samples' worth is read with a block."""
        return self.block_cost or self.block


def access_of(reader: Reader) -> Access:
    """What `access` is, or `in_memory`, `block` and `blocks_kept`, of those that there are."""
    access = getattr(reader, "access", None)
    if isinstance(access, Access):
        return access
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


def part_readers_of(reader: Reader) -> Tree[Reader]:
    """The reader; or `part_readers`, where each part of its samples can be read by itself.

    Those are a tuple or dict of readers, as long as the reader, of the structure of its `spec`.
    """
    parts: Tree[Reader] = getattr(reader, "part_readers", reader)
    return parts


ReadWindows: TypeAlias = Callable[[Indices, int, Array], None]


def read_windows_of(reader: Reader) -> ReadWindows | None:
    """The method `read_windows(starts, rate, out)`, if windows of its samples cost less than these.

    It writes the samples `start`, `start + rate`, ... into `out[i]`, shape (length, *sample), for
    each of the starts. All of them are in range.
    """
    read_windows: ReadWindows | None = getattr(reader, "read_windows", None)
    return read_windows
