"""A rank's part of a step: which of the samples that all ranks take together are its own."""

from headrace.sampling.keys import Tail


def part_of_rank(
    left: int, batch_size: int, rank: int, world_size: int, tail: Tail
) -> tuple[int, int, int]:
    """Where a rank's part begins and ends, counted from the step on, and how much of it counts.

    Args:
        left: samples from the step on, which may be fewer than it takes.
    """
    if left < batch_size * world_size and tail == "partial":
        start, stop = left * rank // world_size, left * (rank + 1) // world_size
    else:
        start, stop = rank * batch_size, (rank + 1) * batch_size
    return start, stop, max(0, min(left, stop) - start)


def rank_and_row(
    within: int, left: int, batch_size: int, world_size: int, tail: Tail
) -> tuple[int, int]:
    """The rank whose part has what lies at `within`, counted from the step on, and its row there.

    It is the inverse of `part_of_rank`.
    """
    if left < batch_size * world_size and tail == "partial":
        rank = ((within + 1) * world_size - 1) // left
        return rank, within - left * rank // world_size
    return divmod(within, batch_size)
