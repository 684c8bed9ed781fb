"""Buckets: batches of samples of like length, of the same rung of a ladder on all ranks.

Promises that a batch holds samples of one rung, that all ranks are in the
same rung at the same step, that each epoch has as many steps as any other, and that each sample
comes once, but for what the tail leaves out.
"""

import functools
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from headrace.arguments import MAX_SAMPLES, check_bool, check_int
from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.pytree import named_leaves
from headrace.sampling.buckets.bucket_order import BucketOrder, Rung
from headrace.sampling.buckets.ladder import check_ladder
from headrace.sampling.keys import Tail
from headrace.sampling.order import BatchedOrder, Order


class Buckets:
    """Batches of samples of like length, so that little of them is padding. For `shuffle=`.

    A sample is of the first rung of the ladder that is at least as long. Each batch is of one rung,
    and so are the batches of all ranks at a step. In each epoch, the samples of a rung come in a
    new order, and the steps of all rungs are mixed anew; their number is always the same.

    The `tail` of a loader is that of each rung: "drop" leaves out what does not fill a batch on
    every rank, "pad" fills it up with samples of that rung, of weight 0, "partial" shares it out.

    Before the first step of an epoch, a state can be gone on with by any number of ranks. Within an
    epoch it can where the batches of all ranks together are as large in each rung, such as by 4
    ranks instead of 2 with half the `batch_size`; other states are refused.

    It takes 4 bytes a sample, 8 from 2**31 samples on.

    Args:
        lengths: of the samples, in their order: ints from 0 on, shape (n,), such as
            `numpy.diff(offsets)` or `reader.sample_lengths()`.
        ladder: the lengths that batches are padded to, ascending, as `hr.pad(ladder=...)` takes
            them. The last must be at least the longest length.
        batch_sizes: samples in a batch of each rung, at most the loader's `batch_size`.
        max_tokens: instead: a batch has so many elements at most, padding counted, thus
            `max_tokens // ladder[rung]` samples, and at most the loader's `batch_size`. Default:
            all have the loader's `batch_size`.
        shuffle: whether samples and steps are mixed; False goes through the rungs in their order.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed;
            from a loader: there are not as many lengths as samples, or its batch_size is too small.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> lengths = np.array([3, 9, 2, 8, 1, 7])
        >>> tokens = hr.RaggedArray(np.arange(30), np.cumsum([0, *lengths]))
        >>> buckets = hr.Buckets(lengths, ladder=[4, 10], max_tokens=20)
        >>> loader = hr.Loader(tokens, batch_size=3, shuffle=buckets, tail="partial")
        >>> sorted(sorted(batch.lengths.tolist()) for batch in loader)[0]
        [1, 2, 3]
        >>> len(loader)
        3
    """

    def __init__(
        self,
        lengths: npt.ArrayLike,
        ladder: Sequence[int],
        *,
        batch_sizes: Sequence[int] | None = None,
        max_tokens: int | None = None,
        shuffle: bool = True,
    ) -> None:
        self._ladder = check_ladder(ladder)
        self._batch_sizes = None
        self._max_tokens = None
        self._shuffle = check_bool("shuffle", shuffle)
        if batch_sizes is not None:
            if max_tokens is not None:
                raise bad_value("max_tokens", max_tokens, "left out with batch_sizes")
            given: object = batch_sizes
            if not isinstance(given, Iterable):
                allowed = "a sequence of ints, one for each rung of ladder"
                raise bad_type("batch_sizes", batch_sizes, allowed)
            self._batch_sizes = [
                check_int(f"batch_sizes[{rung}]", size, 1, MAX_SAMPLES)
                for rung, size in enumerate(batch_sizes)
            ]
            if len(self._batch_sizes) != len(self._ladder):
                allowed = f"one for each of the {len(self._ladder)} rungs of ladder"
                raise bad_value("batch_sizes", batch_sizes, allowed)
        if max_tokens is not None:
            self._max_tokens = check_int("max_tokens", max_tokens, 1, MAX_SAMPLES)
            if max_tokens < self._ladder[-1]:
                raise bad_value(
                    "max_tokens",
                    max_tokens,
                    f"at least {self._ladder[-1]}, the last rung of ladder",
                )
        lengths = _checked(lengths)
        self._n = len(lengths)
        rungs = np.searchsorted(np.array(self._ladder), lengths).astype(np.uint16)
        if self._n and int(rungs.max()) == len(self._ladder):
            sample = int((rungs == len(self._ladder)).argmax())
            raise bad_value(
                "lengths",
                f"{int(lengths[sample])} for sample {sample}",
                f"at most {self._ladder[-1]}, the last rung of ladder",
                "Add a longer rung, or leave such samples out with headrace.Subset.",
            )
        # A stable sort of 16 bits is a radix sort. The samples of a rung lie together then.
        kind = np.int32 if self._n < 2**31 else np.int64
        self._samples: Array = np.argsort(rungs, kind="stable").astype(kind)
        counts = np.bincount(rungs, minlength=len(self._ladder))
        self._begins = np.concatenate([[0], np.cumsum(counts)])

    def __repr__(self) -> str:
        return f"Buckets(n={self._n}, ladder={_shown(self._ladder)})"

    def order(self, n: int, seed: int, block: int | None = None) -> Order:
        """It makes batches: see `order_of_batches`."""
        raise ArgumentError(
            "shuffle=Buckets(...) makes whole batches, and can't be part of another sampling."
        )

    def order_of_batches(
        self, n: int, seed: int, batch_size: int, world_size: int, tail: Tail
    ) -> BatchedOrder:
        """The order of `n` samples in batches of at most `batch_size`."""
        if n != self._n:
            raise ArgumentError(
                f"lengths must be as many as the samples, which are {n}, but {self._n} were given."
            )
        sizes = self._sizes(batch_size)
        counts = np.diff(self._begins).tolist()
        steps = []
        for rung, (count, size) in enumerate(zip(counts, sizes, strict=True)):
            whole, left = divmod(count, size * world_size)
            if tail == "partial" and 0 < left < world_size:
                raise bad_value(
                    "tail",
                    tail,
                    f"'drop' or 'pad' for {count} samples of up to {self._ladder[rung]} in global "
                    f"batches of {size * world_size} over {world_size} ranks",
                    f"The {left} left over would leave a rank with an empty batch.",
                )
            steps.append(whole + (left > 0 and tail != "drop"))
        self._warn_of_left_out(counts, steps)
        rungs = [
            Rung(begin, count, size, size * world_size, number)
            for begin, count, size, number in zip(
                self._begins.tolist(), counts, sizes, steps, strict=False
            )
        ]
        name = (
            f"buckets of {_shown(self._ladder)}{'' if self._shuffle else ' in order'}, {self._hash}"
        )
        return BucketOrder(
            self._samples, rungs, seed, batch_size, world_size, tail, name, self._shuffle
        )

    def _sizes(self, batch_size: int) -> list[int]:
        """The samples in a batch of each rung."""
        if self._batch_sizes is not None:
            if max(self._batch_sizes) > batch_size:
                raise bad_value(
                    "batch_size",
                    batch_size,
                    f"at least the largest of batch_sizes, {max(self._batch_sizes)}",
                )
            return self._batch_sizes
        if self._max_tokens is None:
            return [batch_size] * len(self._ladder)
        return [min(batch_size, self._max_tokens // rung) for rung in self._ladder]

    def _warn_of_left_out(self, counts: list[int], steps: list[int]) -> None:
        never = [
            f"{count} of up to {self._ladder[rung]}"
            for rung, (count, number) in enumerate(zip(counts, steps, strict=True))
            if count and not number
        ]
        if never and any(steps):  # of no steps at all, the loader warns
            warnings.warn(
                f"some samples never come, as those of their rung fill no batch on every rank, and "
                f"tail='drop' leaves them out: {', '.join(never)}. Use tail='pad', fewer rungs, or "
                "smaller batches.",
                stacklevel=2,
            )

    @functools.cached_property
    def _hash(self) -> str:
        """Of the rung of each sample."""
        begins = self._begins.astype("<i8").tobytes()
        return fingerprint(begins, self._samples.astype("<i8", copy=False).view(np.uint8).data)


def _checked(lengths: object) -> Indices:
    allowed = "ints of one dimension, one for each sample"
    if isinstance(lengths, tuple | dict) and not all(isinstance(n, int) for n in lengths):
        name = next((name for name, each in named_leaves(lengths) if each is not None), "")
        remedy = f"Take those of one part, such as reader.sample_lengths(){name}."
        raise bad_value("lengths", lengths, allowed, remedy)
    if lengths is None:
        remedy = "Its reader does not tell them: count them once, and keep them in a file."
        raise bad_value("lengths", lengths, allowed, remedy)
    array = np.asarray(lengths)
    if array.dtype.kind not in "iu" or array.ndim != 1 or np.ma.is_masked(lengths):
        remedy = "Of a reader, reader.sample_lengths() gives them."
        raise bad_value("lengths", lengths, allowed, remedy)
    if len(array) and int(array.min()) < 0:
        sample = int((array < 0).argmax())
        raise bad_value("lengths", f"{int(array[sample])} for sample {sample}", "from 0 on")
    return array


def _shown(ladder: list[int]) -> str:
    if len(ladder) <= 4:
        return str(ladder)
    return f"{len(ladder)} rungs up to {ladder[-1]}"
