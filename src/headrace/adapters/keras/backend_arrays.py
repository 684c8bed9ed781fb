"""The arrays of a batch, in the form in which Keras' backend takes them."""

from typing import Any

import keras

from headrace.adapters.adapter import needs_pad
from headrace.batching.transforms import Batch
from headrace.pytree import map_leaves, named_leaves
from headrace.ragged import Ragged


def as_backend_takes_it(batch: Batch) -> Batch:
    """The batch in the form that the backend takes without a copy of its own.

    Raises:
        ArgumentError: (a ValueError) it has samples of any length, and the backend is another one
            than tensorflow.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return map_leaves(_ragged_tensor, batch)
    for name, leaf in named_leaves(batch):
        if isinstance(leaf, Ragged):
            raise needs_pad(name, leaf, f"Keras on {backend}")
    if backend != "torch":
        return batch
    from headrace.adapters.torch.tensors import as_tensor

    return map_leaves(as_tensor, batch)


def _ragged_tensor(leaf: object) -> Any:
    if not isinstance(leaf, Ragged):
        return leaf
    import tensorflow  # type: ignore[import-untyped]

    # A Ragged is checked when it is made.
    return tensorflow.RaggedTensor.from_row_splits(leaf.values, leaf.offsets, validate=False)


def is_ragged_tensor(leaf: object) -> bool:
    """Whether it is a `tf.RaggedTensor`, which says itself which of its axes varies."""
    return hasattr(leaf, "row_splits")
