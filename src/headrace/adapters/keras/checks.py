"""What Keras would do with a loader's batches without a word, said before it trains."""

import warnings
from types import FrameType

import keras

from headrace.adapters.ranks import check_parts
from headrace.errors import ArgumentError
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.order import BatchedOrder, Sequential
from headrace.sampling.world import keras_world


def check_distribution(sampler: BatchSampler) -> None:
    """Raises an ArgumentError (a ValueError) if Keras' distribution can't take all batches."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return
    several = getattr(distribution, "_is_multi_process", False)
    if several and getattr(distribution, "auto_shard_dataset", False):
        raise ArgumentError(
            "auto_shard_dataset must be False, but is True: Keras would leave out batches in each "
            "process, which a loader shares out itself. Pass auto_shard_dataset=False to "
            f"keras.distribution.{type(distribution).__name__}, and to the Loader rank= and "
            "world_size= as headrace.world() tells them."
        )
    if keras.backend.backend() != "jax":
        return
    if several:
        import jax

        parts = keras_world(jax.process_index()).world_size
        check_parts(sampler, parts, "Keras' distribution")
    mesh = distribution.device_mesh
    devices = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    full, left_over = sampler.sizes()
    uneven = [size for size in full if size % devices]
    if uneven:
        remedy = ""
        if isinstance(sampler.order, BatchedOrder):
            remedy = " Such ones can be given as Buckets(..., batch_sizes=...)."
        raise ArgumentError(
            f"batch_size must be a multiple of {devices} over all ranks, as Keras' distribution "
            f"splits each batch over so many devices, but is {uneven[0]}.{remedy}"
        )
    uneven = [size for size in left_over if size % devices]
    if sampler.tail == "partial" and uneven:
        raise ArgumentError(
            f"tail must be 'pad' or 'drop', but is 'partial', and a last batch of an epoch has "
            f"{uneven[0]} samples, which Keras' distribution can't split over {devices} devices."
        )


def check_class_weight(fit: FrameType | None) -> None:
    """Raises an ArgumentError (a ValueError) if a running `fit` weighs classes beside padding."""
    if fit is not None and fit.f_locals.get("class_weight") is not None:
        raise ArgumentError(
            "class_weight must be None where tail='pad', as Keras takes either class weights or "
            "sample weights, which those of the padding are. Use tail='partial' or 'drop'; or give "
            "each sample its weight, with a source of (x, y, weights)."
        )


def warn_of_predictions(sampler: BatchSampler) -> None:
    """Warns if the predictions that begin will not be those of all samples in their order."""
    left = sum(sampler.sizes()[1])
    remedy = "use a loader with shuffle=False and tail='partial'"
    if not isinstance(sampler.order, Sequential):
        what = "the order of the batches, which is not that of the samples"
    elif left and sampler.tail == "drop":
        what = f"the order of the samples, without the last {left}"
    elif left and sampler.tail == "pad":
        what = "the order of the samples, and more for the padding of the last batch"
        if sampler.world_size == 1:
            remedy = f"take the first {sampler.n} of them, or {remedy}"
    else:
        return
    warnings.warn(
        f"predict gives predictions in {what}. To match them with the samples, {remedy}.",
        stacklevel=2,
    )
