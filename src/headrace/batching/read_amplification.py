"""Read amplification: how much more than its samples a shuffled loader reads from blocks.

Requires what readers say of their blocks. Everything here is computed, in constant time; nothing is
read.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import replace

from headrace.pytree import Tree, leaves, named_leaves
from headrace.readers.access import Access, ReadAmplificationWarning, access_of
from headrace.readers.reader import Reader
from headrace.sampling.batch_sampler import BatchSampler
from headrace.sampling.block_shuffle import DEFAULT_WINDOW, BlockShuffle, BlockShuffled
from headrace.sampling.mix.mix_order import MixOrder
from headrace.sampling.order import Order, Sequential, Shuffled

# With less, other orders would gain hardly anything.
_LEAST_WARNED_OF = 1.5


def natural_block(readers: Tree[Reader]) -> int:
    """How many samples the largest blocks of the readers have."""
    return max(access_of(reader).block for reader in leaves(readers))


def read_amplification(
    n: int,
    access: Access,
    order: BlockShuffle | None,
    batch_size: int,
    world_size: int = 1,
) -> float:
    """How many samples one rank's reader is expected to read for each of those it gives.

    Args:
        n: number of samples.
        access: the reader's: samples in a block, what a block costs, where blocks begin, and how
            many are kept in memory, those used last.
        order: with its block; None is a full shuffle.
        batch_size: of this rank.
        world_size: all ranks have their samples from the same windows.
    """
    block = access.block
    blocks = -(-n // block)
    if access.blocks_kept >= blocks:
        return 1.0  # after the first epoch, nothing is read
    touched, window = float(blocks), n
    if order is not None and order.block is not None and order.block > 1:
        # Where those of the order do not begin as the reader's do, some of them lie in one more.
        together = math.gcd(order.block, block) if access.blocks_aligned else 1
        of_each = 1 + (order.block - together) / block
        touched = min(blocks, order.window * of_each)
        window = min(n, order.window * order.block)
    in_batch = _distinct(touched, batch_size)
    missing = _missing(touched, in_batch, access.blocks_kept)
    each_batch = in_batch * missing / batch_size
    share = min(window, max(batch_size, window // world_size))  # of a window, for one rank
    once_each = _distinct(touched, share) / share if world_size > 1 else touched / window
    return max(each_batch, once_each) * min(access.cost, n * access.cost / block)


def warn_of_amplification(
    readers: Tree[Reader],
    sampler: BatchSampler,
    stacklevel: int,
) -> None:
    """Warns, once for a loader, if its order makes one of the readers read much more than needed.

    Args:
        sampler: the loader's, with its order.
        stacklevel: as of `warnings.warn`, counted from the caller.
    """
    if isinstance(sampler.order, Sequential):
        return
    order = _reads_as(sampler.order)
    n, batch_size, world_size = sampler.n, sampler.batch_size, sampler.world_size
    accesses = {name: access_of(reader) for name, reader in named_leaves(readers, "source")}
    blocked = {name: access for name, access in accesses.items() if access.block > 1}
    # Not always of the largest block: its reader may keep all, as of labels in one row group.
    sizes = sorted({access.block for access in blocked.values()}, reverse=True)
    orders = [BlockShuffle(size, _fitting(size, n, blocked.values())) for size in sizes]

    def times_read(order: BlockShuffle | None, access: Access) -> float:
        return read_amplification(n, access, order, batch_size, world_size)

    for name, access in blocked.items():
        advised = min(orders, key=lambda o: max(times_read(o, of) for of in blocked.values()))
        times, better = times_read(order, access), times_read(advised, access)
        if times > _LEAST_WARNED_OF and times > _LEAST_WARNED_OF * better:
            given, advice = _named(sampler.order, advised)
            warnings.warn(
                f"{given}, batches of {batch_size} take reading about {times:.3g} times the "
                f"samples that they hold from {name}: those lie in {-(-n // access.block)} blocks "
                f"of {access.block}, each of which is read as a whole, and {access.blocks_kept} "
                f"are kept in memory. With shuffle={advice} it is about {better:.3g} times; or "
                "have the reader keep more blocks.",
                ReadAmplificationWarning,
                stacklevel=stacklevel + 1,
            )
            return


def _reads_as(order: Order) -> BlockShuffle | None:
    """The shuffle of blocks that reads as much as an order; None is a full shuffle."""
    if isinstance(order, BlockShuffled):
        return order.sampling
    return order.block_shuffle if isinstance(order, MixOrder) else None


def _named(order: Order, advised: BlockShuffle) -> tuple[str, str]:
    """How a user asked for the order, and for the one that is advised in its place."""
    if isinstance(order, MixOrder):
        # Of each source, a window is read.
        advised = replace(advised, window=max(1, advised.window // order.sources))
        return f"in the order {order.describe()}", f"hr.Mix(..., shuffle=hr.{advised})"
    if isinstance(order, BlockShuffled):
        return f"with shuffle=hr.{order.sampling}", f"hr.{advised}"
    given = (
        "with shuffle=True" if isinstance(order, Shuffled) else f"in the order {order.describe()}"
    )
    return given, f"hr.{advised}"


def _fitting(size: int, n: int, blocked: Iterable[Access]) -> int:
    """A window of blocks of `size` of which each reader can keep two.

    Where a window ends, two of them are read at a time.
    """
    kept = [access.blocks_kept * access.block for access in blocked]
    fitting = [samples // size // 2 for samples in kept if samples < n]
    return max(1, min([DEFAULT_WINDOW, *fitting]))


def _distinct(blocks: float, samples: int) -> float:
    """How many of so many blocks are expected to be among those of samples drawn from them."""
    if blocks == 1:
        return 1.0
    return -blocks * math.expm1(samples * math.log1p(-1 / blocks))


def _missing(blocks: float, in_batch: float, kept: int) -> float:
    """The share of the blocks of a batch that are not kept any more.

    Batches are read in the order of the storage. So what was used last goes round with them, and
    whole batches are remembered, or none.
    """
    if kept >= blocks:
        return 0.0
    if kept < in_batch:
        return 1.0
    unused = math.log1p(-in_batch / blocks)  # in a batch, of any block
    remembered = math.floor(math.log1p(-kept / blocks) / unused)
    return math.exp(remembered * unused)
