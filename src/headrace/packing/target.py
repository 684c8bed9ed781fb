"""The contract of a target: columns of samples, written from the first to the last."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NotRequired, Protocol, TypedDict, TypeVar

from headrace.arrays import Array
from headrace.packing.sums import FileState, Sums
from headrace.pytree import Tree
from headrace.readers.reader import Spec

_MOST_IN_A_BATCH = 2**16

T = TypeVar("T")

Columns = Mapping[str, Spec]


class TargetState(TypedDict):
    """How far a target has come, in JSON types, and small.

    `samples` of them are safe; `open` are the files, by column, that go on behind these.
    """

    samples: int
    open: NotRequired[dict[str, FileState | None]]


class Target(Protocol):
    """Writes samples in one format below a folder, batch after batch.

    A target is made with the samples' columns and number, and `begin` comes before all else. What
    is flushed outlasts the process, and the machine's going down.
    """

    @property
    def batch_size(self) -> int:
        """How many samples each `write` gets, but the last."""
        ...

    @property
    def nbytes(self) -> int | None:
        """The bytes that all files will have; None where that is not known before."""
        ...

    def begin(self, folder: Path, sums: Sums, state: TargetState | None) -> int:
        """Makes ready to write below `folder`; how many samples are there already.

        Args:
            folder: an empty folder; or, with a state, the one that was written into before.
            sums: gets the sums of each file that is ended.
            state: what `flush` gave then.

        Raises:
            DamagedError: the folder does not hold what the state says.
        """
        ...

    def write(self, columns: Mapping[str, Array]) -> None:
        """Writes the next samples."""
        ...

    def flush(self) -> TargetState:
        """Makes what is written safe; what `begin` must be given to go on behind it."""
        ...

    def finish(self) -> None:
        """Ends all files, after the last sample."""
        ...

    def close(self) -> None:
        """Closes what is open, finished or not."""
        ...


class Shape(NamedTuple):
    """How a target is laid out.

    Attributes:
        batch_bytes: what is read, and written, at once; several are read ahead.
        shard_bytes: of a file, where there are several.
        block_bytes: of a chunk or row group. Default: the format's own.
        compressed: where the format can be.
    """

    batch_bytes: int = 2**24
    shard_bytes: int = 2**30
    block_bytes: int | None = None
    compressed: bool = True


def sample_bytes(columns: Columns) -> int:
    """The bytes of all columns of a sample, but 1 at least."""
    return max(1, sum(spec.nbytes for spec in columns.values()))


def most_in_a_batch(columns: Columns, shape: Shape, sample_nbytes: int = 0) -> int:
    """How many samples may be written at once.

    Args:
        sample_nbytes: of a sample, on average, if it may have any length.
    """
    nbytes = sample_nbytes or sample_bytes(columns)
    return max(1, min(_MOST_IN_A_BATCH, shape.batch_bytes // nbytes))


def in_batches(rows: int, batch_size: int) -> tuple[int, int]:
    """`rows` and the size of a batch, made such that batches fill the rows exactly."""
    batch_size = max(1, min(rows, batch_size))
    return rows // batch_size * batch_size, batch_size


def parts_of(tree: Tree[T], name: str = "") -> Iterator[tuple[str, T]]:
    """The arrays or specs of a sample, by name, such as "camera/left"."""
    if isinstance(tree, dict):
        named = [(str(key), part) for key, part in tree.items()]
    elif isinstance(tree, tuple):
        named = [(str(position), part) for position, part in enumerate(tree)]
    else:
        yield name or "sample", tree
        return
    for key, part in named:
        yield from parts_of(part, f"{name}/{key}" if name else key)
