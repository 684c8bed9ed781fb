"""pad: a transform that makes arrays of samples of any length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.arguments import MAX_SAMPLES, check_bool, check_int
from headrace.arrays import Array, DType, Indices, aligned_empty
from headrace.arrays.conversion import unheld
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.pytree import Tree, leaves, map_leaves, named_leaves
from headrace.ragged import Ragged, bytes_of
from headrace.sampling.buckets.ladder import check_ladder

# Shorter rows are copied all at once, by a mask, and longer ones one after the other.
_MOST_BYTES_BY_MASK = 512


class pad:  # noqa: N801  (it reads as a function where it is used)
    """A transform that pads all samples of any length in a batch to one length.

    Each `Ragged` becomes an array of shape (batch, length, *element), and all else stays as it is.
    The length is that of the longest sample in the batch, unless `to`, `ladder` or `multiple_of`
    say otherwise. With a ladder, a compiler sees no more shapes than it has rungs.

    Args:
        to: the length.
        ladder: lengths, ascending: the first that is at least as long as the longest sample.
        multiple_of: what the length is rounded up to a multiple of.
        value: what is put in; or values, in the structure of the batch.
        side: where it is put: "right", after the elements, or "left", before them.
        truncate: whether samples that are longer than `to` or the ladder are cut; if not, they are
            an error. Their first elements are kept.
        lengths, mask: whether each padded array becomes a dict of it as "values", and of "lengths",
            int64, shape (batch,), and of "mask", bool, shape (batch, length), true for elements.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed;
            when it is called: a sample is too long, or nothing in the batch has any length.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> tokens = hr.RaggedArray(np.arange(1, 7), np.array([0, 3, 4, 6]))
        >>> pad = hr.pad(ladder=[2, 4, 8])
        >>> hr.Loader(tokens, batch_size=3, shuffle=False, transform=pad).batch(epoch=0, step=0)
        array([[1, 2, 3, 0],
               [4, 0, 0, 0],
               [5, 6, 0, 0]])
    """

    def __init__(
        self,
        to: int | None = None,
        ladder: Sequence[int] | None = None,
        multiple_of: int = 1,
        value: Any = 0,
        side: str = "right",
        truncate: bool = False,
        lengths: bool = False,
        mask: bool = False,
    ) -> None:
        self._ladder = None if ladder is None else check_ladder(ladder)
        self._multiple_of = check_int("multiple_of", multiple_of, 1, MAX_SAMPLES)
        if to is not None:
            if self._ladder is not None:
                raise bad_value("ladder", ladder, "left out with to")
            self._ladder = [check_int("to", to, 1, MAX_SAMPLES)]
        if self._ladder is not None and multiple_of != 1:
            raise bad_value("multiple_of", multiple_of, "left out with to or ladder")
        if side not in ("right", "left"):
            raise bad_value("side", side, "'right' or 'left'")
        self._fixed = to is not None
        self._left = side == "left"
        self._truncate = check_bool("truncate", truncate)
        if truncate and self._ladder is None:
            raise bad_value("truncate", truncate, "left out without to or ladder")
        self._lengths, self._mask = check_bool("lengths", lengths), check_bool("mask", mask)
        self._value = value
        self._fitting: set[tuple[str, DType]] = set()  # parts whose value their dtype can hold
        for name, each in named_leaves(value, "value"):
            if not np.isscalar(each) and np.ndim(each):
                raise bad_type(name, each, "a number, or a tuple or dict of numbers")

    def __repr__(self) -> str:
        to = self._ladder or f"the longest, a multiple of {self._multiple_of}"
        return f"pad(to {to})"

    def __call__(self, batch: Tree[object], rng: np.random.Generator | None = None) -> Any:
        """The batch with arrays in place of its `Ragged`s."""
        del rng
        if not any(isinstance(leaf, Ragged) for leaf in leaves(batch)):
            raise ArgumentError(
                "hr.pad is for samples of any length, but no part of the batch has such. Have the "
                "reader or per_sample give them, with ragged=True, or leave hr.pad out. It is for "
                "whole batches: a sample by itself, as in hr.Cached(map=...), numpy.pad pads."
            )
        names = [name for name, _ in named_leaves(batch)]
        if isinstance(self._value, tuple | dict):
            values: dict[str, Any] = dict(named_leaves(self._value))
            if names == [""]:
                raise bad_value("value", self._value, "one number, as the batch has one part")
            if values.keys() != set(names):
                raise ArgumentError(
                    f"value must have one for each of the parts {names} of the batch, but has "
                    f"them for {list(values)}."
                )
        else:
            values = dict.fromkeys(names, self._value)
        name = iter(names)

        def padded(leaf: object) -> Any:
            at = next(name)
            return self._padded(leaf, values[at], at) if isinstance(leaf, Ragged) else leaf

        return map_leaves(padded, batch)

    def _padded(self, ragged: Ragged, value: object, name: str) -> Any:
        lengths = ragged.lengths
        longest = int(lengths.max(initial=0))
        length = self._length(longest)
        if longest > length:
            if not self._truncate:
                row = int(lengths.argmax())
                what = "to" if self._fixed else "ladder"
                raise ArgumentError(
                    f"{what} must be at least as long as all samples, but goes up to {length} and "
                    f"row {row} of the batch{' at ' + name if name else ''} has {longest} elements."
                    " Pad to more, or pass truncate=True to cut it."
                )
            lengths = np.minimum(lengths, length)
        values = ragged.values
        out = aligned_empty((len(ragged), length, *values.shape[1:]), values.dtype)
        if (name, values.dtype) not in self._fitting:
            _check_value(value, values)
            self._fitting.add((name, values.dtype))
        out[...] = np.asarray(value)  # of a scalar NaT, numpy 1.26 makes a timedelta of 0
        if out[:1].nbytes <= _MOST_BYTES_BY_MASK and len(values) == lengths.sum():
            out[self._is_element(lengths, length)] = values
        else:
            self._copy_rows(out, ragged, lengths)
        if not self._lengths and not self._mask:
            return out
        parts: dict[str, Array] = {"values": out}
        if self._lengths:
            parts["lengths"] = lengths
        if self._mask:
            parts["mask"] = self._is_element(lengths, length)
        return parts

    def _is_element(self, lengths: Indices, length: int) -> Array:
        """Where elements lie: bool, shape (batch, length)."""
        steps, rows = np.arange(length), lengths[:, None]
        found: Array = steps >= length - rows if self._left else steps < rows
        return found

    def _copy_rows(self, out: Array, ragged: Ragged, lengths: Indices) -> None:
        # As bytes, since to cut arrays takes several times as long.
        rows, values = bytes_of(out), bytes_of(ragged.values)
        size = out.strides[1]
        starts = ragged.offsets[:-1] * size
        targets = np.arange(len(out)) * out.strides[0]
        if self._left:
            targets += (out.shape[1] - lengths) * size
        every = (each.tolist() for each in (targets, starts, lengths * size))
        for target, start, count in zip(*every, strict=True):
            rows[target : target + count] = values[start : start + count]

    def _length(self, longest: int) -> int:
        """What samples of at most this length are padded to."""
        if self._ladder is None:
            return -(-longest // self._multiple_of) * self._multiple_of
        return next((rung for rung in self._ladder if rung >= longest), self._ladder[-1])


def _check_value(value: object, values: Array) -> None:
    """Raises an error unless the dtype can hold the value that is to be put in."""
    given, dtype = np.asarray(value), values.dtype
    if given.dtype.kind in "biufc" and dtype.kind in "fc":  # it may become less precise
        fits = not unheld(given, dtype) and (given.dtype.kind != "c" or dtype.kind == "c")
    elif given.dtype.kind == dtype.kind and dtype.kind in "mM":  # comparing dates may overflow
        fits = not unheld(given, dtype)
    else:
        try:
            with np.errstate(all="ignore"):
                held = given.astype(dtype)
                fits = bool(held == value or (held != held and value != value))
        except (TypeError, ValueError, OverflowError):  # it is no number, or no text of one
            fits = False
    if not fits:
        raise bad_value("value", value, f"one that {dtype} can hold", "Convert the samples before.")
