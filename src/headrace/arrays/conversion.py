"""Whether values can be written as another dtype without becoming others.

Requires numpy. What can only lose precision, as float64 to float32 or int64 to float32, is not
looked at, nor is what a dtype has in any case.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from headrace.arrays import Array, DType, Indices

_MOST_SHOWN = 80


class UnheldError(Exception):
    """A value does not fit into a dtype; the message says which, as "has ...", and what helps.

    Attributes:
        row: of a batch, where the value is.
        reason: the message without what helps.
    """

    def __init__(self, row: int, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}. {remedy}")
        self.row, self.reason, self.remedy = row, reason, remedy

    def at(self, row: int) -> "UnheldError":
        """The same in another row."""
        return UnheldError(row, self.reason, self.remedy)


class MaskedError(Exception):
    """Some of the values are masked, which `numpy.asarray` would show."""


def plain_array(value: object) -> Array:
    """`numpy.asarray(value)`.

    Raises:
        MaskedError: it, or what is in its lists, has masked values.
    """
    if _has_masked(value):
        raise MaskedError
    array = np.asarray(value)
    # Among numbers, which there may be many of, a masked one becomes NaN.
    has_nan = (
        array.dtype.kind in "fc" and not isinstance(value, np.ndarray) and np.isnan(array).any()
    )
    if has_nan and any(each is np.ma.masked for each in _elements(value)):
        raise MaskedError
    return array


def _has_masked(value: object) -> bool:
    """Whether an array is masked, or one in lists that begin with an array or a list."""
    if isinstance(value, np.ndarray):
        return bool(np.ma.is_masked(value))
    if not isinstance(value, list | tuple):
        return False
    nested = bool(value) and isinstance(value[0], np.ndarray | list | tuple)
    return nested and any(map(_has_masked, value))


def _elements(value: object) -> Iterator[object]:
    """What is in lists, and in their lists."""
    for each in value if isinstance(value, list | tuple) else ():
        yield each
        yield from _elements(each)


def held(values: Array, dtype: DType, rows: Indices | Sequence[int] | None = None) -> Array:
    """`values` themselves, if all of them fit into `dtype`, as which they are to be written.

    Args:
        rows: of a batch, which the first axis runs over, for the error. Default: all in turn.

    Raises:
        UnheldError: one does not fit.
    """
    if values.dtype == dtype or not may_change(values.dtype, dtype) or _in_range(values, dtype):
        return values
    lost = unheld(values, dtype)
    if lost.any():
        first = int(lost.argmax())
        value = values.reshape(-1)[first]
        row = first // (values.size // len(values)) if values.ndim else 0
        raise UnheldError(
            row if rows is None else int(rows[row]),
            f"has {_shown(value)}, which {dtype} can't hold{_range(dtype)}",
            f"Use a dtype that can, such as {values.dtype.newbyteorder('=')}",
        )
    return values


def unheld(values: Array, dtype: DType) -> npt.NDArray[np.bool_]:
    """Of each of the values, whether it becomes another as `dtype`, and not only less precise."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return _changed(values, values.astype(dtype))
    except OverflowError:  # of a date, which numpy raises from 2.5 on, and does not say which it is
        if values.size == 1:
            return np.ones(values.shape, np.bool_)
        each = [unheld(value, dtype) for value in np.split(values.reshape(-1), values.size)]
        return np.concatenate(each).reshape(values.shape)


def _changed(values: Array, converted: Array) -> npt.NDArray[np.bool_]:
    """Of each of the values, whether it has become another in what numpy made of them."""
    source, dtype = values.dtype, converted.dtype
    if dtype.names is not None and source.names is not None:
        lost = np.zeros(values.shape, np.bool_)
        for ours, theirs in zip(source.names, dtype.names, strict=True):
            of_field = _changed(values[ours], converted[theirs])
            lost |= of_field.reshape(*values.shape, -1).any(axis=-1)
        return lost
    if dtype.kind in "fc":
        return np.asarray(~np.isfinite(converted) & np.isfinite(values))
    if dtype.kind in "mMV":
        # Back again, as a finer unit has less years, and shorter bytes are cut.
        return np.asarray((converted.astype(source) != values) & (values == values))
    return np.asarray(converted != values)


@functools.lru_cache(256)
def may_change(source: DType, dtype: DType) -> bool:
    """Whether a value may become another, and not only less precise."""
    if dtype.names is not None and source.names is not None:
        pairs = zip(source.names, dtype.names, strict=True)
        return any(may_change(source[a].base, dtype[b].base) for a, b in pairs)
    if dtype.kind in "mM":
        finer = np.can_cast(source, dtype, "safe")
        return finer and source.newbyteorder("=") != dtype.newbyteorder("=")
    if np.can_cast(source, dtype, "safe"):
        return False
    if source.kind in "iu" and dtype.kind in "fc":
        return _limits(source)[1] > _limits(dtype)[1]
    return True


def _in_range(values: Array, dtype: DType) -> bool:
    """Whether all values lie between the least and the largest that `dtype` has, as is quick."""
    if not values.size:
        return True
    if values.dtype.kind not in "iuf" or dtype.kind not in "iufc":
        return False
    least, most = _limits(dtype)
    if values.dtype.kind == "f":  # of which NaNs fit into all others
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    else:
        low, high = values.min(), values.max()
    # As Python's, which compare integers exactly, signed or not.
    return bool(least <= low.item() and high.item() <= most)


@functools.lru_cache(256)
def _limits(dtype: DType) -> tuple[float, float]:
    """The least and the largest number; ints, of integers."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    return float(np.finfo(dtype).min), float(np.finfo(dtype).max)


def _range(dtype: DType) -> str:
    if dtype.kind not in "iufc":
        return ""
    least, most = _limits(dtype)
    return f" ({least} to {most})" if dtype.kind in "iu" else f" ({least:.3g} to {most:.3g})"


def _shown(value: np.generic) -> str:
    text = str(value) if isinstance(value, np.number | np.datetime64) else repr(value.tolist())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
