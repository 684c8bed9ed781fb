"""A view of a view is a reader like any other: its samples, and every law, are the same over it."""

import itertools
import json
import pickle

import numpy as np
import pytest
from batch_bytes import as_bytes
from executor_fixtures import all_of
from hypothesis import given
from hypothesis import strategies as st
from picklable import Numbers, shifted
from reading import read

import headrace as hr
from headrace.pytree import leaves, map_leaves
from headrace.readers.access import fingerprint_of

BATCH = 4


def numbers(first, n):
    """The same samples in memory, of which each part is read by itself."""
    number = np.arange(first, first + n)
    return number, (number[:, None] + [0.25, 0.5]).astype("float32")


@st.composite
def views(draw, depth=3):
    """A view and all its samples."""
    kind = draw(st.sampled_from(["source", "subset", "concat", "windows"])) if depth else "source"
    if kind == "source":
        first, n = draw(st.integers(0, 99)), draw(st.integers(1, 12))
        source = draw(st.sampled_from([Numbers, numbers]))
        return source(first, n), numbers(first, n)
    if kind == "concat":
        view, samples = draw(views(depth - 1))
        number = draw(st.integers(1, 3))
        return hr.Concat(*[view] * number), map_leaves(
            lambda x: np.concatenate([x] * number), samples
        )
    view, samples = draw(views(depth - 1))
    n = len(next(leaves(samples)))
    if kind == "subset":
        some = draw(
            st.lists(st.integers(0, n - 1), min_size=1, max_size=9)
            | st.builds(range, st.integers(0, n - 1), st.just(n), st.integers(1, 4))
        )
        return hr.Subset(view, some), map_leaves(lambda x: x[list(some)], samples)
    length, stride, rate, horizon = (draw(st.integers(least, 3)) for least in (1, 1, 1, 0))
    last = (length + horizon - 1) * rate
    if last >= n:
        return view, samples
    starts = np.arange(0, n - last, stride)
    rows = starts[:, None] + np.arange(length) * rate
    after = starts[:, None] + np.arange(length, length + horizon) * rate
    windows = map_leaves(lambda x: x[rows], samples)
    if not horizon:
        return hr.Windows(view, length, stride, rate), windows
    pairs = hr.Windows(view, length, stride, rate, targets=horizon)
    return pairs, (windows, map_leaves(lambda x: x[after], samples))


@pytest.mark.filterwarnings("ignore::headrace.ReadAmplificationWarning")
@given(views(), st.data())
def test_a_view_has_the_samples_that_numpy_has(both, data):
    view, samples = both
    view = hr.Subset(view, slice(None))
    n = len(next(leaves(samples)))
    assert len(view) == n
    indices = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=8)), np.int64)
    expected = as_bytes(map_leaves(lambda x: x[indices], samples))
    assert as_bytes(read(view, indices)) == expected
    copy = pickle.loads(pickle.dumps(view))
    assert fingerprint_of(copy) == fingerprint_of(view)
    if len(indices):
        loader = hr.Loader(hr.Subset(copy, indices), len(indices), shuffle=False)
        assert as_bytes(loader.batch(0, 0)) == expected


VIEWS = {
    "subset of concat": lambda: hr.Subset(
        (hr.Concat(Numbers(0, 20), Numbers(50, 13)), np.arange(33)), [*range(4, 32), 9, 9]
    ),
    "windows with targets of a subset": lambda: hr.Windows(
        hr.Subset(Numbers(0, 99), range(0, 90, 2)), 3, stride=2, targets=2, series=[20, 25]
    ),
    "fold of windows": lambda: hr.Subset(
        hr.Windows(numbers(0, 40), 4, targets=np.arange(37)), hr.folds(37, 4)[1].train
    ),
    "subset of packed rows": lambda: hr.Subset(
        hr.Packed(hr.RaggedArray(np.arange(120), np.array([0, 9, 9, 40, 41, 120])), 4, "always"),
        range(1, 30),
    ),
}


executors = all_of("Inline", "Threads", "Processes")


@pytest.mark.filterwarnings("ignore::headrace.ReadAmplificationWarning")
@pytest.mark.parametrize("shuffle", [True, hr.BlockShuffle(window=2)], ids=["full", "in blocks"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_loader_over_a_view_keeps_the_law(name, shuffle, executors):
    options = {"shuffle": shuffle, "seed": 5, "tail": "pad", "transform": shifted}

    def make(batch_size=BATCH, executor=None, **more):
        return hr.Loader(VIEWS[name](), batch_size, executor=executor, **options, **more)

    reference = make(executor=executors["Inline"])
    steps = len(reference)
    expected = [as_bytes(reference.batch(e, s)) for e in range(3) for s in range(steps)]
    for stop, executor in zip((0, steps // 2, steps + 1), executors.values(), strict=True):
        loader = make(executor=executor)
        assert [as_bytes(b) for b in itertools.islice(loader.stream(), stop)] == expected[:stop]
        state = json.loads(json.dumps(loader.state_dict()))
        resumed = make(executor=executor)
        resumed.load_state_dict(state)
        rest = len(expected) - stop
        assert [as_bytes(b) for b in itertools.islice(resumed.stream(), rest)] == expected[stop:]


@pytest.mark.filterwarnings("ignore::headrace.ReadAmplificationWarning")
@pytest.mark.parametrize("name", VIEWS)
def test_ranks_over_a_view_share_it_and_another_number_of_them_goes_on(name):
    def samples_of(ranks, count):
        batches = (next(rank.stream()) for _ in range(count) for rank in ranks)
        return [tuple(map(tuple, zip(*as_bytes(row), strict=True)))
                for batch in batches
                for row in (map_leaves(lambda x, i=i: x[i], batch)
                            for i in range(len(next(leaves(batch)))))]  # fmt: skip

    def make_ranks(world_size, batch_size):
        source = VIEWS[name]()
        options = {"world_size": world_size, "seed": 2, "executor": hr.Inline()}
        return [hr.Loader(source, batch_size, rank=r, **options) for r in range(world_size)]

    alone = samples_of(make_ranks(1, 1), 18)
    two = make_ranks(2, 3)
    seen = samples_of(two, 2)
    four = make_ranks(4, 1)
    for rank in four:
        rank.load_state_dict(two[0].state_dict())
    assert seen + samples_of(four, 1) == alone[:16]
