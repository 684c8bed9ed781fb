"""Balanced: blocks of classes and samples, and passes over both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr


def run_of(order, epochs):
    """The samples of so many epochs, one after the other."""
    return np.concatenate([order.indices(e, np.arange(len(order))) for e in range(epochs)])


@st.composite
def cases(draw):
    classes = draw(st.integers(1, 9))
    labels = [*range(classes), *draw(st.lists(st.integers(0, classes - 1), max_size=40))]
    of_block, of_class = draw(st.integers(1, classes)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**128 - 1))
    return np.array(draw(st.permutations(labels))), of_block, of_class, seed


@given(cases())
def test_each_block_has_so_many_classes_of_so_many_samples(case):
    labels, of_block, of_class, seed = case
    order = hr.Balanced(labels, of_block, of_class).order(len(labels), seed)
    count = np.bincount(labels)
    assert len(order) % (of_block * of_class) == 0
    for block in run_of(order, 3).reshape(-1, of_block, of_class):
        assert (labels[block] == labels[block][:, :1]).all()
        classes = labels[block][:, 0]
        assert len(set(classes.tolist())) == of_block
        for label, samples in zip(classes, block, strict=True):
            assert len(set(samples.tolist())) == min(of_class, count[label])


@given(cases())
def test_each_class_goes_through_its_samples_before_any_comes_again(case):
    labels, of_block, of_class, seed = case
    order = hr.Balanced(labels, of_block, of_class).order(len(labels), seed)
    run = run_of(order, 6)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        seen = run[labels[run] == label]
        whole = seen[: len(seen) // len(members) * len(members)].reshape(-1, len(members))
        assert (np.sort(whole, axis=1) == members).all()
        rest = seen[whole.size :].tolist()
        assert len(set(rest)) == len(rest)


@given(cases())
def test_classes_come_equally_often_up_to_any_block(case):
    """To one block's samples where classes_per_batch divides them, and two where it does not."""
    labels, of_block, of_class, seed = case
    order = hr.Balanced(labels, of_block, of_class).order(len(labels), seed)
    blocks = labels[run_of(order, 6)].reshape(-1, of_block * of_class)
    counts = np.cumsum([np.bincount(block, minlength=labels.max() + 1) for block in blocks], axis=0)
    spread = (counts.max(axis=1) - counts.min(axis=1)).max()
    divides = (labels.max() + 1) % of_block == 0
    assert spread <= of_class * (1 if divides else 2)


def test_batches_of_any_size_are_balanced_to_two_samples():
    labels = np.random.default_rng(0).choice(10, 5000, p=np.arange(1, 11) / 55)
    for batch_size in (7, 128):
        for batch in hr.Loader(labels, batch_size, shuffle=hr.Balanced(labels)):
            counts = np.bincount(batch, minlength=10)
            assert counts.max() - counts.min() <= 2


def test_many_classes_are_as_few_are():
    """Their shuffles are kept, which are made together otherwise."""
    labels = np.arange(5000) % 4500
    order = hr.Balanced(labels, 4500).order(5000, 1)
    assert len(np.unique(labels[order.indices(0, np.arange(4500))])) == 4500
    whole = order.indices(1, np.arange(9000))
    assert order.indices(1, np.array([8999, 3, 4500])).tolist() == whole[[8999, 3, 4500]].tolist()


def test_passes_and_epochs_have_orders_of_their_own():
    labels = np.zeros(50, int)
    order = hr.Balanced(labels, length=100).order(50, 0)
    passes = run_of(order, 4).reshape(8, 50)
    assert len({tuple(one) for one in passes.tolist()}) == 8
    first = run_of(hr.Balanced(np.arange(6)).order(6, 0), 20).reshape(20, 6)
    assert len({tuple(one) for one in first.tolist()}) > 15


def test_labels_are_what_tells_classes_apart():
    numbers = np.array([2, 0, 2, 0, 2, 9])
    orders = [
        hr.Balanced(labels).order(6, 3)
        for labels in (
            numbers,
            numbers.astype(float),
            numbers * 10**9,
            ["b", "a", "b", "a", "b", "c"],
        )
    ]
    assert len({order.describe() for order in orders}) == 1
    assert len({tuple(run_of(order, 2).tolist()) for order in orders}) == 1


def test_it_is_the_same_in_every_release():
    order = hr.Balanced(np.arange(40) % 7, 3, 2).order(40, 2**64)
    assert order.indices(5, np.arange(12)).tolist() == GOLDEN


def test_bad_arguments_are_named():
    for labels, message in (
        (np.eye(1), r"of shape \(n,\).*labels.argmax\(axis=1\)"),
        ([], r"of shape \(n,\)"),
        ([1.0, float("nan")], r"labels\[1\] must be a class, and not nan"),
    ):
        with pytest.raises(hr.ArgumentError, match=message):
            hr.Balanced(labels)
    with pytest.raises(hr.ArgumentTypeError, match="labels must be an array of numbers or strings"):
        hr.Balanced([None, None])
    with pytest.raises(hr.ArgumentError, match="classes_per_batch must be an int from 1 to 2"):
        hr.Balanced([0, 1], 3)
    with pytest.raises(hr.ArgumentError, match="as many as the samples, which are 3, but 2 were"):
        hr.Loader(np.arange(3), 1, shuffle=hr.Balanced([0, 1]))


GOLDEN = [9, 16, 27, 34, 28, 21, 39, 4, 38, 31, 13, 6]
