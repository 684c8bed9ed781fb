"""BatchMaker: the pure function (data, configuration, key) -> batch.

It is all that is sent to workers: it knows no position, no executor and no framework.
"""

import functools
import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from headrace.arrays import ALIGNMENT_BYTES, Array, Indices, MemoryPool
from headrace.batching.bad_samples import BadSample, Substitution
from headrace.batching.transforms import (
    Batch,
    RandomStreams,
    Transforms,
    apply,
    native,
    per_sample,
    stages_of,
)
from headrace.errors import ArgumentError, SampleError, stopped_early
from headrace.pytree import Tree, leaves, map_leaves, nbytes
from headrace.ragged import Ragged
from headrace.readers.access import access_of, ids_at
from headrace.readers.reader import (
    Batched,
    Reader,
    Spec,
    is_ragged,
    read_batch,
)
from headrace.readers.shared.samples.mean_lengths import sampled_nbytes
from headrace.sampling.keys import BatchKey, Block, padding_weights

# Batches that together are no larger are views of one array: reading into it takes one call. A
# consumer that keeps one of them keeps the memory of all.
_MOST_BYTES_TOGETHER = 2**19
# Of samples of any length, so much is read to tell how long they are.
_LOOKED_AT_BYTES = 2**22


class BlockResult(NamedTuple):
    """The batches of a block, or the keys of those that have to be made one by one.

    Attributes:
        batches: none, if some are left.
        samples: in each batch, without padding.
        batch_nbytes: bytes of each batch; None where they differ.
        reading_s, transforming_s: seconds that it took.
        left: the keys of the batches that are left, as making them together has failed.
        bad_samples: that were replaced, if there is a single batch.
        key: of that batch as text, if some were.
    """

    batches: list[Batch]
    samples: int
    batch_nbytes: int | None
    reading_s: float
    transforming_s: float
    left: Sequence[BatchKey] = ()
    bad_samples: tuple[BadSample, ...] = ()
    key: str = ""

    @property
    def nbytes(self) -> int:
        """The bytes of all batches."""
        if self.batch_nbytes is None:
            return sum(map(nbytes, self.batches))
        return len(self.batches) * self.batch_nbytes


class BatchMaker:
    """Makes the batch of a key: reads its samples, transforms them, adds weights for padding.

    Args:
        readers: a structure of readers.
        transform: as `Loader` takes it.
        seed: of the transform's random numbers.
        weighted: whether each batch gets float32 weights at its end, 0 for padding.
        with_indices: whether each batch gets the indices of its samples at its end, int64.
        memory: where the arrays come from that samples are read into.
        substitution: finds substitutes for samples that can't be read. Without it, they are errors.
    """

    def __init__(
        self,
        readers: Tree[Reader],
        transform: Transforms | None,
        seed: int,
        weighted: bool,
        memory: MemoryPool,
        substitution: Substitution | None = None,
        with_indices: bool = False,
    ) -> None:
        self._readers = readers
        self._stages = stages_of(transform)
        # So many come first that are of one sample: what they make of it may show that it is bad.
        self._of_samples = len(list(itertools.takewhile(_is_of_samples, self._stages)))
        self._seed = seed
        self._weighted = weighted
        self._memory = memory
        self._substitution = substitution
        self.with_indices = with_indices

    def __call__(self, block: Block) -> BlockResult:
        """The batches of a block; of several steps only if it `reads_together`."""
        if len(block.indices) == 1:
            return self.make(block.key(0))
        started = time.perf_counter()
        try:
            batches = self._read_together(block.indices)
        except Exception:  # so that each failure comes at its turn
            return BlockResult([], 0, 0, 0.0, 0.0, list(block.batch_keys()))
        read = time.perf_counter()
        differ = any(is_ragged(reader.spec) for reader in leaves(self._readers))
        size = None if differ else nbytes(batches[0])
        return BlockResult(batches, block.n_valid, size, read - started, 0.0)

    def make(self, key: BatchKey) -> BlockResult:
        """The batch of a key."""
        started = time.perf_counter()
        try:
            bad_samples: tuple[BadSample, ...] = ()
            batch: Batch
            if self._substitution is None:
                batch, read = self._samples(key.indices, key)
            else:
                (batch, read), bad_samples = self._substitution.read(
                    lambda indices: self._samples(indices, key),
                    lambda indices: self._samples(indices, key._replace(indices=indices)),
                    key.indices,
                )
            rest = self._stages[self._of_samples :]
            if rest:
                streams = RandomStreams(self._seed)
                batch = apply(rest, batch, key, streams, self._of_samples)
            if self._stages:
                batch = native(batch)
            if self._weighted:
                batch = _with(batch, padding_weights(key), "tail='pad'", "a weight")
            if self.with_indices:
                batch = _with(batch, key.indices, "with_indices=True", "an index")
        except Exception as error:
            error.add_note(f"headrace: while making the batch of {key}")
            if isinstance(error, StopIteration):  # it would end the loop of whoever asks for this
                raise stopped_early(error, f"what makes the batch of {key}") from error
            raise
        taken = time.perf_counter() - read
        name = str(key) if bad_samples else ""
        return BlockResult(
            [batch], key.n_valid, nbytes(batch), read - started, taken, (), bad_samples, name
        )

    @property
    def reads_together(self) -> bool:
        """Whether making a batch is only copying rows of memory, so that several go together."""
        return (
            not self._stages
            and not self._weighted
            and not self.with_indices
            and all(
                access_of(reader).in_memory and isinstance(reader.spec, Spec)
                for reader in leaves(self._readers)
            )
        )

    @property
    def keeps_shapes(self) -> bool:
        """Whether all batches have the same shapes, but for the number of samples."""
        return not self._stages

    @functools.cached_property
    def sample_nbytes(self) -> int:
        """The bytes of one sample as it is read; about, where samples may have any length."""
        # Not by the lengths of all, which take time where there are many.
        return sum(sampled_nbytes(reader, _LOOKED_AT_BYTES) for reader in leaves(self._readers))

    def release_memory(self) -> None:
        """Frees the memory that is kept for later batches."""
        self._memory.clear()

    def _samples(self, indices: Indices, key: BatchKey) -> tuple[Batch, float]:
        """The samples `indices`, as transforms of one make them of `key`, and when it had them."""
        batch: Batch = self._read_batch(indices)
        read = time.perf_counter()
        if self._of_samples:
            first = self._stages[: self._of_samples]
            try:
                batch = apply(first, batch, key, RandomStreams(self._seed))
            except SampleError as error:
                self._name(error)
                raise
        return batch, read

    def _name(self, error: SampleError) -> None:
        """Has the error of a transform, which knows no files, say what the sample is called."""
        if error.index is None:
            return
        index = np.array([error.index])
        known = (ids_at(reader, index) for reader in leaves(self._readers))
        ids = next((ids for ids in known if ids is not None), None)
        if ids is not None:
            error.args = (f"{error}, which is {ids[0]!r}",)

    def _read_batch(self, indices: Indices) -> Tree[Batched]:
        empty = self._memory.empty
        return map_leaves(lambda reader: read_batch(reader, indices, empty), self._readers)

    def _read_together(self, indices: Indices) -> list[Batch]:
        """The batches of the rows of `indices`."""
        rows = map_leaves(lambda reader: self._read_rows(reader, indices), self._readers)
        if not isinstance(rows, tuple | dict):
            return list(rows)
        if type(rows) is tuple and not any(isinstance(part, tuple | dict) for part in rows):
            return list(zip(*rows, strict=True))
        return [map_leaves(lambda leaf, i=i: leaf[i], rows) for i in range(len(indices))]

    def _read_rows(self, reader: Reader, indices: Indices) -> Sequence[Batched]:
        """A batch for each row of `indices`, each of which begins at an aligned address."""
        steps, samples = indices.shape
        spec = reader.spec
        assert isinstance(spec, Spec), "only plain arrays are read together"
        empty = self._memory.empty
        if spec.ragged:
            return [cast("Ragged", read_batch(reader, row, empty)) for row in indices]
        nbytes = samples * spec.nbytes
        together = 1 if nbytes % ALIGNMENT_BYTES else max(1, _MOST_BYTES_TOGETHER // max(1, nbytes))
        rows: list[Array] = []
        for some in (indices[start : start + together] for start in range(0, steps, together)):
            read = cast("Array", read_batch(reader, some.reshape(-1), empty))
            rows.extend(read.reshape(len(some), samples, *spec.shape))
        return rows


class ReadyBatches:
    """Instead of a `BatchMaker`: gives a few ready batches again and again."""

    def __init__(self, ready: list[BlockResult], with_indices: bool = False) -> None:
        self._ready = ready
        self.with_indices = with_indices

    def __call__(self, block: Block) -> BlockResult:
        return self.make(block.key(0))

    def make(self, key: BatchKey) -> BlockResult:
        """The batch of a key."""
        ready = self._ready[key.step % len(self._ready)]
        return BlockResult(list(ready.batches), ready.samples, ready.batch_nbytes, 0.0, 0.0)

    @property
    def reads_together(self) -> bool:
        return False

    @property
    def keeps_shapes(self) -> bool:
        return False

    @property
    def sample_nbytes(self) -> int:
        return 0

    def release_memory(self) -> None:
        """It keeps none."""


def _is_of_samples(stage: object) -> bool:
    return isinstance(stage, per_sample)


def _with(batch: Batch, column: Array, option: str, what: str) -> tuple[object, ...]:
    """The batch with a column more, of a value for each sample."""
    for leaf in leaves(batch):
        if isinstance(leaf, np.ndarray | Ragged) and leaf.shape[:1] != column.shape:
            raise ArgumentError(
                f"the transform must keep the {len(column)} samples of a batch when {option}, "
                f"as each has {what}, but returned an array of shape {leaf.shape}."
            )
    return (*batch, column) if isinstance(batch, tuple) else (batch, column)
