"""split and folds: disjoint, complete, proportional, and the same everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def parts_of(found, n):
    """The part of each sample, as its number, of parts that must be disjoint and complete."""
    part = np.full(n, -1)
    for number, indices in enumerate(found):
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()
        assert (part[indices] == -1).all()
        part[indices] = number
    assert (part >= 0).all()
    return part


def table(part, classes, k):
    """How many samples of each class each part has."""
    counts = np.zeros((classes.max() + 1, k), int)
    np.add.at(counts, (classes, part), 1)
    return counts


shares = st.lists(st.integers(1, 100), min_size=2, max_size=6).map(
    lambda weights: {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
)


@given(
    shares=shares,
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    seed=st.integers(0, 2**128 - 1),
)
def test_each_class_is_shared_out_to_one_sample_and_so_are_all(shares, sizes, seed):
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n, ideal = len(classes), np.array(list(shares.values()))
    try:
        found = hr.split(n, shares, seed, stratify=classes)
    except hr.ArgumentError:
        assert (n * ideal < 2).any()  # no sample is left for a part
        return
    assert list(found) == list(shares)
    counts = table(parts_of(found.values(), n), classes, len(shares))
    assert (abs(counts - counts.sum(axis=1)[:, None] * ideal) < 1).all()
    assert (abs(counts.sum(axis=0) - n * ideal) < 2).all()


@given(n=st.integers(2, 300), data=st.data())
def test_folds_are_equal_to_one_sample_and_each_is_left_out_once(n, data):
    k = data.draw(st.integers(2, min(n, 20)))
    classes = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    for stratify in (None, classes):
        found = hr.folds(n, k, stratify=stratify)
        for train, validation in found:
            parts_of([train, validation], n)
        sizes = np.bincount(parts_of([fold.validation for fold in found], n))
        assert sizes.max() - sizes.min() <= 1 + (stratify is not None)
    counts = table(parts_of([fold.validation for fold in found], n), classes, k)
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()


def test_sizes_are_exact_where_they_can_be():
    for n, shares, sizes in (
        (1000, SHARES, [800, 100, 100]),
        (100, {"a": 0.29, "b": 0.71}, [29, 71]),
        (3, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, [1, 1, 1]),
        (7, {"all": 1}, [7]),
    ):
        assert [len(part) for part in hr.split(n, shares).values()] == sizes


def test_small_classes_leave_samples_for_small_parts():
    """Three of each of 1000 classes: 2.4, 0.3, 0.3."""
    found = hr.split(3000, SHARES, stratify=np.arange(3000) % 1000)
    assert [len(part) for part in found.values()] == [2400, 300, 300]


def test_parts_are_drawn_and_another_seed_draws_others():
    first, second = (hr.split(1000, SHARES, seed)["test"] for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert 5 < len(np.intersect1d(first, second)) + 5 < 30
    assert 300 < np.mean(first) < 700


def test_parts_stay_what_they_are_in_every_version():
    """They name samples of runs that were made before: never to be changed."""
    shares = {"a": 0.7, "b": 0.3}

    def second(**options):
        return hr.split(20, shares, seed=7, **options)["b"].tolist()

    assert second() == [0, 4, 6, 14, 15, 18]
    assert second(stratify=[0] * 12 + [1] * 8) == [0, 2, 4, 6, 14, 15]
    assert second(groups=[i // 3 for i in range(20)]) == [6, 7, 8, 12, 13, 14]
    assert second(ids=[f"id-{i}" for i in range(20)]) == [2, 12, 16, 18]
    of_ids = hr.folds(6, 2, ids=["é", "日本", 7, "7", "\udcff", ""])
    assert of_ids[0].validation.tolist() == [2, 3]


# --- groups --------------------------------------------------------------------------------------


@given(
    shares=shares,
    sizes=st.lists(st.integers(1, 30), min_size=20, max_size=60),
    seed=st.integers(0, 2**32),
)
def test_no_group_is_in_two_parts_and_sizes_are_near(shares, sizes, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(groups)
    try:
        found = hr.split(n, shares, seed, groups=groups)
    except hr.ArgumentError:  # a group is larger than the smallest part
        assert n * min(shares.values()) < 2 * max(sizes)
        return
    part = parts_of(found.values(), n)
    assert (table(part, groups, len(shares)) > 0).sum(axis=1).max() == 1
    ideal = n * np.array(list(shares.values()))
    assert abs(np.bincount(part, minlength=len(shares)) - ideal).max() <= max(sizes)


def test_groups_by_name_with_classes_that_are_rare():
    rng = np.random.default_rng(0)
    groups = np.array([f"patient-{i}" for i in rng.integers(0, 200, 2000)])
    classes = np.where(rng.random(2000) < 0.1, "ill", "well")
    for train, validation in hr.folds(classes, 5, stratify=classes, groups=groups):
        assert not set(groups[train]) & set(groups[validation])
        assert abs(np.mean(classes[validation] == "ill") - np.mean(classes == "ill")) < 0.02
        assert abs(len(validation) - 400) < 20


# --- ids -----------------------------------------------------------------------------------------


def test_the_part_of_an_id_does_not_depend_on_the_others():
    ids = [f"id-{i}" for i in range(300)]
    found = hr.split(300, SHARES, 3, ids=ids)
    part_of = {ids[index]: name for name, indices in found.items() for index in indices}
    for others in (ids[::-1], ids[100:], [*map(str, range(200)), *ids]):
        again = hr.split(len(others), SHARES, 3, ids=others)
        for name, indices in again.items():
            assert {part_of.get(others[index], name) for index in indices} == {name}
    assert not np.array_equal(hr.split(300, SHARES, 4, ids=ids)["test"], found["test"])


def test_shares_of_ids_are_near():
    found = hr.split(10**4, SHARES, ids=range(10**4))
    parts_of(found.values(), 10**4)
    assert [round(len(part) / 10**4, 1) for part in found.values()] == [0.8, 0.1, 0.1]


def test_with_groups_the_group_decides_and_not_the_id():
    groups = [f"patient-{i // 5}" for i in range(1000)]
    found = hr.split(1000, SHARES, groups=groups, ids=range(1000))
    assert len({(groups[i], name) for name, part in found.items() for i in part}) == 200
    again = hr.split(500, SHARES, groups=groups[500:], ids=range(500))
    assert (again["test"] + 500).tolist() == [i for i in found["test"] if i >= 500]


# --- what is given -------------------------------------------------------------------------------


def test_labels_may_be_a_reader():
    labels = np.repeat([3, 5], [80, 20])
    found = hr.split(hr.Labels(labels), SHARES, stratify=hr.Labels(labels))
    assert [np.bincount(labels[part])[[3, 5]].tolist() for part in found.values()] == [
        [64, 16], [8, 2], [8, 2]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((0, SHARES), {}, "n must be an int from 1"),
        (((np.zeros(9), np.zeros(9)), SHARES), {}, r"n must be .* Of a source, pass len\(x\)"),
        ((9, [0.5, 0.5]), {}, "shares must be a dict of the share"),
        ((9, {"a": 0.5, "b": 0.6}), {}, "shares must be numbers above 0 that add up to 1"),
        ((9, {"a": 1.5, "b": -0.5}), {}, "shares must be numbers above 0"),
        ((9, {"a": "x", "b": 1}), {}, "shares must be a dict of numbers"),
        ((4, SHARES), {}, "'test' with 0.1 of 4 samples has none"),
        ((9, SHARES, -1), {}, "seed must be"),
        ((9, SHARES), {"stratify": [1, 2]}, "stratify must have one for each of the 9.*has 2"),
        ((9, SHARES), {"groups": np.zeros((9, 2))}, "groups must be one number or string"),
        ((9, SHARES), {"ids": "abcdefghi"}, "ids must be an iterable of ids"),
        ((9, SHARES), {"ids": range(9), "stratify": [0] * 9}, "stratify must be left out with ids"),
        ((9, SHARES), {"stratify": hr.Labels([0] * 9, n_classes=1)}, "Leave n_classes out"),
        ((2, SHARES), {"groups": np.array([1, "a"], object)}, "groups must be all numbers, or all"),
    ],
)
def test_what_can_not_be_divided_is_refused_by_name(arguments, options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.split(*arguments, **options)


@pytest.mark.parametrize("k", [1, 10, 2.5])
def test_bad_numbers_of_folds_are_refused(k):
    with pytest.raises((ValueError, TypeError), match="k must be"):
        hr.folds(9, k)


# --- scikit-learn's are the oracle ---------------------------------------------------------------


def test_groups_are_as_even_as_scikit_learns():
    selection = pytest.importorskip("sklearn.model_selection", reason="needs scikit-learn")
    rng = np.random.default_rng(1)
    for seed in range(10):
        groups = rng.zipf(1.6, 2000) % 300
        classes = (rng.random(2000) < 0.2).astype(int)

        def off(folds, groups=groups, classes=classes):
            part = parts_of(folds, len(groups))
            assert (table(part, groups, 5) > 0).sum(axis=1).max() == 1
            counts = table(part, classes, 5)
            return abs(counts / counts.sum(axis=1)[:, None] - 0.2).max()

        theirs = selection.StratifiedGroupKFold(5).split(classes, classes, groups)
        ours = hr.folds(2000, 5, seed, stratify=classes, groups=groups)
        assert off([fold.validation for fold in ours]) <= off([test for _, test in theirs]) + 0.02
