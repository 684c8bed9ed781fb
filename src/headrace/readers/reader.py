"""The contract of a reader, and the check of what is asked of one."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype
from headrace.arrays import Array, DType, Indices, aligned_empty
from headrace.errors import ArgumentError, HeadraceError, OutOfRangeError, bad_type, bad_value
from headrace.pytree import Tree, leaves, map_leaves, nbytes
from headrace.ragged import Empty, Ragged, RaggedOut


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape and dtype of one sample. The dtype has the machine's byte order.

    The first axis may be None: the samples then differ in their length, and a batch of them is a
    `Ragged`.
    """

    # With None in the first place alone; as such, every use would have to say that it is none.
    shape: tuple[Any, ...]
    dtype: DType

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple):
            raise bad_type("shape", self.shape, "a tuple of ints, such as (224, 224, 3)")
        for axis in self.shape:
            if axis is not None and not (isinstance(axis, int | np.integer) and axis >= 0):
                raise bad_value("shape", self.shape, "a tuple of ints from 0 on")
        dtype: npt.DTypeLike = self.dtype
        if not isinstance(dtype, np.dtype):  # what numpy takes for one, such as "float32"
            object.__setattr__(self, "dtype", check_dtype(dtype))
        if None in self.shape[1:]:
            raise bad_value("shape", self.shape, "one with None in no axis but the first")

    @property
    def ragged(self) -> bool:
        """Whether samples may have any length."""
        return None in self.shape

    @property
    def element(self) -> tuple[int, ...]:
        """The shape of a sample without its first axis."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes of one sample; of one element of it, if samples may have any length."""
        shape = self.element if self.ragged else self.shape
        return math.prod(shape) * self.dtype.itemsize


# A batch of one array of the samples.
Batched: TypeAlias = Array | Ragged
# Of a sample that is one array or several, and of a batch of such samples.
Specs: TypeAlias = Tree[Spec]
Arrays: TypeAlias = Tree[Array]
# What `read` fills, in the structure of the spec: an array for each part, or a `RaggedOut` where
# samples may have any length. Which of them it is, the spec says, and no checker can know.
Out: TypeAlias = Any


@runtime_checkable
class Reader(Protocol):
    """Random access to samples, a batch at a time.

    A sample is an array, or a tuple or dict of arrays, nested at will: `spec` is then that of
    specs, and `out` that of arrays. Samples are of one shape, or differ in the length of their
    first axis, which `spec` then has as None.

    A reader

    - fills the given array and allocates none for the caller;
    - may be called from any number of threads at once;
    - pickles as a description, such as paths, and opens its handles on first use in each process;
    - holds no Python object for each sample;
    - raises, for a sample it can't read, an error that names the file and the index.

    It may have more, which `headrace.readers.access` asks for. A method `fingerprint() -> str`
    names its samples without reading them, such as a hash of their ids; a loader's state then
    refuses to be loaded over other samples. An attribute `in_memory` is true if reading a sample is
    no more than copying it; a loader then reads several small batches with one call. Where samples
    are stored in blocks, such as chunks, of which reading one sample takes the whole, `block` is
    the number of samples in one (1 if any sample is read by itself), and `blocks_kept` how many it
    keeps in memory; a loader then warns of a full shuffle, and says what it costs. `ids` are the
    names of the samples, in order, for reports, and `ids_at(indices)` those of some. Where samples
    are several arrays, each of which can be read by itself, `part_readers` are the readers of each,
    and a loader takes those. Where samples differ in length, `sample_lengths()` gives those of all,
    as `lengths_of` says.

    `headrace.testing.ReaderContract` tests all of this.
    """

    @property
    def spec(self) -> Specs:
        """Shape and dtype of one sample, known before any is read."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, indices: Indices, out: Out) -> None:
        """Writes sample `indices[i]` into `out[i]`, for every i.

        Args:
            indices: int64, shape (batch,), each in range(len(self)), repeats allowed.
            out: C-contiguous, shape (batch, *spec.shape), dtype spec.dtype; or, where samples may
                have any length, a `headrace.ragged.RaggedOut`, of which `allocate(lengths)` gives
                what is to be filled; or a tuple or dict of such, as `spec` is.
        """
        ...


def is_specs(spec: object) -> TypeGuard[Specs]:
    """Whether it is a spec, or a tuple or dict of specs, of at least one."""
    if isinstance(spec, Spec):
        return True
    if not isinstance(spec, tuple | dict) or not spec:
        return False
    return all(map(is_specs, spec.values() if isinstance(spec, dict) else spec))


def sample_nbytes(spec: Specs) -> int:
    """Bytes of all arrays of one sample; at least, where samples may have any length."""
    return nbytes(spec)


def is_ragged(spec: Specs) -> bool:
    """Whether an array of a sample may have any length."""
    return any(part.ragged for part in leaves(spec))


def empty_out(spec: Specs, n: int, empty: Empty = aligned_empty) -> Out:
    """What `n` samples are read into, not filled yet; `result_of` gives the samples then.

    Args:
        empty: where memory comes from.
    """

    def of_part(part: Spec) -> Array | RaggedOut:
        if part.ragged:
            return RaggedOut(n, part.element, part.dtype, empty)
        return empty((n, *part.shape), part.dtype)

    return map_leaves(of_part, spec)


def result_of(out: Out) -> Any:
    """The samples that were read into `out`: arrays, and `Ragged` where they have any length."""
    return map_leaves(lambda part: part.result if isinstance(part, RaggedOut) else part, out)


def read_batch(reader: Reader, indices: Indices, empty: Empty = aligned_empty) -> Tree[Batched]:
    """The samples `indices` of a reader, in new memory."""
    spec = reader.spec
    if isinstance(spec, Spec) and not spec.ragged:  # in half the time
        array = empty((len(indices), *spec.shape), spec.dtype)
        reader.read(indices, array)
        return array
    out = empty_out(spec, len(indices), empty)
    reader.read(indices, out)
    batch: Tree[Batched] = result_of(out)
    return batch


def check_read(n: int, spec: Specs, indices: Indices, out: object) -> None:
    """Raises an error unless a reader of n samples of `spec` can read `indices` into `out`."""
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64 or indices.ndim != 1:
        raise bad_value("indices", indices, "an int64 array of one dimension")
    _check_out("out", len(indices), spec, out)
    if not len(indices):
        return
    # As unsigned numbers, negative ones are the largest: one pass finds both. numpy finds where the
    # largest is in less time than what it is, but without Python's lock, which threads that slice
    # lists in memory would then take from each other in each batch.
    unsigned = indices.view(np.uint64)
    largest = unsigned.max() if is_ragged(spec) else unsigned.item(unsigned.argmax())
    if largest >= n:
        wrong = indices[(indices < 0) | (indices >= n)][0]
        raise OutOfRangeError(f"indices must lie in range({n}), but {wrong} was given.")


def _check_out(name: str, n: int, spec: Specs, out: object) -> None:
    if isinstance(spec, Spec) and spec.ragged:
        expected = (n, spec.element, spec.dtype)
        if not isinstance(out, RaggedOut):
            raise bad_type(name, out, "a headrace.ragged.RaggedOut")
        if (out.n, out.element, out.dtype) != expected:
            allowed = f"of (n, element, dtype) {expected}"
            raise bad_value(name, (out.n, out.element, out.dtype), allowed)
    elif isinstance(spec, Spec):
        shape = (n, *spec.shape)
        if not (
            isinstance(out, np.ndarray)
            and out.shape == shape
            and out.dtype == spec.dtype
            and out.flags.carray
        ):
            allowed = f"a C-contiguous array of shape {shape} and dtype {spec.dtype}"
            raise _misfit(name, out, allowed)
    elif isinstance(spec, dict):
        if not isinstance(out, dict) or out.keys() != spec.keys():
            raise bad_value(name, out, f"a dict of arrays for {', '.join(map(repr, spec))}")
        for key, part in spec.items():
            _check_out(f"{name}[{key!r}]", n, part, out[key])
    else:
        if not isinstance(out, tuple) or len(out) != len(spec):
            raise bad_value(name, out, f"a tuple of {len(spec)} arrays")
        for position, part in enumerate(spec):
            _check_out(f"{name}[{position}]", n, part, out[position])


def _misfit(name: str, out: object, allowed: str) -> HeadraceError:
    if not isinstance(out, np.ndarray):
        return bad_type(name, out, allowed)
    faults = {
        "not C-contiguous": not out.flags.c_contiguous,
        "not aligned": not out.flags.aligned,
        "read-only": not out.flags.writeable,
    }
    layout = "".join(f", {fault}" for fault, found in faults.items() if found)
    return ArgumentError(
        f"{name} must be {allowed}, but an array of shape {out.shape} and dtype {out.dtype}"
        f"{layout} was given."
    )
