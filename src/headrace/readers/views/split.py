"""split and folds: which samples are for training and which for validation, as indices.

Requires numpy alone. Promises parts that are disjoint and complete, and the same on every machine
and with every version of numpy: they come from raw bits of PCG64 and from BLAKE2b, both of which
are fixed for ever, and not from numpy's own shuffles, which may change.

- Of numbers of samples, the sizes are exact. In each class every part has its share, rounded up or
  down; where it could be either, the part that has been given least so far gets one more. (That is
  controlled rounding; always giving to the largest remainder would leave the small parts without
  any sample of many small classes.)
- Of ids, the part is where the hash of the id lies among the shares. Then the sizes are only
  expected ones, and an id stays in its part when others are added.
- Groups are never divided. They go, large ones first, each to the part that lacks most of its
  classes: a greedy way that brings the squares of what is lacking down most.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sized
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arguments import MAX_SAMPLES, check_ids, check_int, check_seed
from headrace.arrays import Array, Indices
from headrace.errors import ArgumentError, bad_type, bad_value
from headrace.readers.reader import Reader, Spec
from headrace.readers.views.random_keys import random_keys

Shares: TypeAlias = Mapping[str, float]
# Of each sample, a class or a group: in an array, or a reader of a number each, such as `Labels`.
PerSample: TypeAlias = npt.ArrayLike | Reader

_LEAST_SUM, _MOST_SUM = 1 - 1e-9, 1 + 1e-9


class Fold(NamedTuple):
    """The samples of one of k folds, and all others, both sorted, int64."""

    train: Indices
    validation: Indices


def split(
    n: int | Sized,
    shares: Shares,
    seed: int = 0,
    *,
    stratify: PerSample | None = None,
    groups: PerSample | None = None,
    ids: Iterable[str | int] | None = None,
) -> dict[str, Indices]:
    """Divides samples into parts, such as for training, validation and test.

    Each sample is in one part. Give the indices to `Subset`.

    Args:
        n: the number of samples, or something as long, such as a reader or an array of labels.
        shares: of each part, by its name: numbers above 0 that add up to 1.
        seed: another one divides otherwise; 0 to 2**128 - 1.
        stratify: the class of each sample. Every part then has its share of each class, to one
            sample.
        groups: the group of each sample, such as its patient. No group is then in two parts, and
            sizes and classes are as near to the shares as groups allow.
        ids: of the samples. The part of a sample then depends on its id, the seed and the shares
            alone, so that it stays where it is when samples are added or taken away. Sizes are
            near to the shares, by chance. With `groups`, it depends on the group in place of the
            id. Not together with `stratify`.

    Returns:
        For each part its samples: int64, sorted.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed, or
            a part would have no sample.

    Example:
        >>> import headrace as hr
        >>> labels = [0] * 80 + [1] * 20
        >>> parts = hr.split(100, {"train": 0.8, "validation": 0.1, "test": 0.1}, stratify=labels)
        >>> {name: len(indices) for name, indices in parts.items()}
        {'train': 80, 'validation': 10, 'test': 10}
        >>> sum(labels[index] for index in parts["test"])
        2
    """
    names, wanted = _check_shares(shares)
    parts = _parts(n, wanted, seed, stratify, groups, ids)
    found = {name: np.flatnonzero(parts == part) for part, name in enumerate(names)}
    for name, indices in found.items():
        if not len(indices):
            raise ArgumentError(
                f"shares must leave samples for all parts, but {name!r} with {shares[name]} of "
                f"{len(parts)} samples has none."
            )
    return found


def folds(
    n: int | Sized,
    k: int,
    seed: int = 0,
    *,
    stratify: PerSample | None = None,
    groups: PerSample | None = None,
    ids: Iterable[str | int] | None = None,
) -> list[Fold]:
    """Divides samples into k folds, for cross-validation: each is left out of training once.

    Args:
        n: the number of samples, or something as long, such as a reader or an array of labels.
        k: the number of folds, from 2.
        seed, stratify, groups, ids: as in `split`, with a share of 1 / k for each.

    Returns:
        For each fold the samples to train on, and those to validate with: int64, sorted.

    Raises:
        ArgumentError, ArgumentTypeError: (a ValueError, a TypeError) an argument is not allowed, or
            a fold would have no sample.

    Example:
        >>> import headrace as hr
        >>> for train, validation in hr.folds(6, k=3):
        ...     print(len(train), len(validation))
        4 2
        4 2
        4 2
    """
    k = check_int("k", k, 2, 2**31)
    parts = _parts(n, np.full(k, 1 / k), seed, stratify, groups, ids)
    sizes = np.bincount(parts, minlength=k)
    if not sizes.all():
        raise bad_value("k", k, f"such that each fold has a sample, of {len(parts)} that there are")
    return [Fold(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in range(k)]


def part_of_ids(ids: Iterable[str | int], part: str, shares: Shares, seed: int) -> Indices:
    """The samples of one part, by their ids alone, as `split` has them."""
    names, wanted = _check_shares(shares)
    if part not in names:
        raise bad_value("split", part, f"one of {', '.join(map(repr, names))}")
    return np.flatnonzero(_by_hash(check_ids(ids), wanted, check_seed(seed)) == names.index(part))


def _parts(
    n: int | Sized,
    shares: Array,
    seed: int,
    stratify: PerSample | None,
    groups: PerSample | None,
    ids: Iterable[str | int] | None,
) -> Array:
    """The part of each sample, as its number."""
    n, seed = _check_n(n), check_seed(seed)
    if ids is not None:
        if stratify is not None:
            raise ArgumentError(
                "stratify must be left out with ids, as a class that gets new samples would have "
                "to move others to another part."
            )
        names = check_ids(ids)
        _check_length("ids", names, n)
        if groups is not None:
            names = _per_sample("groups", groups, n).tolist()
        return _by_hash(names, shares, seed)
    classes = np.zeros(n, np.intp) if stratify is None else _numbered("stratify", stratify, n)
    if groups is not None:
        return _by_group(classes, _numbered("groups", groups, n), shares, seed)
    return _by_class(classes, shares, random_keys(n, "split", seed))


def _by_hash(names: list[object], shares: Array, seed: int) -> Array:
    """Where the keyed hash of each name lies among the shares."""
    key = seed.to_bytes(16, "little")
    hashes = b"".join(
        hashlib.blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        for name in names
    )
    points = np.frombuffer(hashes, "<u8") / 2.0**64
    ends = np.cumsum(shares)
    ends[-1] = np.inf
    return ends.searchsorted(points, side="right")


def _by_class(classes: Array, shares: Array, keys: Array) -> Array:
    """Of each class the first samples in the order of their keys are the first part, and so on."""
    counts = _shared_out(np.bincount(classes), shares)
    parts = np.empty(len(classes), np.intp)
    numbers = np.tile(np.arange(len(shares)), len(counts))
    parts[np.lexsort((keys, classes))] = np.repeat(numbers, counts.reshape(-1))
    return parts


def _shared_out(sizes: Array, shares: Array) -> Array:
    """How many samples of each class each part gets; shape (classes, parts)."""
    ideal = sizes[:, None] * shares
    near = np.round(ideal)
    ideal = np.where(np.abs(ideal - near) < 1e-6, near, ideal)  # 0.29 * 100 is meant to be 29
    counts: Array = np.floor(ideal).astype(np.int64)
    owed = np.zeros(len(shares))
    for ideal_of, counts_of, size in zip(ideal, counts, sizes.tolist(), strict=True):
        owed += ideal_of - counts_of
        left = size - int(counts_of.sum())
        if left:
            may_get = np.where(ideal_of > counts_of, owed, -np.inf)
            chosen = np.argsort(-may_get, kind="stable")[:left]
            counts_of[chosen] += 1
            owed[chosen] -= 1
    return counts


def _by_group(classes: Array, groups: Array, shares: Array, seed: int) -> Array:
    """Whole groups, each to the part that lacks most of what it has."""
    n_groups, n_classes = int(groups.max()) + 1, int(classes.max()) + 1
    # The classes that each group has, and its share of each: every class counts alike.
    pairs, counts = np.unique(groups * n_classes + classes, return_counts=True)
    of_group, class_of = np.divmod(pairs, n_classes)
    held = counts / np.bincount(classes)[class_of]
    bounds = of_group.searchsorted(np.arange(n_groups + 1)).tolist()
    # Those of about the same size in random order.
    sizes = np.floor(np.log2(np.bincount(groups)))
    order = np.lexsort((random_keys(n_groups, "split", seed), -sizes))
    lacking = np.repeat(shares[:, None], n_classes, axis=1)
    part_of = np.empty(n_groups, np.intp)
    for group in order.tolist():
        these = slice(bounds[group], bounds[group + 1])
        # What brings the sum of the squares of all that is lacking down most.
        part = part_of[group] = (lacking[:, class_of[these]] @ held[these]).argmax()
        lacking[part, class_of[these]] -= held[these]
    parts: Array = part_of[groups]
    return parts


def _check_n(n: int | Sized) -> int:
    if isinstance(n, Sized):
        if isinstance(n, tuple | Mapping | str | bytes):
            raise bad_type(
                "n",
                n,
                "a number of samples, or a reader or array of them",
                "Of a source, pass len(x).",
            )
        n = len(n)
    return check_int("n", n, 1, MAX_SAMPLES)


def _check_shares(shares: Shares) -> tuple[list[str], Array]:
    if not isinstance(shares, Mapping):
        raise bad_type("shares", shares, "a dict of the share of each part, by its name")
    names = list(shares)
    allowed = "numbers above 0 that add up to 1"
    try:
        values = np.array([float(shares[name]) for name in names])
    except (TypeError, ValueError):
        raise bad_type("shares", shares, f"a dict of {allowed}") from None
    if not (values > 0).all() or not _LEAST_SUM <= values.sum() <= _MOST_SUM:
        raise bad_value("shares", dict(shares), allowed)
    return names, values


def _numbered(argument: str, values: PerSample, n: int) -> Array:
    """The classes or groups of samples, as ints from 0."""
    try:
        numbers: Array = np.unique(_per_sample(argument, values, n), return_inverse=True)[1]
        return numbers.reshape(-1)
    except TypeError:
        raise bad_type(argument, values, "all numbers, or all strings") from None


def _per_sample(argument: str, values: Any, n: int) -> Array:
    array: Array
    if isinstance(values, Reader) and not isinstance(values, np.ndarray):
        if not isinstance(values.spec, Spec) or values.spec.shape:
            remedy = "Leave n_classes out."
            raise bad_value(argument, values, "a reader of one number for each sample", remedy)
        _check_length(argument, values, n)
        array = np.empty(n, values.spec.dtype)
        values.read(np.arange(n), array)
        return array
    array = np.asarray(values if hasattr(values, "__array__") else check_ids(values, argument))
    if array.ndim != 1:
        raise bad_value(argument, values, "one number or string for each sample")
    _check_length(argument, array, n)
    return array


def _check_length(argument: str, values: Sized, n: int) -> None:
    if len(values) != n:
        raise ArgumentError(
            f"{argument} must have one for each of the {n} samples, but has {len(values)}."
        )
