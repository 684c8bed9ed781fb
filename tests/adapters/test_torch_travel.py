"""What goes wrong in a worker of a DataLoader is an error: no epoch ends early or hangs."""

import numpy as np
import pytest
from stopping import BATCH, ERRORS, STOPPING, N, Raises, stopping_loader, with_a_lock

import headrace as hr

torch = pytest.importorskip("torch")

from headrace.adapters.torch.sampler import KeyedLists

WORKERS = pytest.mark.parametrize("workers", [0, 2])


@pytest.fixture(autouse=True)
def end_workers_soon(monkeypatch):
    """After an error, PyTorch waits so long for each worker before it ends it."""
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.3)


def loader(**options):
    return hr.Loader(np.arange(N), BATCH, shuffle=False, **options)


def fails(batches, message, error=Exception):
    """The batches that come before the error."""
    seen = []
    with pytest.raises(error, match=message):
        seen.extend(batches)
    return len(seen)


@WORKERS
@pytest.mark.parametrize("what", STOPPING)
def test_a_stop_iteration_does_not_end_an_epoch(what, workers):
    stopping = stopping_loader(what)
    batches = stopping.to_torch(num_workers=workers)
    assert fails(batches, r"stopping\.py", hr.StoppedEarlyError) == 2
    assert stopping.place == (0, 2 * BATCH)


def stop(*arguments):
    next(iter(()))


@WORKERS
def test_nor_one_of_a_collate_function(workers):
    batches = loader().to_torch(num_workers=workers, collate_fn=stop)
    assert fails(batches, "collate_fn raised StopIteration", hr.StoppedEarlyError) == 0


def test_nor_one_of_the_start_of_a_worker():
    batches = loader().to_torch(num_workers=2, worker_init_fn=stop)
    assert fails(batches, "worker_init_fn raised StopIteration", hr.StoppedEarlyError) == 0


def test_nor_one_of_a_sampler_that_ends(monkeypatch):
    batches = loader().to_torch()
    short = iter(list(batches.batch_sampler)[:3])
    monkeypatch.setattr(KeyedLists, "__next__", lambda lists: next(short))
    assert fails(batches, "ended after 3 of 6", hr.StoppedEarlyError) == 3


@pytest.mark.parametrize("device", [None, "cpu"])
def test_nor_one_on_the_way_to_a_device(device):
    assert (
        fails(stopping_loader("reader").to_torch(device=device), "raised", hr.StoppedEarlyError)
        == 2
    )


@pytest.mark.parametrize("what", STOPPING)
def test_samples_by_number_end_at_no_error(what):
    dataset = stopping_loader(what).to_torch().dataset
    assert fails(dataset, r"stopping\.py", hr.StoppedEarlyError) == 9
    assert len(list(loader().to_torch().dataset)) == N

    def out_of_range(sample, rng):
        return [sample][int(sample == 5)]

    numbers = loader(transform=hr.per_sample(out_of_range)).to_torch().dataset
    assert fails(numbers, "list index", IndexError) == 5


@pytest.mark.parametrize("what", ERRORS)
def test_an_error_that_can_not_be_pickled_arrives_with_its_text(what):
    batches = loader(transform=Raises(what)).to_torch(num_workers=2)
    assert fails(batches, "no sample 9") == 2
    batches = loader().to_torch(num_workers=2, collate_fn=Raises(what))
    assert fails(batches, "no sample 9") == 2
    batches = loader().to_torch(num_workers=2, worker_init_fn=lambda number: Raises(what)(9))
    assert fails(batches, "no sample 9") == 0


def test_a_batch_that_can_not_be_pickled_is_an_error():
    said = "a batch of a worker process must be of what can be pickled"
    assert fails(loader(transform=with_a_lock).to_torch(num_workers=2), said) == 0
    assert fails(loader().to_torch(num_workers=2, collate_fn=with_a_lock), said) == 0
    batch, _ = next(iter(loader(transform=with_a_lock).to_torch()))
    assert batch.tolist() == [0, 1, 2, 3]


def test_tensors_in_objects_of_a_users_own_arrive(recwarn):
    def in_a_list(batch):
        return [batch, {"of": (batch * 2, "text", None, 3)}]

    batches = loader().to_torch(num_workers=1, collate_fn=in_a_list)
    first, rest = next(iter(batches))
    assert first.tolist() == [0, 1, 2, 3]
    assert rest["of"][0].tolist() == [0, 2, 4, 6]
