"""What a batch holds can be told from epoch and step, and where a sample comes from its index."""

import itertools

import numpy as np
import pytest
from picklable import as_dict

import headrace as hr

N = 30
IDS = [f"id-{i}" for i in range(N)]
LABELS = np.arange(N) % 3
SAMPLINGS = {
    "shuffled": True,
    "in blocks": hr.BlockShuffle(4, 2),
    "weighted": hr.Weighted(1 + LABELS),
    "balanced": hr.Balanced(LABELS),
    "mixed": hr.Mix([1, 3]),
}


def loader(sampling=True, batch_size=4, **options):
    source = hr.Concat((np.arange(20), LABELS[:20]), (np.arange(20, N), LABELS[20:]))
    defaults = {"shuffle": sampling, "seed": 5, "executor": hr.Inline()}
    return hr.Loader(source, batch_size, **(defaults | options))


def test_a_sample_is_not_found_in_a_step_that_is_left_out():
    plain = loader()
    [at] = plain.find(7, 2)
    assert plain.batch(2, at.step)[0][at.row] == 7
    assert loader(skip=[(2, at.step, at.step)]).find(7, 2) == []
    assert loader(skip=[(3, at.step, at.step)]).find(7, 2) == [at]
    for sample, epoch, message in ((N, 0, "sample must be"), (0, -1, "epoch must be")):
        with pytest.raises(hr.ArgumentError, match=message):
            plain.find(sample, epoch)


def test_a_sample_of_a_huge_source_is_found_at_once():
    sampler = hr.BatchSampler(10**12, 128, rank=1, world_size=8)
    blocks = hr.BatchSampler(10**12, 128, hr.BlockShuffle(1000), rank=1, world_size=8)
    for each in (sampler, blocks):
        [at] = each.find(123_456_789_012, 9)
        assert each.of_rank(at.rank, 8).indices(9, at.step)[at.row] == 123_456_789_012


def test_names_are_those_of_the_first_reader_that_has_some(tmp_path):
    for name in IDS:
        np.save(tmp_path / f"{name}.npy", np.zeros(1))
    files = hr.NpyFiles(tmp_path, ids=IDS)
    named = hr.Loader((np.arange(N), files), 4)
    assert named.ids(2, 1) == [IDS[i] for i in named.indices(2, 1)]
    chosen = hr.Loader(hr.Subset((np.arange(N), files), [3, 1, 2]), 3)
    assert sorted(chosen.ids(0, 0)) == ["id-1", "id-2", "id-3"]
    with pytest.raises(hr.ArgumentError, match="a reader with names for its samples"):
        loader().ids(0, 0)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_indices_come_with_each_batch(sampling, tail):
    made = loader(sampling, tail=tail, with_indices=True)
    for epoch in range(2):
        for step, (x, _, *weights, indices) in enumerate(made):
            assert indices.dtype == np.int64
            assert indices.tolist() == x.tolist() == made.indices(epoch, step).tolist()
            assert len(weights) == (tail == "pad")
    free = made.headspace(2)
    assert all(len(batch) == len(made.batch(0, 0)) for batch in free)


def test_indices_come_beside_a_batch_of_any_form():
    single = hr.Loader(np.arange(N), 4, with_indices=True)
    x, indices = single.batch(0, 1)
    assert x.tolist() == indices.tolist()
    named, indices = loader(transform=lambda batch, rng: as_dict(batch), with_indices=True).batch(
        0, 1
    )
    assert named["number"].tolist() == indices.tolist()
    halved = loader(transform=lambda batch, rng: batch[0][::2], with_indices=True)
    with pytest.raises(hr.ArgumentError, match="keep the 4 samples of a batch when with_indices=T"):
        halved.batch(0, 0)
    with pytest.raises(hr.ArgumentTypeError, match="with_indices must be True or False"):
        loader(with_indices=1)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_run_goes_on_with_other_ranks_from_any_position(sampling):
    whole = [loader(sampling, 1).batch(e, s)[0].item() for e in range(2) for s in range(N)]
    for stop in (1, 2, 3):
        stopped = loader(sampling, 4)
        for _ in itertools.islice(stopped.stream(), stop):
            pass
        ranks = [loader(sampling, 3, rank=rank, world_size=2) for rank in range(2)]
        for each in ranks:
            each.load_state_dict(stopped.state_dict())
        seen = [x for parts in zip(*ranks, strict=True) for x, _ in parts]
        seen = np.concatenate(seen).tolist()
        left = N - 4 * stop
        assert seen == whole[4 * stop :][: left // 6 * 6]
