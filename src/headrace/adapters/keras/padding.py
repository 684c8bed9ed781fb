"""The weights of padding, in the shape in which a model's losses take them.

Keras multiplies the values of a loss, of shape (n, ...), by the sample weights, and makes their
ranks equal only where they differ by one (`reduce_weighted_values` in Keras 3.11 to 3.15). So
weights of shape (n,) belong to values of shape (n,) alone: beside values of shape (n, 5), as of
masks or tokens, they are an error, and where n is 5, they weigh the wrong axis. Here they get the
rank of the values, (n, 1, ...), which are computed symbolically, as Keras does to build a model.

Reads the private `_compile_loss` of a model, and of that `_user_loss`, `_user_loss_weights` and
`_flat_losses`, as Keras 3.11 to 3.15 have them.
"""

import weakref
from typing import Any, NamedTuple

import keras
import numpy as np

from headrace.adapters.keras.backend_arrays import is_ragged_tensor
from headrace.arrays import Array
from headrace.errors import ArgumentError, HeadraceError
from headrace.pytree import leaves, map_leaves

_REMEDY = "Use tail='partial' or 'drop'"

Path = tuple[object, ...]


class Value(NamedTuple):
    """What a loss gives for a batch, before it is reduced to a number.

    Attributes:
        name: of the loss.
        shape: (n, ...).
        reduction: as `keras.losses.Loss` has it.
    """

    name: str
    shape: tuple[int | None, ...]
    reduction: str | None


class PaddingWeights:
    """Gives batches (x, y, weights) for a model weights as its losses take them."""

    def __init__(self) -> None:
        # By the losses that a model was compiled with, the axes of the weights that each takes.
        self._axes: weakref.WeakKeyDictionary[Any, dict[Path, int]] = weakref.WeakKeyDictionary()

    def shaped(self, batch: tuple[Any, ...], model: keras.Model) -> tuple[object, ...]:
        """The batch, with another shape of weights that have shape (n,).

        Raises:
            ArgumentError: (a ValueError) a loss is reduced in a way that takes in the padding.
            HeadraceError: what the losses give can't be computed.
        """
        x, y, weights = batch
        axes = self.axes(batch, model)
        if not axes:
            return batch
        return x, y, _by_path({path: _with_axes(weights, n) for path, n in axes.items()}, weights)

    def axes(self, batch: tuple[Any, ...], model: keras.Model) -> dict[Path, int]:
        """How many axes the weights of the batch need, by the path of an output of the model.

        None for a training step of the user's, or weights of a shape that the user chose.
        """
        x, y, weights = batch
        losses = getattr(model, "_compile_loss", None)
        if losses is None or getattr(weights, "ndim", 0) != 1:
            return {}
        axes = self._axes.get(losses)
        if axes is None:
            found = _values(model, x, y)
            axes = {path: _checked_axes(value, len(weights)) for path, value in found.items()}
            self._axes[losses] = axes
        return axes


def _with_axes(weights: Array, axes: int) -> Array:
    return weights.reshape(-1, *(1,) * (axes - 1))


def _checked_axes(value: Value, n: int) -> int:
    """How many axes weights have that leave the padding out of the value."""
    if not value.shape or value.shape[0] not in (n, None):
        raise ArgumentError(
            f"the loss {value.name!r} must give a value for each sample where tail='pad', so that "
            f"padding can have the weight 0, but gives {value.shape} for {n} samples. {_REMEDY}, "
            "or a loss that leaves reducing over samples to Keras."
        )
    if value.reduction == "mean_with_sample_weight" and value.shape[1:] not in ((), (1,)):
        raise ArgumentError(
            f"reduction must be another one than 'mean_with_sample_weight' for the loss "
            f"{value.name!r} where tail='pad', as it gives {value.shape} for {n} samples, and "
            f"Keras would divide by the number of samples alone. {_REMEDY}, or "
            "reduction='sum_over_batch_size'."
        )
    return len(value.shape)


def _by_path(weights: dict[Path, Array], other: Array) -> Any:
    """One array if all are alike; else in the structure of the outputs of the model.

    Args:
        weights: by the path of an output.
        other: of outputs that have no loss.
    """
    if len({one.ndim for one in weights.values()}) <= 1:
        return next(iter(weights.values()), other)
    of_first: dict[Any, dict[Path, Array]] = {}
    for path, one in weights.items():
        of_first.setdefault(path[0], {})[path[1:]] = one
    parts = {
        key: inner[()] if () in inner else _by_path(inner, other) for key, inner in of_first.items()
    }
    if all(isinstance(key, int) for key in parts):
        return tuple(parts.get(number, other) for number in range(max(parts) + 1))
    return parts


def check_takes_ragged(model: keras.Model, x: object, y: object) -> None:
    """Has the model and its losses say what they can't do with samples of any length.

    Args:
        model: that is to take the batch. Of one with a training step of its own nothing is known.
        x: the inputs.
        y: the targets, or None for a model that predicts.

    Raises:
        ArgumentError: (a ValueError) they fail with it.
    """
    if not any(map(is_ragged_tensor, leaves((x, y)))):
        return
    losses = getattr(model, "_compile_loss", None)
    if y is not None and (losses is None or type(model).train_step is not keras.Model.train_step):
        return
    try:
        Probe(model).compute_output_spec(x, y)
    except Exception as error:
        raise _takes_no_ragged(error) from error


def _takes_no_ragged(error: Exception) -> ArgumentError:
    return ArgumentError(
        "the model must take samples of any length, which Keras hands to it as a tf.RaggedTensor, "
        "but it or its loss fails with it. Use headrace.pad, which makes arrays of them. Keras "
        f"says: {error}"
    )


def _values(model: keras.Model, x: object, y: object) -> dict[Path, Value]:
    """What each loss of the model gives for the batch, by the path of its output."""
    probe = Probe(model)
    specs = (map_leaves(spec_of, x), map_leaves(spec_of, y))
    try:
        with np.errstate(all="ignore"):  # as on numpy, Keras computes it with zeros
            probe.compute_output_spec(*specs)
    except Exception as error:
        if any(map(is_ragged_tensor, leaves((x, y)))):
            raise _takes_no_ragged(error) from error
        raise HeadraceError(
            "headrace can't tell which shape of weights the losses take where tail='pad': with "
            f"this batch, the model or a loss fails: {error}. {_REMEDY} if it is right without."
        ) from error
    return probe.found


def spec_of(leaf: Any) -> Any:
    """What stands for an array of a batch where a model is called symbolically."""
    if is_ragged_tensor(leaf):
        # A stand-in of Keras' would have one shape for all samples, which a model may not take.
        return leaf
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    dtype = str(leaf.dtype).removeprefix("torch.")
    text = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSTU"
    return keras.KerasTensor(tuple(leaf.shape), "string" if text else dtype)


class Probe(keras.Operation):  # type: ignore[misc]
    """Calls a model and its losses, and notes what they give. To be called symbolically."""

    def __init__(self, model: keras.Model, training: bool = False) -> None:
        super().__init__()
        self._model = model
        self._training = training
        self.found: dict[Path, Value] = {}

    def call(self, x: object, y: object, predicted: object = None) -> Any:
        if keras.backend.backend() == "numpy":  # whose stand-ins hold what memory held, as classes
            x, y, predicted = (map_leaves(_zeros_like, part) for part in (x, y, predicted))
        # Stand-ins for the variables: on jax, those of a model that trains have no value meanwhile.
        variables = self._model.variables if keras.backend.backend() == "jax" else []
        values = [(each, keras.ops.zeros(each.shape, each.dtype)) for each in variables]
        with keras.StatelessScope(state_mapping=values):
            return self._called(x, y, predicted)

    def _called(self, x: object, y: object, predicted: object) -> Any:
        if predicted is None:
            predicted = self._model(x, training=self._training)
        if y is None:
            return predicted
        compiled = self._model._compile_loss
        # A copy, so that the model's own is built by Keras when it is its turn.
        losses = type(compiled)(
            compiled._user_loss, compiled._user_loss_weights, output_names=compiled.output_names
        )
        losses(y, predicted)  # which builds it
        losses._flat_losses = [
            each._replace(loss=_Noted(each.loss, each.path, self.found))
            for each in losses._flat_losses
        ]
        return losses(y, predicted)


def _zeros_like(leaf: object) -> object:
    return np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else leaf


class _Noted:
    """A loss that notes what it gives before that is reduced."""

    def __init__(self, loss: keras.losses.Loss, path: Path, found: dict[Path, Value]) -> None:
        self._loss = loss
        self._path = path
        self._found = found

    def __call__(self, y: object, predicted: object, sample_weight: object = None) -> Any:
        dtype = self._loss.dtype

        def converted(leaf: object) -> Any:
            return keras.ops.convert_to_tensor(leaf, dtype=dtype)

        values = self._loss.call(
            keras.tree.map_structure(converted, y), keras.tree.map_structure(converted, predicted)
        )
        values = keras.ops.convert_to_tensor(values)
        self._found[self._path] = Value(self._loss.name, tuple(values.shape), self._loss.reduction)
        return self._loss(y, predicted)
