"""What a loader is given, as static type checkers see it.

Requires nothing at run time but the names. With these, mypy and pyright know of many loaders what
their batches are.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, TypedDict

from headrace.arrays import Array, Indices
from headrace.batching.bad_samples import OnError
from headrace.executors.executor import Executor
from headrace.readers.reader import Spec
from headrace.sampling.keys import Tail
from headrace.sampling.order import Sampling


class SingleArrayReader(Protocol):
    """A reader whose samples are single arrays."""

    @property
    def spec(self) -> Spec: ...
    def __len__(self) -> int: ...
    def read(self, indices: Indices, out: Array) -> None: ...


# Of a source, where its batches have one array.
Part: TypeAlias = Array | SingleArrayReader


class Options(TypedDict, total=False):
    """What `Loader` takes besides a source, a batch size, a transform and a tail."""

    shuffle: bool | Sampling
    seed: int
    rank: int
    world_size: int
    transform_version: str
    on_error: OnError
    max_bad_samples: int | None
    match_ids: bool
    executor: Executor | None
    skip: Sequence[tuple[int, int, int]]


class WithoutPadding(Options, total=False):
    """The same, and a tail that adds no weights, and no indices."""

    tail: Literal["drop", "partial"]
    with_indices: Literal[False]


class WithAnyTail(Options, total=False):
    """The same, and any tail, and indices or not."""

    tail: Tail
    with_indices: bool
