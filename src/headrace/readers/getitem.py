"""GetItem: the samples of any dataset with `__len__` and `__getitem__`, or `__getitems__`.

Datasets of PyTorch and Hugging Face, sources of Grain, and lists are such.
"""

import contextlib
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_bool
from headrace.arrays import Array, Indices, fingerprint
from headrace.arrays.conversion import MaskedError, plain_array
from headrace.errors import ArgumentError, SampleFormatError, bad_type, bad_value
from headrace.per_process import PerProcess
from headrace.readers.reader import Out, Spec, Specs, check_read, read_batch
from headrace.readers.shared.format_error import while_reading
from headrace.readers.shared.samples.sample_values import (
    RaggedLeaves,
    UnfitError,
    check_ragged,
    check_spec,
    fits,
    held_of,
    learned,
    write_sample,
)

_MOST_SUBSETS = 16  # of one another


class GetItem:
    """The samples of a dataset with `__len__` and `__getitem__`, or `__getitems__`.

    What a sample is, is learned from sample 0: a number, an array or tensor; a list of numbers,
    which becomes an array; or tuples, lists and dicts of these, where lists become tuples. All
    others must be alike.

    A batch is one call where the dataset has one for several samples: `__getitems__(list of int)`,
    which returns a list of samples or a dict of columns, or, with a `datasets.Dataset`, its
    `__getitem__` of a list of int. All others are asked for one sample after the other. With
    `datasets`, give `dataset.with_format("numpy")`, as Python's lists are slow.

    The loader makes batches in threads, so by default in several at once, unless it is given
    `executor=hr.Inline()`; and pickles the dataset where there are processes.

    Args:
        dataset: has `__len__` and `__getitem__(int)`, or `__getitems__(list of int)`. It must
            return the same sample for the same index, whenever and wherever it is asked: random
            augmentation belongs in the loader's transform.
        spec: of a sample, so that sample 0 is not read. Numbers are then converted to its dtypes if
            that does not change their kind, and of dicts only its keys are read.
        ragged: which arrays may differ from those of sample 0 in the length of their first axis, so
            that a batch of them is a `Ragged`: True for all that have one, a list of keys, or bools
            in the structure of a sample. With a spec, None in its shapes says so.
        thread_safe: whether several threads may ask the dataset at once. False: one at a time.

    Raises:
        ArgumentTypeError: (a TypeError) not such a dataset, or one whose sample 0 can't become
            arrays.
        SampleFormatError: (a ValueError) when samples are read: one is not as sample 0 is. What the
            dataset raises comes as it is, with a note that names the index.

    Example:
        >>> import headrace as hr
        >>> class Squares:
        ...     def __len__(self):
        ...         return 5
        ...     def __getitem__(self, index):
        ...         return {"x": [index, index + 1], "square": index**2}
        >>> reader = hr.GetItem(Squares())
        >>> reader.spec["x"]
        Spec(shape=(2,), dtype=dtype('int64'))
        >>> hr.Loader(reader, batch_size=2, shuffle=False).batch(0, 1)["square"].tolist()
        [4, 9]
    """

    def __init__(
        self,
        dataset: Any,
        *,
        spec: Specs | None = None,
        ragged: RaggedLeaves = False,
        thread_safe: bool = True,
    ) -> None:
        check_ragged(ragged)
        if spec is not None and ragged is not False:
            raise bad_value("ragged", ragged, "left out with spec=", "Use None in its shapes.")
        several = hasattr(dataset, "__getitems__")
        if isinstance(dataset, type) or not hasattr(dataset, "__len__"):
            raise bad_type(
                "dataset",
                dataset,
                "an object with __len__, and __getitem__ or __getitems__",
                "A dataset that can only be iterated over has no sample by number.",
            )
        if isinstance(dataset, Mapping | str | bytes) or not (
            several or hasattr(dataset, "__getitem__")
        ):
            raise bad_type("dataset", dataset, "an object with samples by number, and __len__")
        self._dataset = dataset
        self._n = len(dataset)
        if self._n > MAX_SAMPLES:  # as that of a grain.MapDataset after repeat()
            raise bad_value(
                "dataset", dataset, "one that ends", "A loader begins it anew for each epoch."
            )
        self._thread_safe = check_bool("thread_safe", thread_safe)
        # A forked child has its own, as a thread of the parent's may hold this one.
        self._lock: PerProcess[threading.Lock] = PerProcess(threading.Lock)
        # A `datasets.Dataset` has `__getitems__` too, but that takes its columns apart again.
        datasets = sys.modules.get("datasets")
        self._by_columns = datasets is not None and isinstance(dataset, datasets.Dataset)
        self._several = several and not self._by_columns
        self._converts = spec is not None
        if spec is None:
            if not self._n:
                raise ArgumentError("dataset must have a sample to learn from; pass spec= of one.")
            try:
                spec = learned(self._first(), "sample 0", ragged)
            except UnfitError as error:
                raise bad_type("dataset", dataset, f"one of arrays and numbers; {error}") from None
        self._spec: Specs = check_spec(spec)

    @property
    def spec(self) -> Specs:
        return self._spec

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"GetItem({type(self._dataset).__name__}, n={len(self)}, {self.spec})"

    def fingerprint(self) -> str:
        """What the dataset's own method `fingerprint` returns, if it has one; else nothing."""
        if hasattr(self._dataset, "fingerprint") and callable(self._dataset.fingerprint):
            return str(self._dataset.fingerprint())
        return ""

    def ids_fingerprint(self) -> str:
        """A hash of the indices of a subset of a dataset, such as PyTorch's; nothing of others."""
        found: list[str] = []
        dataset = self._dataset
        while len(found) < _MOST_SUBSETS:
            indices = getattr(dataset, "indices", None)
            if not isinstance(indices, Sequence | np.ndarray) or len(indices) != len(dataset):
                break
            found.append(fingerprint(repr([int(index) for index in indices])))
            dataset = getattr(dataset, "dataset", None)
        return fingerprint(*found) if found else ""

    def read(self, indices: Indices, out: Out) -> None:
        check_read(len(self), self.spec, indices, out)
        numbers = indices.tolist()
        if not numbers:
            return
        if not self._by_columns and not self._several:
            for row, index in enumerate(numbers):
                self._write(self._one(index), out, row, index)
            return
        try:
            batch = self._batch(numbers)
        except UnfitError as error:
            raise SampleFormatError.at(
                numbers[0], f"{error}, from sample {numbers[0]} on"
            ) from None
        if isinstance(batch, Mapping):
            try:
                self._write_columns(batch, out, numbers)
            except SampleFormatError:
                # The dtype of a column may be due to one of its samples, such as one that is null,
                # which is then named.
                for row in range(len(numbers)) if len(numbers) > 1 else ():
                    read_batch(self, indices[row : row + 1])
                raise
            return
        for row, (index, sample) in enumerate(zip(numbers, batch, strict=True)):
            self._write(sample, out, row, index)

    def _first(self) -> object:
        """Sample 0, as it is read."""
        if not self._by_columns and not self._several:
            return self._one(0)
        batch = self._batch([0])
        if isinstance(batch, Mapping):
            return {key: _row(column, 0, 1, key) for key, column in batch.items()}
        return batch[0]

    def _one(self, index: int) -> object:
        try:
            if self._thread_safe:  # without _turn, which takes a fifth as long as a small sample
                return self._dataset[index]
            with self._lock.get():
                return self._dataset[index]
        except Exception as error:
            while_reading(error, index, f" of {len(self)} of the dataset")
            raise

    def _batch(self, numbers: list[int]) -> Sequence[object] | Mapping[str, object]:
        """A list of these samples, or a dict of columns."""
        try:
            with self._turn():
                if self._by_columns:
                    batch = self._dataset[numbers]
                else:
                    batch = self._dataset.__getitems__(numbers)
        except Exception as error:
            listed = str(numbers) if len(numbers) <= 16 else f"{str(numbers[:16])[:-1]}, ...]"
            error.add_note(f"headrace: while reading the samples {listed} of the dataset")
            raise
        if not isinstance(batch, Mapping) and not (
            isinstance(batch, Sequence) and len(batch) == len(numbers)
        ):
            got = f"{len(batch)} samples" if isinstance(batch, Sequence) else type(batch).__name__
            method = "__getitem__" if self._by_columns else "__getitems__"
            remedy = '. Pass dataset.with_format("numpy")' if self._by_columns else ""
            raise UnfitError(
                f"{type(self._dataset).__name__}.{method} must return a list of the "
                f"{len(numbers)} samples that it is asked for, or a dict of columns, but returned "
                f"{got}{remedy}"
            )
        return batch

    def _turn(self) -> AbstractContextManager[object]:
        return nullcontext() if self._thread_safe else self._lock.get()

    def _write(self, sample: object, out: Out, row: int, index: int) -> None:
        try:
            write_sample(sample, self._spec, out, row, f"sample {index}", self._converts)
        except UnfitError as error:
            raise SampleFormatError.at(index, str(error)) from None

    def _write_columns(self, batch: Mapping[str, object], out: Out, numbers: list[int]) -> None:
        """Writes a dict of columns, whole columns at a time where they are arrays."""
        if not isinstance(self._spec, dict) or not isinstance(out, dict):
            raise SampleFormatError.at(
                numbers[0], f"sample {numbers[0]} is a dict; expected is {self._spec}"
            )
        rows = []  # of columns that are to be looked at sample by sample
        for key, spec in self._spec.items():
            column = batch.get(key)
            values = _stacked(column) if isinstance(spec, Spec) and not spec.ragged else None
            if (
                values is not None
                and isinstance(spec, Spec)
                and values.shape == (len(numbers), *spec.shape)
                and fits(values, spec, self._converts)
            ):
                with contextlib.suppress(UnfitError):  # which then names the sample
                    out[key][...] = held_of(values, spec.dtype, key)
                    continue
            rows.append(key)
        for row, index in enumerate(numbers if rows else ()):
            try:
                for key in rows:
                    if key not in batch:
                        raise UnfitError(f"sample {index} has no {key!r}, which sample 0 has")
                    where = f"sample {index}[{key!r}]"
                    part = _row(batch[key], row, len(numbers), key)
                    write_sample(part, self._spec[key], out[key], row, where, self._converts)
            except UnfitError as error:
                raise SampleFormatError.at(index, str(error)) from None


def _stacked(column: object) -> Array | None:
    """A column as one array, if it is one."""
    if isinstance(column, str | bytes) or column is None:
        return None
    try:
        array = plain_array(column)
    except (MaskedError, ValueError, TypeError, RuntimeError, OverflowError):
        return None
    return None if array.dtype.hasobject or array.dtype.kind in "UT" else array


def _row(column: Any, row: int, n: int, name: str) -> object:
    """One of n samples of a column, which may itself be a dict of columns."""
    if isinstance(column, Mapping):
        return {key: _row(part, row, n, key) for key, part in column.items()}
    try:
        length = len(column)
    except TypeError:
        raise UnfitError(f"column {name!r} is a {type(column).__name__}, not a list") from None
    if length != n:
        raise UnfitError(f"column {name!r} has {length} values for {n} samples")
    return column[row]
