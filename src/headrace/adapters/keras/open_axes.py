"""Which axes of its arrays a model takes in other lengths, learned from the model itself.

A model that was made of `keras.Input` declares them with None. One that declares nothing is called
symbolically, as Keras calls it to build it: with arrays that are longer or shorter on an axis, and
with None for those that it took. So layers whose weights depend on an axis keep its length.

Reads the private `_flatten_layers` and `_compile_loss` of a model, as Keras 3.11 to 3.15 have them.
"""

import contextlib
import weakref
from collections.abc import Iterable, Mapping

import keras

from headrace.adapters.keras.backend_arrays import is_ragged_tensor
from headrace.adapters.keras.padding import Probe, spec_of
from headrace.pytree import Tree, map_leaves, named_leaves

Shape = tuple[int | None, ...]
Axis = tuple[str, int]  # the name of an array, and which of its axes
Lengths = Mapping[Axis, int | None]

# What a model does with a batch, unless it has methods of its own, of which nothing is known.
_STEPS = ("train_step", "test_step", "predict_step", "compute_loss")

# What was found of a model, by the shapes that it was asked about.
_found: weakref.WeakKeyDictionary[keras.Model, dict[object, dict[str, Shape]]] = (
    weakref.WeakKeyDictionary()
)


def open_shapes(model: keras.Model, x: object, y: object, training: bool) -> dict[str, Shape]:
    """The shapes of the model's inputs and outputs, with None for an axis of any length.

    By the names of the arrays, such as x, y[0] or x['image']. Empty where no axis is open, for a
    model that declares its inputs, and for one with a training step of its own.

    Args:
        model: on tensorflow. It is built, unless it was, or can't take the arrays at all.
        x: the inputs of a batch.
        y: its targets; None for a model that predicts.
        training: whether the model is to be called as `fit` does.
    """
    inputs = getattr(model, "inputs", None) or ()
    declared = any(None in tuple(tensor.shape)[1:] for tensor in inputs)
    if declared or (inputs and not isinstance(model, keras.Sequential)):
        return {}  # a Sequential has inputs as soon as it is built, of the batch it first met
    if any(getattr(type(model), name) is not getattr(keras.Model, name) for name in _STEPS):
        return {}
    arrays = [*named_leaves(x, "x"), *(() if y is None else named_leaves(y, "y"))]
    if not all(getattr(array, "ndim", 0) for _, array in arrays):
        return {}  # Keras says why, when it is its turn
    asked = (training, *((name, tuple(array.shape)[1:]) for name, array in arrays))
    known = _found.setdefault(model, {})
    if asked not in known:
        known[asked] = _Asked(model, x, y, training).found()
    return known[asked]


class _Asked:
    """A model, and a batch that it takes, of which axes are given other lengths."""

    def __init__(self, model: keras.Model, x: object, y: object, training: bool) -> None:
        self._model = model
        self._x, self._y = map_leaves(spec_of, x), map_leaves(spec_of, y)
        self._training = training
        self._sizes = {
            (name, axis): size
            for name, spec in named_leaves(self._x, "x")
            if not is_ragged_tensor(spec)
            for axis, size in enumerate(tuple(spec.shape)[1:], 1)
        }

    def found(self) -> dict[str, Shape]:
        """As `open_shapes` has it."""
        built = all(layer.built for layer in self._model._flatten_layers())
        if not built and self._outputs({}) is None:  # Keras says why, when it is its turn
            return {}
        free = dict.fromkeys(self._of_other_lengths())
        outputs = self._outputs(free) if free else None
        if outputs is None and free:
            free = {axis: None for axis in free if self._outputs({axis: None}) is not None}
            outputs = self._outputs(free)
        if not free or outputs is None or not self._loss_takes(outputs):
            return {}
        return {
            name: tuple(spec.shape)
            for part, tree in (("x", self._with(free)), ("y", outputs))
            for name, spec in named_leaves(tree, part)
            if hasattr(spec, "shape") and not is_ragged_tensor(spec)
        }

    def _of_other_lengths(self) -> set[Axis]:
        """The axes that may have another length, alone or with those that go with them."""
        found: set[Axis] = set()
        for axis, size in self._sizes.items():
            alike = [other for other, length in self._sizes.items() if length == size]
            # Those of one length most often vary together: heights and widths, steps and masks.
            # Some may have it by chance.
            groups = [alike, [other for other in alike if other[1] == axis[1]], [axis]]
            groups += [[axis, other] for other in alike if other != axis]
            tried: list[list[Axis]] = []
            for group in groups:
                if axis in found or group in tried or not size:
                    continue
                tried.append(group)
                if any(self._takes(group, length) for length in _other_lengths(size)):
                    found.update(group)
        return found

    def _takes(self, axes: Iterable[Axis], length: int) -> bool:
        return self._outputs(dict.fromkeys(axes, length)) is not None

    def _loss_takes(self, outputs: Tree[keras.KerasTensor]) -> bool:
        """Whether the losses take such outputs, with targets that are as open."""
        if self._y is None or getattr(self._model, "_compile_loss", None) is None:
            return True
        shapes = {name: tuple(spec.shape) for name, spec in named_leaves(outputs, "y")}
        names = (name for name, _ in named_leaves(self._y, "y"))

        def opened(spec: keras.KerasTensor) -> keras.KerasTensor:
            return _resized(spec, with_open_axes(tuple(spec.shape), shapes.get(next(names), ())))

        try:
            y = map_leaves(opened, self._y)
            Probe(self._model).compute_output_spec(None, y, outputs)
        except Exception:  # whatever a loss raises where it does not fit
            return False
        return True

    def _outputs(self, lengths: Lengths) -> Tree[keras.KerasTensor] | None:
        """What the model gives for such inputs; None if it fails."""
        strategy = getattr(self._model, "distribute_strategy", None)
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            try:
                probe = Probe(self._model, self._training)
                outputs = probe.compute_output_spec(self._with(lengths), None)
            except Exception:  # whatever a model raises where it does not fit
                return None
        return tuple(outputs) if isinstance(outputs, list) else outputs

    def _with(self, lengths: Lengths) -> Tree[keras.KerasTensor]:
        """The inputs with other lengths, and any number of samples."""
        names = (name for name, _ in named_leaves(self._x, "x"))

        def resized(spec: keras.KerasTensor) -> keras.KerasTensor:
            name = next(names)
            if is_ragged_tensor(spec):
                return spec
            sizes = enumerate(tuple(spec.shape))
            return _resized(spec, [lengths.get((name, axis), size) for axis, size in sizes])

        return map_leaves(resized, self._x)


def _other_lengths(size: int) -> set[int]:
    """A longer and a shorter one, but for 1: as that is broadcast, it fits where others do not."""
    return {2 * size, max(2, size // 2)} - {size}


def with_open_axes(shape: Shape, other: Shape) -> Shape:
    """The shape with None for the samples, and for the axes that have it in another shape."""
    others = (*other, *shape[len(other) :])
    sizes = zip(shape[1:], others[1:], strict=False)
    return (None, *(None if other is None else size for size, other in sizes))


def _resized(spec: keras.KerasTensor, shape: Iterable[int | None]) -> keras.KerasTensor:
    _, *sizes = shape
    return keras.KerasTensor((None, *sizes), spec.dtype)
