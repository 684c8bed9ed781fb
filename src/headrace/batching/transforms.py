"""Transforms and their random numbers.

Random numbers are a pure function of what they are drawn for. They come from Philox, a
counter-based generator (J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011):
the seed gives the key, and the counter begins at (0, number, epoch, kind), so that no two samples
or batches of any epoch ever share one, nor two transforms that are applied one after the other.
What is drawn thus depends neither on the worker, nor on the executor, nor on what was drawn before.
The number is that of the sample; where an order may give a sample twice in an epoch, that of its
position, so that it gets other numbers each time.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from headrace.arguments import check_no_class, check_version
from headrace.arrays import Array, aligned_empty
from headrace.arrays.conversion import MaskedError, plain_array
from headrace.errors import ArgumentError, ArgumentTypeError, SampleError, bad_type, bad_value
from headrace.pytree import Tree, leaves, map_leaves, named_leaves
from headrace.ragged import Ragged, RaggedOut
from headrace.readers.reader import Arrays, Batched, Out, result_of
from headrace.readers.shared.format_error import renumber
from headrace.sampling import streams
from headrace.sampling.keys import NO_STEP, BatchKey

# Arrays in the structure of the source, or what a transform makes of them: anything.
Batch: TypeAlias = object
Transform = Callable[[Any, np.random.Generator], Any]

_OF_SAMPLE, _OF_BATCH, _OF_POSITION, _OF_SAMPLES = 0, 1, 2, 3
_KINDS = 4
_LONGEST_VERSION = 64


class RandomStreams:
    """One generator, set to the stream of a sample or of a batch. Not to be shared by threads.

    Attributes:
        stage: the number of the transform that the streams are for, where several are applied.
    """

    def __init__(self, seed: int) -> None:
        self.stage: int = 0
        self._counter = np.zeros(4, np.uint64)
        self._state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": self._counter, "key": _key(seed)},
            "buffer": np.zeros(4, np.uint64),
            "buffer_pos": 4,  # the buffer is used up: the next number comes from the counter
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._bits = np.random.Philox(0)
        self._generator = np.random.Generator(self._bits)

    def of_sample(self, epoch: int, index: int) -> np.random.Generator:
        """The generator at the beginning of the stream of sample `index` in `epoch`."""
        return self._at(_OF_SAMPLE, epoch, index)

    def of_position(self, epoch: int, position: int) -> np.random.Generator:
        """The generator at the beginning of the stream of a position of `epoch`."""
        return self._at(_OF_POSITION, epoch, position)

    def of_batch(self, epoch: int, first: int) -> np.random.Generator:
        """The generator at the beginning of the stream of the batch whose first position it is."""
        return self._at(_OF_BATCH, epoch, first)

    def of_samples(self, epoch: int, first: int) -> np.random.Generator:
        """The generator for samples that are no batch of `epoch`, of which the first is given."""
        return self._at(_OF_SAMPLES, epoch, first)

    def _at(self, kind: int, epoch: int, number: int) -> np.random.Generator:
        self._counter[:] = (0, number, epoch, kind + _KINDS * self.stage)
        # Setting a state takes a tenth of the time of making a generator.
        self._bits.state = self._state
        return self._generator


@functools.lru_cache
def _key(seed: int) -> Array:
    """That of the generators of a seed; kept, as they are made for each batch."""
    sequence = np.random.SeedSequence(seed, spawn_key=(streams.TRANSFORM,))
    return sequence.generate_state(2, np.uint64)


class per_sample:  # noqa: N801  (it reads as a function where it is used)
    """A transform of a batch, made of a function of one sample.

    Args:
        function: called as `function(sample, rng)`. `sample` has the structure of the source, its
            arrays without the batch axis; its arrays may be changed in place. `rng` is a
            `numpy.random.Generator` that gives the same numbers for the same seed, epoch and
            sample, in whatever batch it comes; it is only good during the call. The function
            returns a sample of any structure, of arrays or numbers of the same shape and dtype for
            all. A `SampleError` that it raises makes the sample a bad one, which `on_error` may
            replace: whether it does must depend on the sample alone.
        ragged: which of the arrays that it returns may differ in the length of their first axis: a
            batch of them is a `Ragged`. True for all that have an axis, or bools in the structure
            of what it returns, such as `{"tokens": True, "label": False}`.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> def noisy(sample, rng):
        ...     return sample + rng.normal()
        >>> loader = hr.Loader(np.zeros(4), batch_size=2, transform=hr.per_sample(noisy))
        >>> batch = loader.batch(epoch=0, step=1)
        >>> batch.shape, bool(batch[0] == batch[1])
        ((2,), False)
    """

    def __init__(self, function: Transform, ragged: Tree[bool] = False) -> None:
        if not callable(function):
            raise bad_type("function", function, "a function of (sample, rng)")
        _check_takes("function", function, "sample")
        if not all(isinstance(each, bool) for each in leaves(ragged)):
            raise bad_type("ragged", ragged, "a bool, or a tuple or dict of bools")
        self.function = function
        self.ragged = ragged

    def __repr__(self) -> str:
        return f"per_sample({getattr(self.function, '__qualname__', self.function)!s})"

    def apply(
        self, batch: Tree[Batched], key: BatchKey, generators: RandomStreams
    ) -> Tree[Batched]:
        """The batch of the transformed samples of `batch`."""
        out: Out | None = None
        n = len(key.indices)
        epoch = key.place.epoch
        for row, index in enumerate(key.indices.tolist()):
            try:
                if key.repeats:
                    generator = generators.of_position(epoch, key.first + row)
                else:
                    generator = generators.of_sample(epoch, index)
                rows = map_leaves(lambda array, row=row: array[row], batch)
                sample = self.function(rows, generator)
                sample = map_leaves(_as_array, sample)
                if out is None:
                    out = _empty_rows(sample, self.ragged, n)
                _put(sample, out, row)
            except Exception as error:
                error.add_note(f"headrace: in {self!r} of sample {index}, row {row} of its batch")
                if isinstance(error, SampleError) and error.index is None:
                    renumber(error, index, f"sample {index}")
                raise
        return batch if out is None else result_of(out)


# What a loader takes: one, or several that are applied one after the other.
Transforms: TypeAlias = Transform | per_sample | Sequence[Transform | per_sample]


def check_transform(transform: object, version: object) -> None:
    """Raises an error unless a loader can take the transform and its version."""
    several = isinstance(transform, list | tuple)
    allowed = "a function of (batch, rng), per_sample(fn), or a list of such"
    for each in transform if isinstance(transform, list | tuple) else (transform,):
        if type(each) is per_sample or (each is None and not several):
            continue
        if not callable(each) or each is per_sample:
            raise bad_type("transform", each, allowed)
        _check_takes("transform", each, "batch")
    if several and not transform:
        raise bad_value("transform", transform, allowed)
    if len(check_version("transform_version", version)) > _LONGEST_VERSION:
        allowed = f"a str of at most {_LONGEST_VERSION} characters"
        raise bad_value("transform_version", version, allowed)


def _check_takes(argument: str, function: Callable[..., object], what: str) -> None:
    """Raises an error unless the function takes a batch or sample, and a generator."""
    check_no_class(argument, function, f"a function of ({what}, rng)")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of functions in C that have none
        return
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        raise ArgumentTypeError(
            f"{argument} must be called as fn({what}, rng), but {name}{signature} can't be. Of a "
            f"function of one argument, as those of torchvision, pass lambda {what}, rng: "
            f"fn({what}), or a function that does so."
        ) from None


def stages_of(transform: Transforms | None) -> tuple[Transform | per_sample, ...]:
    """The transforms that are applied one after the other."""
    if transform is None:
        return ()
    if isinstance(transform, per_sample) or callable(transform):
        return (transform,)
    return tuple(transform)


def apply(
    stages: Sequence[Transform | per_sample],
    batch: Batch,
    key: BatchKey,
    generators: RandomStreams,
    first: int = 0,
) -> Batch:
    """The batch that `stages` make of `batch`, of which the first has the number `first`."""
    made: Any = batch
    for generators.stage, each in enumerate(stages, first):
        made = _applied(each, made, key, generators)
    return made


def native(batch: Batch) -> Batch:
    """The batch in the byte order of this machine."""
    made: Any = batch
    kept: Any = made if all(map(_is_native, leaves(made))) else map_leaves(_as_native, made)
    return kept


def _applied(
    transform: Transform | per_sample,
    batch: Tree[Batched],
    key: BatchKey,
    generators: RandomStreams,
) -> Batch:
    if isinstance(transform, per_sample):
        return transform.apply(batch, key, generators)
    of_batch = generators.of_samples if key.step == NO_STEP else generators.of_batch
    batch = transform(batch, of_batch(key.place.epoch, key.first))
    if batch is None:
        raise ArgumentError("the transform must return the batch, but returned None.")
    if any(isinstance(leaf, list) for leaf in leaves(batch)):
        raise ArgumentError("the transform must return tuples or dicts of arrays, not lists.")
    return batch


def _is_native(leaf: object) -> bool:
    return not isinstance(leaf, np.ndarray | Ragged) or leaf.dtype.isnative


def _as_native(leaf: object) -> object:
    """As no framework takes the other byte order, such as of `np.frombuffer(data, ">u2")`."""
    if isinstance(leaf, Ragged):
        return Ragged(leaf.values.astype(leaf.dtype.newbyteorder("=")), leaf.offsets)
    return leaf.astype(leaf.dtype.newbyteorder("=")) if isinstance(leaf, np.ndarray) else leaf


def _as_array(leaf: object) -> Array:
    try:
        array = plain_array(leaf)
    except MaskedError:
        raise ArgumentError(
            "the transform must return values for all of an array, but some were masked. Return "
            "its filled(...), with some in their place."
        ) from None
    if not array.size and isinstance(leaf, list):
        raise ArgumentError(
            "the transform must return elements of one dtype, but returned an empty list, which "
            "has none. Return numpy.array(the_list, dtype=...), for all samples."
        )
    if array.dtype.hasobject:
        raise ArgumentError(
            f"the transform must return arrays or numbers, but returned a {type(leaf).__name__}."
        )
    return array


def _empty_rows(sample: Arrays, ragged: Tree[bool], n: int) -> Out:
    """What `n` samples like this one are put into."""
    names = [name for name, _ in named_leaves(sample)]
    if isinstance(ragged, bool):
        told = dict.fromkeys(names, ragged)
    else:
        told = {name: bool(each) for name, each in named_leaves(cast("Tree[bool]", ragged))}
        if names == [""]:
            raise bad_value("ragged", ragged, "one bool, as the transform returns one array")
        if told.keys() != set(names):
            raise ArgumentError(
                f"ragged must have a bool for each of the leaves {names} that the transform "
                f"returns, but has them for {list(told)}."
            )
    flags = iter(names)

    def rows_of(leaf: Array) -> Array | RaggedOut:
        if told[next(flags)] and leaf.ndim:
            return RaggedOut(n, leaf.shape[1:], leaf.dtype)
        return aligned_empty((n, *leaf.shape), leaf.dtype)

    return map_leaves(rows_of, sample)


def _put(sample: Arrays, out: Out, row: int) -> None:
    """Copies the leaves of `sample` to `row` of the leaves of `out`, which they must fit."""
    names = [name for name, _ in named_leaves(sample)]
    if row and names != [name for name, _ in named_leaves(out)]:
        raise ArgumentError(
            "the transform must return the same structure for all samples, but returned leaves "
            f"at {names} after those at {[name for name, _ in named_leaves(out)]}."
        )
    all_rows: Iterator[Array | RaggedOut] = leaves(out)
    for name, leaf, rows in zip(names, leaves(sample), all_rows, strict=True):
        if isinstance(rows, RaggedOut):
            expected: tuple[int | None, ...] = (None, *rows.element)
            fits = leaf.ndim > 0 and leaf.shape[1:] == rows.element
        else:
            expected = rows.shape[1:]
            fits = leaf.shape == expected
        if not fits or leaf.dtype != rows.dtype:
            only_length = len(expected) == leaf.ndim and leaf.shape[1:] == expected[1:]
            remedy = " For samples of any length, use per_sample(fn, ragged=True)."
            raise ArgumentError(
                "the transform must return the same shape and dtype for all samples, but returned "
                f"{leaf.shape} {leaf.dtype}{' at ' + name if name else ''} after "
                f"{expected} {rows.dtype}.{remedy if only_length and not fits else ''}"
            )
        rows[row] = leaf
