"""DataLoaders that a trainer makes of ours, of their attributes and with another sampler."""

import numpy as np
import pytest

import headrace as hr

pytest.importorskip("torch", reason="needs headrace[torch]")

import torch
import torch.utils.data as torch_data

N, BATCH = 26, 4


def noisy(sample, rng):
    return sample + rng.random(dtype="float32")


def make_loader(**options):
    options = {"seed": 3, "transform": hr.per_sample(noisy), **options}
    return hr.Loader(np.arange(N, dtype="float32")[:, None], BATCH, **options)


class Listed(torch_data.Dataset):
    """What a sampler gives, by number."""

    def __init__(self, sampler):
        self._numbers = list(sampler)

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, index):
        return self._numbers[index]


class Wrapper(torch_data.DistributedSampler):
    """One over another sampler's numbers, as trainers have them."""

    def __init__(self, sampler, rank):
        super().__init__(Listed(sampler), num_replicas=2, rank=rank)

    def __iter__(self):
        return (self.dataset[index] for index in super().__iter__())


def rebuilt(data_loader, sampler, drop_last=True, **options):
    numbers = data_loader.batch_sampler
    numbers = type(numbers)(sampler, batch_size=numbers.batch_size, drop_last=drop_last)
    options = {"collate_fn": data_loader.collate_fn, "device": data_loader.device, **options}
    return type(data_loader)(data_loader.dataset, batch_sampler=numbers, **options)


def as_lists(batches):
    return [batch.tolist() for batch in batches]


def expected(epoch, **options):
    loader = make_loader(**options)
    return as_lists(loader.batch(epoch, step) for step in range(len(loader)))


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_shares_our_samples_out_has_the_batches_of_its_rank(rank):
    given = make_loader()
    ours = given.to_torch(device="cpu")
    ranks = {"rank": rank, "world_size": 2}
    theirs = rebuilt(ours, Wrapper(ours.sampler, rank))
    assert isinstance(theirs.sampler, torch_data.DistributedSampler)
    assert (theirs.sampler.rank, theirs.sampler.num_replicas) == (rank, 2)
    assert theirs.device == torch.device("cpu")
    assert len(theirs) == len(make_loader(**ranks)) == 3
    assert as_lists(theirs) == expected(0, **ranks)
    theirs.sampler.set_epoch(4)
    batches = iter(theirs)
    next(batches)
    state = theirs.state_dict()
    assert (state["epoch"], state["position"]) == (4, 8)
    assert given.place == (0, 0)  # whose place is not that of its ranks

    with_ranks = make_loader(**ranks)
    with_ranks.load_state_dict(state)
    theirs.load_state_dict(state)
    assert as_lists(theirs) == as_lists(with_ranks) == expected(4, **ranks)[1:]
    # Nothing is shared out twice.
    again = rebuilt(theirs, theirs.sampler)
    assert as_lists(again) == expected(5, **ranks)


def test_one_goes_on_where_ours_stood():
    ours = make_loader().to_torch()
    ours.load_state_dict(ours.state_dict() | {"epoch": 2, "position": 8})
    theirs = rebuilt(ours, Wrapper(ours.sampler, 1))
    assert as_lists(theirs) == expected(2, rank=1, world_size=2)[1:]


def test_a_distributed_sampler_over_the_dataset_has_the_order_that_it_says():
    ours = make_loader(transform=None).to_torch()
    sampler = torch_data.DistributedSampler(ours.dataset, 2, 1, shuffle=False)
    theirs = rebuilt(ours, sampler)
    assert [batch[:, 0].tolist() for batch in theirs] == np.arange(1, 25, 2).reshape(3, 4).tolist()


@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.parametrize("tail", ["drop", "partial"])
def test_one_that_drops_nothing_has_all_samples(tail, n_workers):
    ours = make_loader(tail=tail).to_torch()
    theirs = rebuilt(ours, ours.sampler, drop_last=False, num_workers=n_workers)
    assert len(theirs) == 7
    for epoch in 0, 1:
        theirs.batch_sampler.sampler.set_epoch(epoch)
        assert as_lists(theirs) == expected(epoch, tail="partial")


def test_one_that_drops_the_last_samples_has_the_others():
    ours = make_loader(tail="partial").to_torch()
    theirs = rebuilt(ours, ours.sampler, drop_last=True)
    assert len(theirs) == 6
    assert as_lists(theirs) == expected(0, tail="drop")


@pytest.mark.parametrize("tail", ["drop", "partial", "pad"])
def test_the_sampler_has_each_sample_once_whatever_the_tail(tail):
    sampler = make_loader(tail=tail).to_torch().sampler
    assert len(sampler) == N
    assert sorted(sampler) == list(range(N))
    parts = [make_loader(tail=tail, rank=r, world_size=2).to_torch().sampler for r in range(2)]
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]
    shared_out = sorted(number for part in parts for number in part)
    assert shared_out == (sorted(set(shared_out)) if tail == "drop" else list(range(N)))
    assert len(shared_out) == (24 if tail == "drop" else N)
