"""Ranks: whether the processes that train together get each the batches that it should."""

import warnings

from headrace.errors import ArgumentError
from headrace.sampling.batch_sampler import BatchSampler


def check_parts(sampler: BatchSampler, parts: int, what: str) -> None:
    """Compares the ranks of a loader with the parts of a batch that the processes hold.

    Warns where they are several, and each gets the batches of all: it may have data of its own.

    Args:
        parts: how many there are. Processes may hold the same one.
        what: says which process holds which rows, as in "the sharding".

    Raises:
        ArgumentError: (a ValueError) there are ranks, but not as many as parts.
    """
    if sampler.world_size > 1 and sampler.world_size != parts:
        raise ArgumentError(
            f"world_size must be {parts}, as by {what} the processes hold so many different parts "
            f"of a batch, but is {sampler.world_size}. Processes that hold the same rows need the "
            "same rank."
        )
    warn_if_each_gets_all(sampler, parts, f"By {what}, processes hold {parts} parts of a batch")


def warn_if_each_gets_all(
    sampler: BatchSampler, processes: int, known: str, more: str = ""
) -> None:
    """Warns where several processes train together and each gets the batches of all.

    Args:
        processes: how many need different batches.
        known: says so.
        more: another remedy.
    """
    if sampler.world_size > 1 or processes < 2:
        return
    warnings.warn(
        f"{known}, and each process gets all batches of this loader, as nothing shares them out. "
        f"Make it with rank= and world_size=, which headrace.world() knows{more}. If all processes "
        "are to have the same batches, or each has data of its own, let this warning be ignored.",
        stacklevel=3,
    )
