"""Labels: one label for each sample, as a number, a vector, or one-hot."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_dtype, check_ids, check_int, hint_of_raw, keeps_kind
from headrace.arrays import Array, DType, Indices, fingerprint
from headrace.arrays.conversion import MaskedError, plain_array, unheld
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.readers.array import take_rows
from headrace.readers.reader import Spec, check_read
from headrace.readers.shared.frames import has_default_index, ids_of_frame, is_frame, rows_of
from headrace.readers.shared.ids import Ids, PerhapsNamed


class Labels(PerhapsNamed):
    """The labels of samples, in their order.

    Args:
        labels: a mapping from id to label, or a sequence or array with one label for each sample,
            in their order. A label is a number, or an array of the same shape for every sample.
            A Series or DataFrame of pandas is taken by its index, or in its order if that is the
            default one (0, 1, 2, ...), or if `ids` is a column of the same frame. Without `ids` it
            is taken in its order, and its index has the ids.
        ids: the ids of the samples, in their order. Needed with a mapping. A loader checks that
            other parts of its source have the same.
        n_classes: the labels are ints in range(n_classes), to be read as one-hot vectors.
        dtype: of the labels that are read. Default: float32 for one-hot, else that of the labels.

    Raises:
        ArgumentError: (a ValueError) an id has no label, a label is not in range(n_classes),
            there are not as many labels as ids, or the index and the order of a Series would give
            different labels.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> labels = hr.Labels({"a": 2, "b": 0}, ids=["a", "b"], n_classes=3)
        >>> out = np.empty((2, 3), np.float32)
        >>> labels.read(np.array([1, 0]), out)
        >>> out
        array([[1., 0., 0.],
               [0., 0., 1.]], dtype=float32)
    """

    def __init__(
        self,
        labels: Mapping[Any, Any] | npt.ArrayLike,
        ids: Iterable[object] | None = None,
        n_classes: int | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        keys = None if ids is None else check_ids(ids)
        if is_frame(labels):
            values = _of_frame(labels, keys, _are_rows_of(ids, labels))
            if keys is None:
                keys = ids_of_frame(labels)
        elif isinstance(labels, Mapping) or hasattr(labels, "keys"):
            values = _by_id(labels, keys)
        else:
            values = _in_order(labels, keys)
        wanted = None if dtype is None else check_dtype(dtype)
        self._one_hot = n_classes is not None
        if self._one_hot or (wanted is not None and wanted.kind in "biu"):
            _check_there(values, keys)
        if n_classes is not None:
            n_classes = check_int("n_classes", n_classes, 1, 2**31 - 1)
            values = _classes(values, n_classes)
            if wanted is not None and wanted.kind not in "biufc":
                raise bad_value("dtype", dtype, "a numeric dtype when n_classes is given")
            self._spec = Spec((n_classes,), wanted or np.dtype(np.float32))
        else:
            values = _converted(values, wanted or values.dtype.newbyteorder("="))
            self._spec = Spec(values.shape[1:], values.dtype)
        self._values = np.ascontiguousarray(values)
        self._ids = None if keys is None else Ids(keys, len(values))

    in_memory = True

    @property
    def spec(self) -> Spec:
        return self._spec

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Labels(n={len(self)}, shape={self.spec.shape}, dtype={self.spec.dtype})"

    def read(self, indices: Indices, out: Array) -> None:
        check_read(len(self), self.spec, indices, out)
        if self._one_hot:
            out[...] = 0
            out[np.arange(len(indices)), self._values[indices]] = 1
        else:
            take_rows(self._values, indices, out)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """All labels in a new array, shape (n, *spec.shape), for what takes arrays of them."""
        if copy is False:
            raise bad_value("copy", copy, "True or None, as labels are copied")
        labels = np.empty((len(self), *self.spec.shape), self.spec.dtype)
        self.read(np.arange(len(self)), labels)
        return labels if dtype is None else labels.astype(dtype)

    def fingerprint(self) -> str:
        """A hash of the labels."""
        # Whole numbers are the same labels in whatever dtype they come.
        whole = self._values.dtype.kind in "biu"
        dtype = np.dtype("<i8") if whole else self._values.dtype.newbyteorder("<")
        values = self._values.astype(dtype, copy=False)
        return fingerprint(values.reshape(-1).view(np.uint8).data)


def _by_id(labels: Any, ids: list[object] | None) -> Array:
    if ids is None:
        raise bad_value(
            "ids", ids, "given when labels is a mapping", "Pass the ids in the samples' order."
        )
    values = []
    for index, key in enumerate(ids):
        try:
            values.append(labels[key])
        except KeyError:
            raise ArgumentError(
                f"labels must have a label for each of ids, but has none for {key!r}, "
                f"which is ids[{index}]."
            ) from None
    return _plain_array(values, ids)


def _of_frame(labels: Any, ids: list[object] | None, same_rows: bool) -> Array:
    rows = None
    if ids is not None:
        texts = list(map(str, ids))
        try:
            rows = rows_of(labels, texts, "labels", same_rows or has_default_index(labels))
        except KeyError as error:
            number = texts.index(error.args[0])
            what = f"labels must have one label for each of ids, but are a {type(labels).__name__} "
            if labels.index.has_duplicates:
                what += "whose index has some twice."
            else:
                what += f"whose index has none for {ids[number]!r}, which is ids[{number}]."
            raise ArgumentError(
                f"{what} For labels in the order of ids pass labels.to_numpy()."
            ) from None
    values = np.asarray(labels if rows is None else labels.iloc[rows])
    return _plain_array(values.tolist() if values.dtype.hasobject else values, ids)


def _are_rows_of(ids: object, labels: Any) -> bool:
    """Whether the ids are a column of the same frame, or of one with the same index."""
    return is_frame(ids) and bool(ids.index.equals(labels.index))


def _in_order(labels: Any, ids: list[object] | None) -> Array:
    values = _plain_array(labels, ids)
    if ids is not None and len(ids) != len(values):
        raise ArgumentError(
            f"labels must be as many as ids when they are not a mapping, "
            f"but {len(values)} labels and {len(ids)} ids were given. "
            "Pass a mapping from id to label, or the labels in the order of ids."
        )
    return values


def _plain_array(labels: object, ids: list[object] | None) -> Array:
    try:
        values = plain_array(labels)
    except MaskedError:
        if not isinstance(labels, list | tuple):
            labels = [*np.ma.atleast_1d(np.ma.asarray(labels))]
        _check_there(labels, ids)
        raise
    except ValueError as error:
        if isinstance(labels, list | tuple):
            _check_there(labels, ids)
        raise ArgumentError(f"labels must all have the same shape: {error}") from None
    if values.dtype.hasobject:
        if values.ndim:
            _check_there(values, ids)
        raise bad_type("labels", labels, "numbers, or arrays of the same shape for all samples")
    if not values.ndim:
        raise bad_value("labels", labels, "a mapping, or one label for each sample")
    return values


def _check_there(values: Array | Sequence[object], ids: list[object] | None) -> None:
    """Raises an error that names the first sample whose label is None or NaN, if there is one."""
    if isinstance(values, np.ndarray) and not values.dtype.hasobject:
        if values.dtype.kind not in "fc":
            return
        missing = np.isnan(values.reshape(len(values), -1)).any(axis=1)
        row = int(missing.argmax()) if missing.any() else None
    else:
        row = next((row for row, label in enumerate(values) if _is_missing(label)), None)
    if row is not None:
        of_id = "" if ids is None else f", ids[{row}] = {ids[row]!r},"
        raise ArgumentError(
            f"labels must have a label for each sample, but sample {row}{of_id} has none: "
            f"{values[row]!r} was given."
        )


def _is_missing(label: object) -> bool:
    """Whether it, or a part of it, stands for none: None, NaN, or pandas' NA and NaT."""
    if isinstance(label, np.ndarray):
        return any(map(_is_missing, label.reshape(-1).tolist()))
    if isinstance(label, list | tuple):
        return any(map(_is_missing, label))
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float) and label != label


def _classes(values: Array, n_classes: int) -> Array:
    """The labels as ints that select a class."""
    if values.ndim != 1 or values.dtype.kind not in "iub":
        raise ArgumentError(
            f"labels must be one int for each sample when n_classes is given, but have "
            f"shape {values.shape} and dtype {values.dtype}. "
            "Leave n_classes out to read the labels as they are."
        )
    wrong = np.flatnonzero((values < 0) | (values >= n_classes))
    if wrong.size:
        raise ArgumentError(
            f"labels must lie in range({n_classes}), as n_classes={n_classes}, "
            f"but sample {wrong[0]} has the label {values[wrong[0]]}."
        )
    # As an index of numpy's, bools would be a mask.
    return values.astype(np.uint8) if values.dtype.kind == "b" else values


def _converted(values: Array, dtype: DType) -> Array:
    """The labels as `dtype`; ints and bools must stay what they are, floats may be rounded."""
    to_int = dtype.kind in "biu" and values.dtype.kind in "biuf"
    if not to_int and not keeps_kind(values.dtype, dtype):
        raise ArgumentError(
            f"labels must be of a kind that can become dtype={dtype}, but are {values.dtype}"
            f"{hint_of_raw(values.dtype)}."
        )
    lost = unheld(values, dtype)
    if lost.any():
        first = np.argwhere(lost)[0]
        raise ArgumentError(
            f"labels must be the same as dtype={dtype}, but sample {first[0]} has the label "
            f"{values[tuple(first)]}."
        )
    return values.astype(dtype)
