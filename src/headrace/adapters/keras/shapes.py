"""The shapes of batches that Keras on tensorflow is told before it takes any.

It makes a `tf.data.Dataset` of one signature, and learns that of the first two batches: an axis on
which these agree is fixed for all (`PyDatasetAdapter.get_tf_dataset`, keras#19748). So whether
batches of different shapes train would depend on which come first. Here the axes that may vary are
those that the user names, and that the model declares with None; or, with neither, those that
it takes in other lengths, as `open_axes` finds out. All others are fixed, and a batch of another
shape is an error that says what to do.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras

from headrace.adapters.keras.backend_arrays import is_ragged_tensor
from headrace.adapters.keras.open_axes import Shape, with_open_axes
from headrace.errors import ArgumentError, bad_value
from headrace.pytree import map_leaves, named_leaves

_NAMES = ("x", "y", "sample_weight")


class Shapes:
    """The shapes of the batches of a dataset.

    Args:
        given: as `Loader.to_keras` takes it.
    """

    def __init__(self, given: object) -> None:
        self._given = None if given is None else dict(_named_shapes(given))
        self.are_given: bool = given is not None
        self._told: dict[str, Shape] | None = None

    def told(
        self,
        batch: object,
        model: keras.Model | None,
        first: bool,
        keep_y: bool,
        found: Mapping[str, Shape],
    ) -> Any:
        """The batch in the form that tells tensorflow which axes vary.

        Args:
            batch: one of those that Keras looks at before it takes any.
            model: that is to take them.
            first: whether it is the first one.
            keep_y: whether Keras computes with the targets already.
            found: of the model, as `open_shapes` has it.

        Raises:
            ArgumentError: (a ValueError) it differs from the first one in an axis that is fixed.
        """
        if first:
            self._told = {
                name: self._with_open_axes(name, tuple(leaf.shape), model, found)
                for name, leaf in _leaves(batch)
                if hasattr(leaf, "shape")
            }
        self.check(batch)
        names = (name for name, _ in _leaves(batch))
        known = self._told or {}

        def symbolic(leaf: Any) -> Any:
            name = next(names)
            shape = known.get(name, ())
            if keep_y and name.startswith("y"):
                if is_ragged_tensor(leaf):
                    raise ArgumentError(
                        "class_weight must be None where targets have any length, as Keras takes "
                        f"the class of a sample from an array, but {name} is ragged. Use "
                        "headrace.pad, which makes arrays of them."
                    )
                return leaf
            if None not in shape[1:] or is_ragged_tensor(leaf):
                return leaf
            return keras.KerasTensor(shape, keras.backend.standardize_dtype(leaf.dtype))

        return map_leaves(symbolic, batch)

    def check(self, batch: object) -> None:
        """Raises an ArgumentError (a ValueError) if the batch has another shape than was told."""
        if self._told is None:
            return
        for name, leaf in _leaves(batch):
            told = self._told.get(name)
            shape = tuple(getattr(leaf, "shape", ()))
            if told is not None and not _fits(shape, told):
                raise ArgumentError(
                    "batches must have the same shapes on tensorflow but for axes that are said "
                    f"to vary, but {name} has the shape {shape} after {told}. Give the model "
                    "keras.Input with None for such an axis; or name it, with None in "
                    "to_keras(shapes=...)."
                )

    def _with_open_axes(
        self, name: str, shape: Shape, model: keras.Model | None, found: Mapping[str, Shape]
    ) -> Shape:
        """The shape with None for the axes that may vary."""
        if self._given is not None and name in self._given:
            given = self._given[name]
            if not _fits(shape, given):
                raise bad_value(
                    "shapes", given, f"the shape of {name} in a batch, which is {shape}"
                )
            return (None, *given[1:])
        other = _shape_in_model(name, model)
        if len(other) < len(shape) and name.startswith("x"):
            other = ()
        return with_open_axes(with_open_axes(shape, other), _shape_found(name, found))


def _fits(shape: Shape, told: Shape) -> bool:
    """Whether an array of that shape is one of those that were told, of any number of samples."""
    return len(shape) == len(told) and all(
        known is None or size == known for size, known in zip(shape[1:], told[1:], strict=True)
    )


def _leaves(batch: object) -> Iterator[tuple[str, Any]]:
    """The arrays of a batch, each named by its part and place: x, y[0], x['image']."""
    if isinstance(batch, tuple):
        for name, part in zip(_NAMES, batch, strict=False):
            yield from named_leaves(part, name)
    else:
        yield from named_leaves(batch, "x")


def _shape_in_model(name: str, model: keras.Model | None) -> Shape:
    """The shape of the input or output that the array belongs to; nothing if that is not known."""
    part = name.partition("[")[0]
    tensors = getattr(model, "inputs" if part == "x" else "outputs", None)
    if not tensors:
        return ()
    if part == name:  # the only one
        shapes = [tuple(tensor.shape) for tensor in tensors]
        return shapes[0] if len(shapes) == 1 else _common(shapes)
    key = name.rpartition("[")[2].rstrip("]").strip("'\"")
    names = model.output_names if part != "x" else [tensor.name for tensor in tensors]  # type: ignore[union-attr]
    if key in names:
        return tuple(tensors[names.index(key)].shape)
    if key.isdigit() and int(key) < len(tensors):
        return tuple(tensors[int(key)].shape)
    return ()


def _shape_found(name: str, found: Mapping[str, Shape]) -> Shape:
    """The shape of the input or output that the array belongs to; nothing if that is not known."""
    if not name.startswith("sample_weight"):
        return found.get(name, ())
    of_outputs = [shape for other, shape in found.items() if other.startswith("y")]
    return found.get(name.replace("sample_weight", "y")) or _common(of_outputs)


def _common(shapes: Iterable[Shape]) -> Shape:
    """The axes that are open in all: of weights that all outputs share."""
    return tuple(None if set(axis) == {None} else 0 for axis in zip(*shapes, strict=False))


def _named_shapes(given: object) -> Iterator[tuple[str, Shape]]:
    """The shapes that a user gives, by the names of the arrays."""

    def walk(tree: Any, name: str) -> Iterator[tuple[str, Shape]]:
        if isinstance(tree, dict):
            for key, part in tree.items():
                yield from walk(part, f"{name}[{key!r}]")
        elif _is_shape(tree):
            yield name, tuple(tree)
        elif isinstance(tree, tuple) and tree:
            for position, part in enumerate(tree):
                yield from walk(part, f"{name}[{position}]")
        else:
            raise bad_value("shapes", given, _ALLOWED)

    if isinstance(given, dict):
        yield from walk(given, "x")
    elif isinstance(given, tuple) and not _is_shape(given) and len(given) <= len(_NAMES):
        for name, part in zip(_NAMES, given, strict=False):
            yield from walk(part, name)
    else:
        raise bad_value("shapes", given, _ALLOWED)


_ALLOWED = (
    "in the structure of a batch, such as ((None, None, 3), (None,)) for (x, y): for each array a "
    "tuple of its shape, with None for the samples and for other axes that vary"
)


def _is_shape(tree: object) -> bool:
    return (
        isinstance(tree, tuple)
        and len(tree) > 0
        and all(size is None or (isinstance(size, int) and size >= 0) for size in tree)
    )
