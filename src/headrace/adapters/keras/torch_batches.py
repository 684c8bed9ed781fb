"""What Keras gets of a `to_torch()` loader: all samples and all steps, or an error.

Keras takes a DataLoader for one of tuples of tensors, and does not look whether it is.
"""

from collections.abc import Iterator
from types import FrameType
from typing import Any

import keras
import torch

from headrace.adapters.adapter import needs_pad
from headrace.adapters.keras import frames
from headrace.adapters.keras.checks import check_distribution, warn_of_predictions
from headrace.adapters.keras.frames import PassKind
from headrace.adapters.keras.padding import PaddingWeights
from headrace.errors import ArgumentError
from headrace.pytree import leaves, named_leaves
from headrace.ragged import Ragged
from headrace.sampling.batch_sampler import BatchSampler

_REMEDY = "Pass loader.to_keras() to Keras instead of loader.to_torch()."


def checked(
    batches: Iterator[Any], sampler: BatchSampler, caller: FrameType, with_indices: bool = False
) -> Iterator[Any]:
    """The batches, for Keras, as it takes them.

    Args:
        batches: one pass.
        sampler: of the loader.
        caller: the frame of Keras that begins to iterate.
        with_indices: whether each batch ends with the indices of its samples.

    Raises:
        ArgumentError: (a ValueError) it would take something else for them.
    """
    check_distribution(sampler)
    if with_indices:
        raise ArgumentError(
            "with_indices must be False for Keras, which would take the indices for targets or "
            f"sample weights, but is True. {_REMEDY}"
        )
    found, model = frames.pass_above(caller), None
    if found is not None:
        kind, method = found
        if kind is PassKind.TRAIN:
            _check_steps(method, len(sampler))
        if method.f_code.co_name == "predict":
            warn_of_predictions(sampler)
        else:
            model = method.f_locals["self"]
    return _checked(batches, sampler, model)


def _check_steps(fit: FrameType, length: int) -> None:
    steps = frames.steps_per_epoch(fit)
    if steps and length % steps and steps * fit.f_locals.get("epochs", 1) > length:
        raise ArgumentError(
            f"steps_per_epoch must divide the {length} steps of an epoch of the loader, but is "
            f"{steps}: Keras would cut epochs short. {_REMEDY}"
        )


def _check_weights(batch: tuple[object, ...], model: keras.Model) -> None:
    if any(axes > 1 for axes in PaddingWeights().axes(batch, model).values()):
        raise ArgumentError(
            "tail must be 'drop' or 'partial' for targets of several axes, but 'pad' was given: "
            f"the weights of the padding have one axis, and the losses take more. {_REMEDY}"
        )


def _checked(
    batches: Iterator[Any], sampler: BatchSampler, model: keras.Model | None
) -> Iterator[Any]:
    first: list[tuple[int, ...]] = []  # shapes of a sample in the first batch
    for batch in batches:
        for name, leaf in named_leaves(batch):
            if isinstance(leaf, Ragged) or getattr(leaf, "is_nested", False):
                raise needs_pad(name, leaf, "Keras")
        if keras.backend.backend() != "torch":  # which gets them as they are
            if not isinstance(batch, tuple):
                raise ArgumentError(
                    f"a batch must be a tuple, such as (x, y), but is a {type(batch).__name__}, "
                    f"whose rows or keys Keras would take for its parts. {_REMEDY}"
                )
            for leaf in leaves(batch):
                if not isinstance(leaf, torch.Tensor):
                    raise ArgumentError(
                        f"a batch must be of tensors, but has a {type(leaf).__name__}, which Keras "
                        f"does not take from a DataLoader. {_REMEDY}"
                    )
        if keras.backend.backend() == "tensorflow":
            shapes = [tuple(leaf.shape[1:]) for leaf in leaves(batch)]
            first = first or shapes
            if shapes != first:
                raise ArgumentError(
                    "batches of to_torch() must have the same shapes on tensorflow, as Keras takes "
                    f"those of the first two for all, but {shapes} came after {first}. {_REMEDY}"
                )
        if sampler.tail == "pad" and isinstance(batch, tuple) and len(batch) == 2:
            raise ArgumentError(
                "tail must be 'drop' or 'partial' for a source of inputs alone, but 'pad' was "
                "given: Keras would take the weights of the padding for targets."
            )
        if sampler.tail == "pad" and model is not None and len(batch) == 3:
            _check_weights(batch, model)
            model = None  # it holds for all
        delivered = [batch]
        del batch
        yield delivered.pop()  # with no name for it here, it is the consumer's alone
