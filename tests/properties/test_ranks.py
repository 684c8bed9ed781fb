"""Any number of ranks: equal steps, every sample once, and going on with another number of them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.sampling.keys import Place

worlds = st.integers(1, 64)
seeds = st.integers(0, 2**64)
tails = st.sampled_from(["drop", "partial", "pad"])


def samplers(n, batch_size, world_size, tail, **options):
    """One for each rank, or none where "partial" would leave a rank without a sample."""
    if tail == "partial" and 0 < n % (batch_size * world_size) < world_size:
        with pytest.raises(ValueError, match="leave a rank with an empty batch"):
            hr.BatchSampler(n, batch_size, tail=tail, world_size=world_size)
        return []
    return [
        hr.BatchSampler(n, batch_size, tail=tail, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


@given(st.integers(1, 2**40), st.integers(1, 2**12), worlds, tails, st.data())
def test_every_rank_has_the_same_steps(n, batch_size, world_size, tail, data):
    ranks = samplers(n, batch_size, world_size, tail)
    assert len({len(sampler) for sampler in ranks}) <= 1
    if not ranks or not len(ranks[0]):
        return
    # As the last step can be made on each, none has fewer batches than it says.
    places = {sampler.key(0, len(sampler) - 1).place for sampler in ranks}
    assert len(places) == 1
    full = n // (batch_size * world_size)
    step = data.draw(st.integers(0, len(ranks[0]) - 1))
    sizes = {len(sampler.indices(0, step)) for sampler in ranks}
    if step < full or tail == "pad":
        assert sizes == {batch_size}
    else:
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 400), st.integers(1, 9), worlds, tails, st.integers(0, 400))
def test_every_rank_has_the_same_steps_left_from_any_place(n, batch_size, world_size, tail, start):
    ranks = samplers(n, batch_size, world_size, tail)
    left = n - min(start, n)
    if tail == "partial" and 0 < left % (batch_size * world_size) < world_size:
        return  # such a place is refused
    steps = [[key.step for key in sampler.keys(Place(1, n - left))] for sampler in ranks]
    assert all(rank == steps[0] for rank in steps)


@given(st.integers(1, 300), st.integers(1, 9), worlds, st.sampled_from(["partial", "pad"]), seeds)
def test_evaluation_counts_every_sample_once(n, batch_size, world_size, tail, seed):
    values = np.random.default_rng(seed).integers(0, 1000, n)
    total, weight, seen = 0.0, 0.0, []
    for sampler in samplers(n, batch_size, world_size, tail, seed=seed):
        loader = hr.Loader(
            (np.arange(n), values),
            batch_size,
            seed=seed,
            tail=tail,
            rank=sampler.rank,
            world_size=world_size,
            executor=hr.Inline(),
        )
        for number, value, *padding in loader:
            (weights,) = padding or [np.ones(len(number))]
            seen += number[weights > 0].tolist()
            total += float((value * weights).sum())
            weight += float(weights.sum())
    if seen or tail == "pad":
        assert sorted(seen) == list(range(n))
        assert (total, weight) == (values.sum(), n)


class Run:
    """A training run of several processes, played one after the other, from a state."""

    def __init__(self, n, seed, batch_size, world_size, tail, state):
        self.ranks = [
            hr.Loader(
                np.arange(n),
                batch_size,
                seed=seed,
                tail=tail,
                rank=rank,
                world_size=world_size,
                transform=_pair if tail != "pad" else None,
                executor=hr.Inline(),
            )
            for rank in range(world_size)
        ]
        if state is not None:
            for loader in self.ranks:
                loader.load_state_dict(json.loads(state))

    def steps(self, count):
        """(epoch, sample) of what counts in the next `count` steps, in the order of the ranks."""
        seen = []
        for _ in range(count):
            epochs = {loader.epoch for loader in self.ranks}
            assert len(epochs) == 1
            (epoch,) = epochs
            for loader in self.ranks:
                numbers, weights = next(loader.stream())
                seen += [(epoch, number) for number in numbers[weights > 0].tolist()]
        return seen

    def state(self):
        """That of rank 0, as JSON; those of all ranks are the same."""
        states = {json.dumps(loader.state_dict()) for loader in self.ranks}
        assert len(states) == 1
        return states.pop()


def _pair(batch, rng):
    return batch, np.ones(len(batch))


def whole_order(n, seed, epochs):
    sampler = hr.BatchSampler(n, n, seed=seed)
    return [(epoch, i) for epoch in range(epochs) for i in sampler.indices(epoch, 0).tolist()]


@pytest.mark.filterwarnings("ignore:an epoch of .* has no step")
@given(
    n=st.integers(60, 300),
    seed=seeds,
    tail=tails,
    legs=st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 4, 7, 8]), st.integers(1, 7), st.integers(0, 6)),
        min_size=2,
        max_size=5,
    ),
)
def test_a_run_goes_on_with_other_numbers_of_ranks_and_batch_sizes(n, seed, tail, legs):
    state, seen = None, []
    for world_size, batch_size, count in legs:
        try:
            run = Run(n, seed, batch_size, world_size, tail, state)
        except ValueError:  # refused before anything moved, so go on with one rank
            if tail != "partial":
                raise
            run = Run(n, seed, batch_size, 1, tail, state)
        seen += run.steps(count)
        state = run.state()
    epochs = json.loads(state)["epoch"] + 1
    order = whole_order(n, seed, epochs)
    if tail != "drop":
        assert seen == order[: len(seen)]  # in order, none lost, none repeated
        return
    for epoch in range(epochs):
        part = [sample for e, sample in seen if e == epoch]
        expected = [sample for e, sample in order if e == epoch]
        assert part == expected[: len(part)]
        if epoch < epochs - 1:  # only what did not fill a global batch is left out, once
            assert len(expected) - len(part) < 7 * 8


@given(
    seed=seeds,
    epoch=st.integers(0, 2**40),
    step=st.integers(0, 10**12 // (128 * 16384) - 1),
    ranks=st.sets(st.integers(0, 16383), min_size=2, max_size=6),
)
def test_ranks_of_a_huge_world_are_disjoint_and_within_the_data(seed, epoch, step, ranks):
    n, batch_size, world_size = 10**12, 128, 16384
    batches = [
        hr.BatchSampler(n, batch_size, seed=seed, rank=rank, world_size=world_size).indices(
            epoch, step
        )
        for rank in sorted(ranks)
    ]
    numbers = np.concatenate(batches)
    assert len(np.unique(numbers)) == len(numbers) == batch_size * len(ranks)
    assert numbers.min() >= 0
    assert numbers.max() < n
    # They are the positions of the ranks in the epoch's one order, which a lone rank sees, too.
    lone = hr.BatchSampler(n, batch_size, seed=seed)
    alone = [lone.indices(epoch, step * world_size + rank) for rank in sorted(ranks)]
    assert numbers.tolist() == np.concatenate(alone).tolist()
