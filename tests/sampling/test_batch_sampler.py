"""The arithmetic of epochs, steps, ranks and tails."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twice import Twice

import headrace as hr
from headrace.sampling.keys import Place
from headrace.sampling.order import order_of

sizes = st.integers(1, 200)
batch_sizes = st.integers(1, 20)
worlds = st.integers(1, 8)
seeds = st.integers(0, 2**128 - 1)
epochs = st.integers(0, 5)
samplings = st.sampled_from([True, False, hr.BlockShuffle(3, 2), Twice()])


def samplers(n, batch_size, world_size=1, **options):
    """One sampler for each rank."""
    return [
        hr.BatchSampler(n, batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


def can_share_tail(n, batch_size, world_size):
    left_over = n % (batch_size * world_size)
    return not 0 < left_over < world_size


@given(sizes, batch_sizes, worlds)
def test_length_is_that_of_the_tail_on_every_rank(n, batch_size, world_size):
    full, left_over = divmod(n, batch_size * world_size)
    for tail, expected in {"drop": full, "pad": full + (left_over > 0)}.items():
        assert {len(s) for s in samplers(n, batch_size, world_size, tail=tail)} == {expected}
    if can_share_tail(n, batch_size, world_size):
        ranks = samplers(n, batch_size, world_size, tail="partial")
        assert {len(s) for s in ranks} == {full + (left_over > 0)}


@given(sizes, batch_sizes, worlds, seeds, epochs, samplings)
def test_ranks_partition_the_epoch_in_its_order(n, batch_size, world_size, seed, epoch, shuffle):
    options = {"seed": seed, "shuffle": shuffle}
    order = order_of(shuffle, n, seed)
    length = len(order)
    whole = order.indices(epoch, np.arange(length))
    full = length - length % (batch_size * world_size)
    for tail, expected in {"drop": whole[:full], "partial": whole}.items():
        if tail == "partial" and not can_share_tail(length, batch_size, world_size):
            continue
        ranks = samplers(n, batch_size, world_size, tail=tail, **options)
        seen = [
            sample
            for step in range(len(ranks[0]))
            for sampler in ranks
            for sample in sampler.indices(epoch, step).tolist()
        ]
        assert seen == expected.tolist()
        assert all(
            len(sampler.indices(epoch, step)) > 0
            for step in range(len(ranks[0]))
            for sampler in ranks
        )


@given(sizes, batch_sizes, worlds, seeds, epochs, samplings)
def test_padding_fills_every_batch_and_weighs_nothing(
    n, batch_size, world_size, seed, epoch, shuffle
):
    order = order_of(shuffle, n, seed)
    whole = order.indices(epoch, np.arange(len(order))).tolist()
    ranks = samplers(n, batch_size, world_size, tail="pad", seed=seed, shuffle=shuffle)
    seen, padding = [], []
    for step in range(len(ranks[0])):
        for sampler in ranks:
            indices = sampler.indices(epoch, step)
            weights = sampler.weights(epoch, step)
            assert indices.shape == weights.shape == (batch_size,)
            assert weights.dtype == np.float32
            assert set(weights.tolist()) <= {0.0, 1.0}
            seen += indices[weights == 1].tolist()
            padding += indices[weights == 0].tolist()
    assert seen == whole
    assert padding == [whole[i % len(whole)] for i in range(len(padding))]


@given(sizes, batch_sizes, worlds, seeds, st.sampled_from(["drop", "pad"]), st.booleans())
def test_a_run_of_keys_equals_random_access(n, batch_size, world_size, seed, tail, shuffle):
    sampler = hr.BatchSampler(
        n, batch_size, shuffle, seed, tail, rank=world_size - 1, world_size=world_size
    )
    keys = list(sampler.keys(Place(2, 0)))
    assert [key.step for key in keys] == list(range(len(sampler)))
    for step, key in enumerate(keys):
        assert key.place == sampler.place(2, step)
        assert key.indices.tolist() == sampler.indices(2, step).tolist()


@given(sizes, batch_sizes, st.integers(0, 200), st.sampled_from(["drop", "pad", "partial"]))
def test_a_place_off_the_grid_continues_the_same_order(n, batch_size, position, tail):
    position = min(position, n)
    whole = hr.BatchSampler(n, n, seed=4).indices(1, 0).tolist()
    sampler = hr.BatchSampler(n, batch_size, seed=4, tail=tail)
    rest = [
        sample
        for key in sampler.keys(Place(1, position))
        for sample in key.indices[: key.n_valid].tolist()
    ]
    expected = whole[position:]
    if tail == "drop":
        expected = expected[: len(expected) // batch_size * batch_size]
    assert rest == expected


def test_windows_are_the_same_as_single_batches_across_their_edges():
    sampler = hr.BatchSampler(100_000, 7, seed=1)  # several windows of keys
    for key in sampler.keys(Place(0, 0)):
        if key.step % 997 == 0:
            assert key.indices.tolist() == sampler.indices(0, key.step).tolist()


@pytest.mark.parametrize("shuffle", [True, hr.BlockShuffle(1000, 10**6)], ids=["full", "blocks"])
def test_nothing_of_the_size_of_the_data_is_built(shuffle):
    tracemalloc.start()
    try:
        sampler = hr.BatchSampler(10**12, 128, shuffle, rank=16383, world_size=16384, seed=3)
        keys = sampler.keys(sampler.place(5, 1000))
        for _ in range(200):
            next(keys)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("tail", ["drop", "partial", "pad"])
def test_a_sampler_for_another_rank_or_tail_is_that_made_with_it(tail):
    alone = hr.BatchSampler(26, 4, seed=3)
    for made in samplers(26, 4, 2, seed=3, tail=tail):
        other = alone.of_rank(made.rank, 2).with_tail(tail)
        assert repr(other) == repr(made)
        assert len(other) == len(made)
        for step in range(len(made)):
            assert other.indices(1, step).tolist() == made.indices(1, step).tolist()
            assert other.weights(1, step).tolist() == made.weights(1, step).tolist()
    assert (alone.world_size, alone.global_batch_size, alone.tail) == (1, 4, "drop")


def test_a_rank_or_a_tail_that_can_not_be_is_an_error():
    sampler = hr.BatchSampler(9, 4)
    with pytest.raises(hr.errors.ArgumentError, match="rank must be"):
        sampler.of_rank(2, 2)
    with pytest.raises(hr.errors.ArgumentError, match="tail must be 'drop', 'partial' or 'pad'"):
        sampler.with_tail("keep")
    with pytest.raises(hr.errors.ArgumentError, match="would leave a rank with an empty batch"):
        sampler.with_tail("partial").of_rank(1, 2)


@settings(max_examples=30)
@given(sizes, batch_sizes, worlds, seeds, epochs, samplings, st.data())
def test_a_sample_is_found_in_the_batches_that_hold_it(
    n, batch_size, world_size, seed, epoch, shuffle, data
):
    length = len(order_of(shuffle, n, seed))
    for tail in ("drop", "partial", "pad"):
        if tail == "partial" and not can_share_tail(length, batch_size, world_size):
            continue
        ranks = samplers(n, batch_size, world_size, shuffle=shuffle, seed=seed, tail=tail)
        sample = data.draw(st.integers(0, n - 1))
        expected = [
            (step, rank, row)
            for step in range(len(ranks[0]))
            for rank, sampler in enumerate(ranks)
            for row in np.flatnonzero(
                (sampler.indices(epoch, step) == sample) & (sampler.weights(epoch, step) == 1)
            ).tolist()
        ]
        assert ranks[-1].find(sample, epoch) == expected
