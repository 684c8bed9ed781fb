"""Balanced: every class equally often, each through all of its samples before any comes again.

Positions lie in blocks of `classes_per_batch` classes with `samples_per_class` samples each:

    labels  a a a a b b c              classes_per_batch=2, samples_per_class=2

    block   |  0         |  1         |  2         |      the classes of blocks are drawn in passes
    class   | b    a     | c    b     | a    c     |      over all classes, here of one block, which
    sample  | 5 4  2 0   | 6 6  4 5   | 3 1  6 6   |      leave out another class each

Requires the permutations. Promises that blocks hold so many classes and samples, as a pure function
of (labels, seed, epoch, position); epochs go on where the one before has ended.
"""

import functools

import numpy as np
import numpy.typing as npt

from headrace.arguments import MAX_SAMPLES, check_int, check_seed
from headrace.arrays import Array, Indices, fingerprint
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.sampling import streams
from headrace.sampling.order import Order
from headrace.sampling.permutation import Permutation
from headrace.sampling.permutations import Permutations, shuffled_rows

# Integer labels in a range no wider than this, or than their number, need not be sorted.
_AT_MOST = 2**16
# Places in shuffles of classes that are looked through at a time.
_AT_ONCE = 2**16
# Of shuffles of so many classes or more, recent ones are kept.
_LARGE = 4096


class Balanced:
    """Gives every class equally often, whatever its number of samples.

    To be passed as `shuffle=`. The positions of an epoch lie in blocks of `classes_per_batch`
    classes with `samples_per_class` samples each, as metric learning wants its batches: with a
    `batch_size` of their product, a batch is a block. By default a block holds one sample of each
    class, so that in every batch the numbers of any two classes differ by two at most.

    Each class goes through its own samples in passes, each a permutation, before any comes again,
    from epoch to epoch. A block holds a sample twice only if its class has fewer than
    `samples_per_class`. Classes come in passes, too: where `classes_per_batch` does not divide
    their number, each pass leaves the remainder out, in turn.

    It takes 4 bytes a sample, 8 from 2**31 samples on.

    Args:
        labels: of the samples, in their order: numbers or strings, shape (n,); or a `Labels`.
        classes_per_batch: different classes in a block. Default: all.
        samples_per_class: samples of each class in a block. Default: 1.
        length: positions of an epoch. Default: n, rounded up to whole blocks. With another one,
            what is left of an epoch's last block is not given.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed;
            from a loader: there are not as many labels as samples.

    Example:
        >>> import headrace as hr
        >>> import numpy as np
        >>> labels = np.array([0] * 900 + [1] * 100)
        >>> loader = hr.Loader(labels, batch_size=100, shuffle=hr.Balanced(labels))
        >>> [int(batch.sum()) for batch in loader]
        [50, 50, 50, 50, 50, 50, 50, 50, 50, 50]
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        length: int | None = None,
    ) -> None:
        classes = _classes(labels)
        self._counts = np.bincount(classes)
        # The samples of the first class, then those of the second, and so on.
        # Of 16 bits, numpy sorts in linear time.
        narrow = classes.astype(np.uint16) if len(self._counts) <= 2**16 else classes
        kind = np.int32 if len(classes) < 2**31 else np.int64
        self._members: Array = np.argsort(narrow, kind="stable").astype(kind)
        most = len(self._counts)
        if classes_per_batch is None:
            classes_per_batch = most
        self._classes_per_batch = check_int("classes_per_batch", classes_per_batch, 1, most)
        if samples_per_class is None:
            samples_per_class = 1
        self._samples_per_class = check_int("samples_per_class", samples_per_class, 1, 2**31)
        if length is None:
            size = self._classes_per_batch * self._samples_per_class
            length = -(-len(self._members) // size) * size
        self._length = check_int("length", length, 1, MAX_SAMPLES)

    def __repr__(self) -> str:
        return (
            f"Balanced(n={len(self._members)}, classes={len(self._counts)}, "
            f"classes_per_batch={self._classes_per_batch}, "
            f"samples_per_class={self._samples_per_class}, length={self._length})"
        )

    def order(self, n: int, seed: int, block: int | None = None) -> Order:
        """The order of `n` samples."""
        if n != len(self._members):
            raise ArgumentError(
                f"labels must be as many as the samples, which are {n}, but {len(self._members)} "
                "were given."
            )
        shape = self._classes_per_batch, self._samples_per_class
        return BalancedOrder(self._members, self._counts, seed, *shape, self._length)


class BalancedOrder:
    """The order of a `Balanced`. All epochs are one run of blocks, drawn from the seed alone.

    Args:
        members: the samples of each class, one class after the other.
        counts: samples of each class, int64.
        seed: of the permutations.
        classes_per_batch, samples_per_class: of a block.
        length: positions of an epoch.
    """

    repeats = True

    def __init__(
        self,
        members: Array,
        counts: Indices,
        seed: int,
        classes_per_batch: int,
        samples_per_class: int,
        length: int,
    ) -> None:
        self._members, self._counts = members, counts
        self._seed = check_seed(seed)
        self._of_block, self._of_class, self._length = classes_per_batch, samples_per_class, length
        self._classes = len(counts)
        self._blocks = -(-length // (classes_per_batch * samples_per_class))  # of an epoch
        # A pass over the classes is of whole blocks, and leaves out the remainder.
        self._blocks_of_pass = self._classes // classes_per_batch
        self._left_out = self._classes % classes_per_batch
        # Which classes are left out together is drawn: from here on, classes are in that order.
        key = np.random.SeedSequence(seed, spawn_key=(streams.BALANCED_CLASSES,))
        drawn = Permutation(self._classes, key)[np.arange(self._classes)]
        starts = np.cumsum(counts) - counts
        self._count_of, self._start_of = counts[drawn], starts[drawn]
        # So many passes over the samples of a class take whole blocks, and have one permutation,
        # so that no block holds a sample twice where two of them meet.
        like = samples_per_class // np.gcd(self._count_of, samples_per_class)
        self._span_of = self._count_of * like
        self._samples = Permutations(
            self._count_of, np.random.SeedSequence(seed, spawn_key=(streams.BALANCED_SAMPLES,))
        )

    def __len__(self) -> int:
        return self._length

    def indices(self, epoch: int, positions: Indices) -> Indices:
        # Past 2**62 positions, which no one reaches, the run begins again.
        size = self._of_block * self._of_class
        epoch %= MAX_SAMPLES // (self._blocks * size)
        blocks, within = np.divmod(positions.reshape(-1), size)
        blocks += epoch * self._blocks
        slots, sample = np.divmod(within, self._of_class)
        passes, block = np.divmod(blocks, self._blocks_of_pass)
        slots += block * self._of_block
        # The classes of a pass are those that follow the ones which it leaves out.
        left_out_before = passes * self._left_out
        classes = self._shuffled(passes, slots)
        classes += left_out_before + self._left_out
        classes %= self._classes
        # How often the class came before: in all passes but those that left it out.
        visits = passes - (left_out_before + (self._classes - 1) - classes) // self._classes
        numbers = visits * self._of_class + sample
        of_span = self._span_of[classes]
        spans = numbers // of_span
        numbers -= spans * of_span
        if self._of_class > 1:  # else a span is one pass
            numbers %= self._count_of[classes]
        found = self._samples(classes, spans * self._classes + classes, numbers)
        found += self._start_of[classes]
        samples: Indices = self._members[found].astype(np.int64)
        return samples.reshape(positions.shape)

    def alike(self, sample: int) -> Indices:
        """The samples of its class."""
        _, which = self._place_of(sample)
        start = self._start_of[which]
        return self._members[start : start + self._count_of[which]]

    def positions(self, epoch: int, sample: int) -> Indices:
        # By `indices` backwards, over all visits to the class in the epoch.
        epoch %= MAX_SAMPLES // (self._blocks * self._of_block * self._of_class)
        member, which = self._place_of(sample)
        first_block = epoch * self._blocks
        last_pass = (first_block + self._blocks - 1) // self._blocks_of_pass
        first, last = (
            number - (number * self._left_out + self._classes - 1 - which) // self._classes
            for number in (first_block // self._blocks_of_pass, last_pass)
        )
        # One permutation is of `span` samples of the class, in some passes over them.
        span, count = int(self._span_of[which]), int(self._count_of[which])
        spans = np.arange(first * self._of_class // span, last * self._of_class // span + 1)
        whiches = np.full_like(spans, which)
        within = np.full_like(spans, member - self._start_of[which])
        offsets = self._samples.positions(whiches, spans * self._classes + which, within)
        numbers = (spans * span + offsets)[:, None] + np.arange(0, span, count)
        visits, row = np.divmod(numbers.reshape(-1), self._of_class)
        inside = (visits >= first) & (visits <= last)
        visits, row = visits[inside], row[inside]
        passes = visits
        if self._left_out:  # as often as the class was left out by then, its passes are later
            behind = (visits + 1) * self._left_out - which
            passes = visits + np.maximum(0, -(-behind // (self._classes - self._left_out)))
        slots = self._slots_of((which - (passes + 1) * self._left_out) % self._classes, passes)
        blocks = passes * self._blocks_of_pass - first_block
        found = (blocks * self._of_block + slots) * self._of_class + row
        return found[(found >= 0) & (found < self._length)]

    def describe(self) -> str:
        return (
            f"balanced({self._hash}, {self._of_block} classes of {self._of_class}, "
            f"length={self._length})"
        )

    def _place_of(self, sample: int) -> tuple[int, int]:
        """Where a sample is among the members, and the number of its class."""
        member = int((self._members == sample).argmax())
        [which] = np.flatnonzero(
            (self._start_of <= member) & (member < self._start_of + self._count_of)
        ).tolist()
        return member, which

    @functools.cached_property
    def _hash(self) -> str:
        parts = (part.astype("<i8", copy=False) for part in (self._counts, self._members))
        return fingerprint(*(part.view(np.uint8).data for part in parts))

    def _slots_of(self, shuffled: Indices, passes: Indices) -> Indices:
        """The slots that `_shuffled` gives for these passes; of one that none gives, any."""
        size = self._blocks_of_pass * self._of_block
        slots = np.empty_like(passes)
        at_once = max(1, _AT_ONCE // size)
        for part in (slice(i, i + at_once) for i in range(0, len(passes), at_once)):
            table = _shuffles(passes[part], size, self._seed)
            slots[part] = (table == shuffled[part, None]).argmax(axis=1)
        return slots

    def _shuffled(self, passes: Indices, slots: Indices) -> Indices:
        """The slots of passes, those of each pass shuffled."""
        if not passes.size:
            return slots
        size = self._blocks_of_pass * self._of_block
        first, last = int(passes.min()), int(passes.max())
        rows = np.arange(first, last + 1)
        if len(rows) > len(passes):  # not a run of steps
            rows, passes = np.unique(passes, return_inverse=True)
        else:
            passes = passes - first
        if size >= _LARGE:
            table = np.stack([_shuffle(row, size, self._seed) for row in rows.tolist()])
        else:
            table = _shuffles(rows, size, self._seed)
        shuffled: Indices = table.reshape(-1)[passes * size + slots]  # faster than by two indices
        return shuffled


def _shuffles(numbers: Indices, size: int, seed: int) -> Indices:
    return shuffled_rows(size, numbers, _word(seed))


@functools.lru_cache(maxsize=4)
def _shuffle(number: int, size: int, seed: int) -> Indices:
    """One of many classes is kept, as it takes much longer than a batch."""
    order: Indices = _shuffles(np.array([number]), size, seed)[0]
    return order


@functools.lru_cache(maxsize=256)
def _word(seed: int) -> np.uint64:
    key = np.random.SeedSequence(seed, spawn_key=(streams.BALANCED_BLOCKS,))
    word: np.uint64 = key.generate_state(1, np.uint64)[0]
    return word


def _classes(labels: npt.ArrayLike) -> Indices:
    """The labels as numbers of classes from 0 on."""
    try:
        checked: Array = np.asarray(labels)
    except ValueError as error:
        raise ArgumentError(f"labels must be one for each sample: {error}") from None
    if checked.dtype.kind not in "biufSU":
        raise bad_type("labels", labels, "an array of numbers or strings, one for each sample")
    if checked.ndim != 1 or not checked.size:
        remedy = "Of one-hot labels, pass labels.argmax(axis=1)." if checked.ndim == 2 else ""
        raise bad_value("labels", checked, "of shape (n,), one for each sample", remedy)
    if checked.dtype.kind == "f" and np.isnan(checked).any():
        first = int(np.isnan(checked).argmax())
        raise bad_value(f"labels[{first}]", float("nan"), "a class, and not nan")
    if checked.dtype.kind in "iub":
        # Of integers in a narrow range, this is faster than to sort them.
        least = int(checked.min())
        if int(checked.max()) - least < max(len(checked), _AT_MOST):
            offsets = checked.astype(np.int64) - least
            return (np.cumsum(np.bincount(offsets) > 0) - 1)[offsets]
    return np.unique(checked, return_inverse=True)[1]
