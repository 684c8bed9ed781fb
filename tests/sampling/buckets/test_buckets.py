"""Buckets: batches of one rung on all ranks, each sample once, and equal steps."""

import collections
import itertools
import json
import warnings

import numpy as np
import pytest
from datasets_by_number import SomeBad
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.sampling.buckets.ladder import check_ladder
from headrace.sampling.keys import Place

LADDER = [2, 5, 9]


@st.composite
def worlds(draw, tails=("drop", "partial", "pad")):
    """The samplers of all ranks, and the lengths that they are of."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=80))
    sizes = draw(st.lists(st.integers(1, 6), min_size=3, max_size=3))
    world_size, tail = draw(st.integers(1, 5)), draw(st.sampled_from(tails))
    buckets = hr.Buckets(lengths, LADDER, batch_sizes=sizes, shuffle=draw(st.booleans()))
    options = {"shuffle": buckets, "seed": draw(st.integers(0, 2**64)), "tail": tail}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some rungs fill no batch
            ranks = [
                hr.BatchSampler(
                    len(lengths), max(sizes), rank=rank, world_size=world_size, **options
                )
                for rank in range(world_size)
            ]
    except hr.ArgumentError:  # a rank would be left with an empty batch
        counts = np.bincount(np.searchsorted(LADDER, lengths), minlength=3)
        together = np.array(sizes) * world_size
        assert tail == "partial"
        assert any(0 < left < world_size for left in counts % together)
        return lengths, sizes, []
    return lengths, sizes, ranks


def rungs_of(lengths, indices):
    return set(np.searchsorted(LADDER, np.array(lengths)[indices]).tolist())


@given(worlds(), st.integers(0, 3))
def test_all_ranks_are_in_one_rung_at_each_step_and_samples_come_once(world, epoch):
    lengths, sizes, ranks = world
    if not ranks:
        return
    assert len({len(sampler) for sampler in ranks}) == 1
    seen = collections.Counter()
    for step in range(len(ranks[0])):
        keys = [sampler.key(epoch, step) for sampler in ranks]
        [rung] = set.union(*(rungs_of(lengths, key.indices) for key in keys))
        tail = ranks[0].tail
        assert all(0 < len(key.indices) <= sizes[rung] for key in keys)
        if tail != "partial":
            assert all(len(key.indices) == sizes[rung] for key in keys)
        for key in keys:
            seen.update(key.indices[: key.n_valid].tolist())
    assert set(seen.values()) <= {1}
    left_out = set(range(len(lengths))) - set(seen)
    if ranks[0].tail != "drop":
        assert left_out == set()
    for rung, size in enumerate(sizes):
        of_rung = [s for s in left_out if rungs_of(lengths, [s]) == {rung}]
        assert len(of_rung) < size * len(ranks)


@given(worlds(), st.integers(0, 3))
def test_find_inverts_the_batches(world, epoch):
    lengths, _, ranks = world
    if not ranks:
        return
    expected = collections.defaultdict(list)
    for step, (rank, sampler) in itertools.product(range(len(ranks[0])), enumerate(ranks)):
        key = sampler.key(epoch, step)
        for row, index in enumerate(key.indices[: key.n_valid].tolist()):
            expected[index].append((step, rank, row))
    for sample in range(len(lengths)):
        assert ranks[0].find(sample, epoch) == expected[sample]


@given(worlds(tails=("pad", "drop")), st.data())
def test_runs_of_steps_are_the_same_as_single_ones(world, data):
    _, _, ranks = world
    sampler = ranks[-1]
    if not len(sampler):
        return
    start = data.draw(st.integers(0, len(sampler) - 1))
    place = Place(1, start * sampler.global_batch_size)
    keys = list(sampler.keys(place))
    assert len(keys) == len(sampler) - start
    for key in keys:
        assert key.indices.tolist() == sampler.indices(1, key.step).tolist()


LENGTHS = [index * 7 % 10 for index in range(64)]


def loader(batch_size=4, world_size=1, sizes=(4, 2, 2), **options):
    buckets = hr.Buckets(LENGTHS, LADDER, batch_sizes=sizes)
    options = {"tail": "pad", "executor": hr.Inline(), "world_size": world_size, **options}
    return hr.Loader(np.arange(64), batch_size, shuffle=buckets, **options)


@given(worlds())
def test_sizes_are_those_of_the_steps(world):
    _, _, ranks = world
    steps = zip(*(rank.keys(Place(0, 0)) for rank in ranks), strict=True)
    found = {sum(len(key.indices) for key in step) for step in steps}
    if ranks:
        full, left = ranks[0].sizes()
        assert found == {*full, *(left if ranks[0].tail == "partial" else [])}


def test_epochs_differ_in_batches_and_in_the_order_of_rungs():
    sampler = loader().sampler
    epochs = [[sampler.indices(epoch, step) for step in range(len(sampler))] for epoch in (0, 1)]
    rungs = [[min(rungs_of(LENGTHS, batch)) for batch in epoch] for epoch in epochs]
    assert sorted(rungs[0]) == sorted(rungs[1])
    assert rungs[0] != rungs[1]
    batches = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert len(batches[0] & batches[1]) < len(batches[0]) / 2


def test_without_shuffle_rungs_come_in_order():
    buckets = hr.Buckets(LENGTHS, LADDER, shuffle=False)
    batches = list(hr.Loader(np.array(LENGTHS), 5, shuffle=buckets, tail="partial"))
    assert [int(batch.max()) for batch in batches] == sorted(int(batch.max()) for batch in batches)


def test_max_tokens_counts_padding():
    buckets = hr.Buckets(LENGTHS, LADDER, max_tokens=20)
    sampler = hr.BatchSampler(64, 100, buckets, tail="pad")
    sizes = {
        min(rungs_of(LENGTHS, sampler.indices(0, step))): len(sampler.indices(0, step))
        for step in range(len(sampler))
    }
    assert sizes == {0: 10, 1: 4, 2: 2}
    small = hr.BatchSampler(64, 3, buckets, tail="pad")
    assert max(len(small.indices(0, step)) for step in range(len(small))) == 3


def test_a_state_goes_on_with_other_ranks_at_the_beginning_of_an_epoch():
    first = loader()
    list(first)
    state = json.loads(json.dumps(first.state_dict()))
    for rank in range(2):
        other = loader(world_size=2, rank=rank)
        other.load_state_dict(state)
        assert other.place == (1, 0)


def test_within_an_epoch_it_goes_on_where_global_batches_are_the_same():
    first = loader(batch_size=4, world_size=1)
    passed = iter(first)
    next(passed)
    state = first.state_dict()
    halves = [loader(batch_size=2, world_size=2, rank=rank, sizes=(2, 1, 1)) for rank in range(2)]
    for half in halves:
        half.load_state_dict(state)
    for batch, parts in zip(passed, zip(*halves, strict=True), strict=True):
        joined = np.concatenate([samples for samples, _ in parts])
        assert joined.tolist() == batch[0].tolist()


@pytest.mark.parametrize(
    "other",
    [{"world_size": 2}, {"sizes": (4, 4, 2)}, {"tail": "drop"}, {"batch_size": 8}],
    ids=str,
)
def test_within_an_epoch_other_batches_are_refused(other):
    first = loader()
    next(iter(first))
    with pytest.raises(hr.StateError, match=r"steps.*Within an epoch.*batch_size \* world_size"):
        loader(**other).load_state_dict(first.state_dict())


def test_a_state_of_other_lengths_or_within_a_step_is_refused():
    first = loader()
    next(iter(first))
    state = first.state_dict()
    others = hr.Buckets([*LENGTHS[1:], 9], LADDER, batch_sizes=[4, 2, 2])
    with pytest.raises(hr.StateError, match="order") as caught:
        hr.Loader(np.arange(64), 4, shuffle=others, tail="pad").load_state_dict(state)
    assert "Within an epoch" not in str(caught.value)
    with pytest.raises(hr.StateError, match="where a step begins"):
        loader().load_state_dict(state | {"position": 3})


def test_skipped_steps_are_left_out():
    whole, cut = loader(), loader(skip=[(0, 1, 2)])
    steps = [step for step in range(len(whole)) if step not in (1, 2)]
    expected = [whole.batch(0, step)[0].tolist() for step in steps]
    assert [batch[0].tolist() for batch in cut] == expected
    gone = int(whole.indices(0, 1)[0])
    assert (whole.find(gone, 0), cut.find(gone, 0)) == ([(1, 0, 0)], [])


def test_the_order_has_samples_at_the_positions_of_its_batches():
    order = loader().sampler.order
    step = next(s for s in range(20) if len(order.batches(0, range(s, s + 1), 0)[0][0]) == 2)
    [(batch, _)] = order.batches(0, range(step, step + 1), 0)
    assert order.indices(0, np.array([[4 * step], [4 * step + 1]])).tolist() == [
        [int(sample)] for sample in batch
    ]
    with pytest.raises(hr.ArgumentError, match="has no sample"):
        order.indices(0, np.array([4 * step + 2]))


def test_rungs_that_never_fill_a_batch_are_warned_of():
    buckets = hr.Buckets([1] * 8 + [9] * 3, LADDER)
    with pytest.warns(UserWarning, match="3 of up to 9"):
        hr.BatchSampler(11, 4, buckets, tail="drop")


@pytest.mark.parametrize(
    ("lengths", "ladder", "options", "said"),
    [
        ([1, 2], [4, 2], {}, "ladder must be ascending"),
        ([1, 2], [], {}, "ladder must be ascending"),
        ([1, 2], [0, 2], {}, r"ladder\[0\]"),
        ([1, 2], "12", {}, "a list of ints"),
        ([1.0], [2], {}, "lengths must be ints"),
        ([[1]], [2], {}, "lengths must be ints"),
        (np.ma.masked_equal([1, 2], 2), [2], {}, "lengths must be ints"),
        (None, [2], {}, "None.*does not tell them: count them once"),
        ({"x": np.array([1]), "y": None}, [2], {}, "those of one part, such as .*'x'"),
        ((np.array([1]), None), [2], {}, r"those of one part, such as .*\[0\]"),
        ([1, -2], [2], {}, "-2 for sample 1"),
        ([1, 7, 8], [2, 4], {}, "7 for sample 1"),
        ([1], [2, 4], {"batch_sizes": [1]}, "one for each of the 2 rungs"),
        ([1], [2], {"batch_sizes": 8}, "a sequence of ints"),
        ([1], [2], {"batch_sizes": [0]}, r"batch_sizes\[0\]"),
        ([1], [2], {"batch_sizes": [1], "max_tokens": 4}, "left out with batch_sizes"),
        ([1], [2, 4], {"max_tokens": 3}, "max_tokens must be at least 4, the last rung"),
        ([1], [2, 4], {"max_tokens": 4.0}, "max_tokens must be an int"),
        ([1], [2], {"shuffle": 1}, "shuffle"),
    ],
)
def test_arguments_that_are_not_allowed_are_named(lengths, ladder, options, said):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError), match=said):
        hr.Buckets(lengths, ladder, **options)


def test_a_loader_that_does_not_fit_is_refused():
    buckets = hr.Buckets(LENGTHS, LADDER, batch_sizes=[8, 4, 2])
    with pytest.raises(hr.ArgumentError, match="which are 10, but 64"):
        hr.BatchSampler(10, 8, buckets)
    with pytest.raises(hr.ArgumentError, match="at least the largest of batch_sizes, 8"):
        hr.BatchSampler(64, 4, buckets)
    with pytest.raises(hr.ArgumentError, match="part of another sampling"):
        buckets.order(64, 0, None)


@pytest.mark.filterwarnings("ignore::headrace.BadSampleWarning")
@pytest.mark.parametrize("executor", [hr.Threads(2), hr.Processes(1)], ids=["threads", "processes"])
def test_a_bad_sample_is_replaced_by_one_of_its_rung(executor):
    # Else its batch would be padded to another rung, and be larger than max_tokens.
    rungs = np.searchsorted(LADDER, LENGTHS)
    bad = [int((rungs == rung).argmax()) for rung in range(3)]
    reader = hr.GetItem(SomeBad(LENGTHS, bad), spec=hr.Spec((None,), "int64"))
    loader = hr.Loader(
        reader,
        8,
        shuffle=hr.Buckets(LENGTHS, LADDER, max_tokens=LADDER[-1]),
        transform=hr.pad(ladder=LADDER),
        tail="partial",
        on_error="replace",
        max_bad_samples=3,
        executor=executor,
    )
    with loader:
        assert all(batch.size <= LADDER[-1] for batch in loader)
        found = loader.bad_samples
    executor.close()
    assert {each.index for each in found} == set(bad)
    assert all(rungs[each.index] == rungs[each.substitute] for each in found)


def test_the_only_sample_of_a_rung_has_no_substitute():
    lengths = np.minimum(LENGTHS, LADDER[-2])
    lengths[3] = LADDER[-1]
    reader = hr.GetItem(SomeBad(LENGTHS, [3]), spec=hr.Spec((None,), "int64"))
    options = {"tail": "partial", "on_error": "replace", "max_bad_samples": 1}
    loader = hr.Loader(reader, 4, shuffle=hr.Buckets(lengths, LADDER), **options)
    with pytest.raises(hr.SampleFormatError, match="sample 3 is bad") as caught:
        list(loader)
    assert any("of its rung, class or source" in note for note in caught.value.__notes__)


def test_a_loader_without_steps_names_the_samples_that_there_are():
    with pytest.warns(UserWarning, match="an epoch of 3 samples has no step"):
        hr.Loader(np.arange(3), 4, shuffle=hr.Buckets([1, 1, 2], LADDER))


def test_ladders_may_be_arrays():
    assert check_ladder(np.array([2, 4])) == [2, 4]
