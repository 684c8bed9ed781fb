"""KerasDataset: a loader as a `keras.utils.PyDataset`.

Requires Keras 3, on any backend. Promises that the batches which train are exactly those from the
loader's place on, in order, whatever else Keras asks for; `passes` tells how.
"""

from typing import Any, cast

from headrace.arrays import Array, Indices
from headrace.batching.feed import HasFeed, feed_of
from headrace.batching.transforms import Batch
from headrace.errors import ArgumentError, MissingExtraError, missing_extra

try:
    import keras
except ModuleNotFoundError as error:
    missing = (error.name or "keras").partition(".")[0]
    if missing != "keras":
        raise MissingExtraError(
            f"Keras can't be imported, as {missing!r} is not installed, which is most likely "
            "the backend that it takes. Set the environment variable KERAS_BACKEND to one that is "
            "installed, such as 'jax' or 'torch', before Keras is imported; or install that one."
        ) from error
    raise missing_extra("headrace.adapters.keras", "Keras", "keras") from error

from headrace.adapters.keras import frames
from headrace.adapters.keras.backend_arrays import as_backend_takes_it
from headrace.adapters.keras.checks import check_distribution
from headrace.adapters.keras.frames import PassKind
from headrace.adapters.keras.open_axes import open_shapes
from headrace.adapters.keras.padding import PaddingWeights, check_takes_ragged
from headrace.adapters.keras.passes import Passes
from headrace.adapters.keras.shapes import Shapes
from headrace.pytree import map_leaves
from headrace.ragged import Ragged
from headrace.readers.reader import Batched


class KerasDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of a loader for `fit`, `evaluate` and `predict`. `Loader.to_keras` makes it.

    `fit` trains on the batches from the loader's place on, and moves the loader by those that it
    trained on. `evaluate` and `predict` take the loader's current epoch from its first batch to its
    last, and do not move it. `dataset[i]` is batch i of the current epoch.

    A batch is the loader's: `(x, y)`, `(x, y, sample_weight)` or `(x,)`, where x and y may be
    dicts, or a dict of inputs. A single array becomes `(x,)`. The `adapt` of preprocessing layers
    gets x alone. With `tail="pad"` the weights of the padding become, or multiply,
    the sample weights. `fit` and `evaluate` get them in the shape that the model's losses take,
    (batch, 1, ...); others, as `dataset[i]`, get shape (batch,).

    With `with_indices=True`, Keras gets a batch without the indices: it would take them for sample
    weights. `trained_indices` has those of the batch that `fit` trained on last.

    On tensorflow, batches may have different lengths on the axes that the model leaves open in its
    inputs and outputs: as `keras.Input((None, 3))` does, or, for a model that declares nothing, as
    it turns out when it is called symbolically with other lengths. A model with a `train_step` of
    its own needs `shapes`, which names them. A batch that differs in another axis is an error
    there. Other backends take any shapes.

    On tensorflow, samples of any length come as a `tf.RaggedTensor`, which Keras hands to the model
    as it is; its layers say what they can't do with one. On other backends they are an error, which
    tells to use `headrace.pad`.

    Look-ahead is the loader's own, so Keras sees one worker and no multiprocessing.

    A subclass may override `__getitem__` to change a batch, and must take one batch of `super()`
    each time. To mix batches, or to change what comes next, use the loader's transform. A dataset
    of Keras that wraps this one does not tell it what trains: it gets batches by their index.
    """

    def __init__(self, loader: HasFeed, *, shapes: object = None) -> None:
        self._feed = feed_of(loader)
        if not len(self._feed.sampler):
            raise ArgumentError(
                f"loader must have at least one step in an epoch; {loader!r} has none."
            )
        super().__init__(workers=1, use_multiprocessing=False)
        self.loader = loader
        self._passes = Passes(self._feed)
        self._weights = PaddingWeights()
        self._shapes = Shapes(shapes)

    def __len__(self) -> int:
        return len(self._feed.sampler)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loader!r})"

    @property
    def num_batches(self) -> int | None:
        """How many batches Keras asks for: of an epoch that goes on after a restart, its rest.

        None for a `fit` with `steps_per_epoch`, which goes on from epoch to epoch of the loader.
        """
        check_distribution(self._feed.sampler)
        if self._passes.shortened:
            return self._passes.shortened
        return None if self._passes.endless else len(self)

    @property
    def trained_indices(self) -> Indices | None:
        """The samples of the batch that `fit` has trained on last: int64, shape (batch,).

        For callbacks, in `on_train_batch_end`; None before the first one. With `on_train_batch_end`
        called for several steps at once (`steps_per_execution`), those of the last of them.
        """
        place = self._passes.trained_last
        return None if place is None else next(self._feed.sampler.keys(place, 1)).indices

    def __getitem__(self, index: int) -> Any:
        batch = self._passes.batch(self, index)
        if self._feed.maker.with_indices:
            batch = _without_indices(batch)
        padded = self._feed.sampler.tail == "pad"
        if frames.adapts_a_layer():
            return as_backend_takes_it(_inputs_alone(batch, padded))
        if padded:
            batch = _with_sample_weight(batch)
        elif not isinstance(batch, tuple | dict):
            batch = (batch,)
        batch = as_backend_takes_it(batch)
        model = self._passes.weighing_model(self) if padded else None
        if model is not None:
            batch = self._weights.shaped(cast("tuple[object, ...]", batch), model)
        if keras.backend.backend() == "tensorflow" and self._is_served_as_it_is:
            return self._of_known_shapes(batch, index)
        return batch

    @property
    def _is_served_as_it_is(self) -> bool:
        """Whether no subclass changes batches."""
        return type(self).__getitem__ is KerasDataset.__getitem__

    def _of_known_shapes(self, batch: object, index: int) -> Any:
        if frames.peeking():
            found = frames.pass_above(frames.caller_of("_of_known_shapes"))
            method = None if found is None else found[1].f_locals
            model, open_axes = None if method is None else method["self"], {}
            if found is not None and index == 0:
                x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
                predicts = found[1].f_code.co_name == "predict"
                y = None if predicts else y
                check_takes_ragged(model, x, y)
                if not (self._feed.maker.keeps_shapes or self._shapes.are_given):
                    open_axes = open_shapes(model, x, y, found[0] is PassKind.TRAIN)
            return self._shapes.told(
                batch,
                model,
                first=index == 0,
                keep_y=method is not None and method.get("class_weight") is not None,
                found=open_axes,
            )
        if frames.generator_above(self) is not None:
            self._shapes.check(batch)
        return batch

    def __getstate__(self) -> dict[str, object]:
        ours = ("_passes", "_weights")
        return {name: value for name, value in self.__dict__.items() if name not in ours}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._passes = Passes(self._feed)
        self._weights = PaddingWeights()

    def on_epoch_begin(self) -> None:
        """Called by Keras."""
        self._passes.begin()

    def on_epoch_end(self) -> None:
        """Called by Keras, more often than epochs end. In a loop of your own: the next epoch."""
        self._passes.end()


def _without_indices(batch: Batch) -> Batch:
    """The batch as Keras takes it, of one that ends with the indices of its samples."""
    assert isinstance(batch, tuple), "the batch maker has added indices"
    *parts, _ = batch
    return tuple(parts) if len(parts) > 1 else parts[0]


def _inputs_alone(batch: Batch, padded: bool) -> Batch:
    """What a preprocessing layer adapts to, of which some would take targets for inputs, too."""
    if padded:
        raise ArgumentError(
            "tail must be 'drop' or 'partial' for a layer to adapt, but 'pad' was given: it would "
            "count the padding."
        )
    return batch[0] if isinstance(batch, tuple) else batch


def _with_sample_weight(batch: Batch) -> tuple[object, ...]:
    """The batch as (x, y, sample_weight), of one that ends with the weights of its padding."""
    assert isinstance(batch, tuple), "the batch maker has added weights"
    *parts, padding = batch
    if len(parts) == 1:
        raise ArgumentError(
            "tail must be 'drop' or 'partial' for a source of inputs alone, but 'pad' was given: "
            "Keras takes the weights of padding only beside targets."
        )
    if len(parts) == 3:

        def weigh(weight: Batched) -> Batched:
            if isinstance(weight, Ragged):
                of_elements = padding.repeat(weight.lengths)
                return Ragged(_weighed(weight.values, of_elements), weight.offsets)
            return _weighed(weight, padding)

        return (parts[0], parts[1], map_leaves(weigh, parts[2]))
    return batch


def _weighed(weight: Array, padding: Array) -> Array:
    weighed: Array = weight * padding.reshape(-1, *(1,) * (weight.ndim - 1))
    return weighed
