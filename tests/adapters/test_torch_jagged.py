"""Samples of any length are jagged tensors in batches, and plain ones by themselves."""

import numpy as np
import pytest

import headrace as hr

torch = pytest.importorskip("torch")

import torch.utils.data as torch_data

from headrace.adapters.torch import Dataset, Keys

has_jagged = hasattr(torch.nested, "nested_tensor_from_jagged")
needs_jagged = pytest.mark.skipif(not has_jagged, reason="needs tensors that may be jagged")

LENGTHS = [3, 0, 7, 4, 4, 4, 1, 6, 2, 5]
OFFSETS = np.cumsum([0, *LENGTHS])
TOKENS = np.arange(OFFSETS[-1], dtype=np.int32)
N, BATCH = len(LENGTHS), 4


def make_loader(**options):
    source = {
        "tokens": hr.RaggedArray(TOKENS, OFFSETS),
        "frames": hr.RaggedArray(np.repeat(TOKENS, 3).reshape(-1, 3).astype("float32"), OFFSETS),
        "label": np.arange(N),
    }
    options = {"tail": "partial", "seed": 1, **options}
    return hr.Loader(source, batch_size=BATCH, **options)


def rows(leaf):
    """The samples of a leaf of a batch, of either kind."""
    if isinstance(leaf, torch.Tensor):
        return [row.numpy().tolist() for row in leaf.unbind()]
    return [row.tolist() for row in leaf]


def as_rows(batch):
    parts = batch if isinstance(batch, tuple) else tuple(batch.values())
    return [
        rows(leaf)
        for part in parts
        for leaf in (part.values() if isinstance(part, dict) else [part])
    ]


@needs_jagged
@pytest.mark.parametrize("workers", [{}, {"num_workers": 2}])
def test_batches_are_the_loaders(workers):
    loader = make_loader(tail="pad", with_indices=True)
    for step, batch in enumerate(loader.to_torch(**workers)):
        tokens = batch[0]["tokens"]
        assert (tokens.layout, tokens.dtype) == (torch.jagged, torch.int32)
        assert batch[0]["frames"].shape[2] == 3
        assert as_rows(batch) == as_rows(loader.batch(0, step))
    assert loader.place == (1, 0)


@needs_jagged
def test_values_are_shared_and_parts_of_the_same_lengths_may_be_computed_with():
    values = []

    def noted(batch, rng):
        values.append(batch["tokens"].values)
        batch["tokens"].offsets.flags.writeable = False  # as those that Ray gives
        return batch

    loader = make_loader(transform=noted, executor=hr.Inline())
    batch = next(iter(loader.to_torch()))
    assert batch["tokens"].values().data_ptr() == values[0].ctypes.data
    assert (batch["tokens"].unsqueeze(2) + batch["frames"]).shape[0] == BATCH


@needs_jagged
def test_of_a_type_that_pytorch_has_not_it_stays_as_it_is():
    words = hr.RaggedArray(np.array(["a", "bc", "d"]), np.array([0, 2, 3]))
    loader = hr.Loader((words, np.arange(2)), 2, shuffle=False)
    (batch,) = loader.to_torch()
    assert rows(batch[0]) == [["a", "bc"], ["d"]]
    assert Dataset(loader)[0][0].tolist() == ["a", "bc"]


def test_samples_by_number_are_plain_tensors():
    dataset = make_loader().to_torch().dataset
    for number, length in enumerate(LENGTHS):
        sample = dataset[number]
        assert not sample["tokens"].is_nested
        assert (sample["tokens"].shape, sample["frames"].shape) == ((length,), (length, 3))
        assert type(sample["tokens"] + 1) is torch.Tensor
        first = OFFSETS[number]
        assert sample["tokens"].tolist() == list(range(first, first + length))
    two = dataset.__getitems__([2, 3])
    assert [len(sample["tokens"]) for sample in two] == [7, 4]


def padded(samples):
    tokens = [sample["tokens"] for sample in samples]
    return torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_collate_function_gets_samples(workers):
    given = make_loader().to_torch()
    loader = torch_data.DataLoader(
        given.dataset, batch_sampler=given.batch_sampler, collate_fn=padded, num_workers=workers
    )
    seen = list(loader)
    assert [tuple(batch.shape) for batch in seen] == [
        (len(batch["tokens"]), max(batch["tokens"].lengths)) for batch in make_loader()
    ]


@needs_jagged
@pytest.mark.parametrize("numbers", [[0, 2, 1], [3, 4, 5]], ids=["any", "equal"])
@pytest.mark.parametrize("workers", [0, 1])
def test_samples_that_are_stacked_again_are_jagged_whatever_their_lengths(numbers, workers):
    given = make_loader().to_torch()
    for collate in (None, given.collate_fn):
        subset = torch_data.Subset(given.dataset, numbers)
        (batch,) = torch_data.DataLoader(
            subset, batch_size=3, collate_fn=collate, num_workers=workers
        )
        assert batch["tokens"].layout is torch.jagged
        assert [len(row) for row in rows(batch["tokens"])] == [LENGTHS[i] for i in numbers]
        assert batch["label"].tolist() == numbers


@needs_jagged
def test_a_list_of_samples_comes_from_a_worker():
    given = make_loader().to_torch()
    (batch,) = torch_data.DataLoader(given.dataset, batch_size=N, collate_fn=list, num_workers=1)
    assert [len(sample["tokens"]) for sample in batch] == LENGTHS


@needs_jagged
def test_batches_by_their_keys():
    loader = make_loader()
    dataset = Dataset(loader)
    batches = torch_data.DataLoader(dataset, sampler=Keys(dataset.feed), batch_size=None)
    for step, batch in enumerate(batches):
        assert as_rows(batch) == as_rows(loader.batch(0, step))


@needs_jagged
def test_on_a_device_they_still_fit_together():
    batch = next(iter(make_loader().to_torch(device="meta")))
    tokens = batch["tokens"]
    assert (tokens.device.type, tokens.layout) == ("meta", torch.jagged)
    assert (batch["tokens"].unsqueeze(2) + batch["frames"]).shape[0] == BATCH


@needs_jagged
def test_jagged_tensors_of_a_users_own_come_to_a_device():
    def transposed(batch):
        return {**batch, "frames": batch["frames"].transpose(1, 2)}

    loader = make_loader()
    for step, batch in enumerate(loader.to_torch(device="cpu", collate_fn=transposed)):
        found = batch["frames"].transpose(1, 2)
        assert rows(found) == rows(loader.batch(0, step)["frames"])


def test_where_no_tensor_is_jagged_the_error_tells_what_to_do(monkeypatch):
    monkeypatch.delattr(torch.nested, "nested_tensor_from_jagged", raising=False)
    given = make_loader().to_torch()
    with pytest.raises(hr.ArgumentError, match=r"need PyTorch 2\.4.*headrace\.pad"):
        next(iter(given))
    with pytest.raises(hr.ArgumentError, match=r"headrace\.pad"):
        torch_data.default_collate([given.dataset[0], given.dataset[1]])


@needs_jagged
def test_leaves_that_a_trainer_moves_one_by_one_still_fit_together():
    batch = next(iter(make_loader().to_torch()))
    # As Lightning and Accelerate do.
    moved = {name: leaf.to(torch.device("meta"), non_blocking=True) for name, leaf in batch.items()}
    assert moved["tokens"].layout is torch.jagged
    assert (moved["tokens"].unsqueeze(2) + moved["frames"]).shape[0] == BATCH


@needs_jagged
def test_accelerate_prepares_them():
    accelerate = pytest.importorskip("accelerate", "1.15")
    loader = make_loader()
    prepared = accelerate.Accelerator(cpu=True).prepare(loader.to_torch())
    for step, batch in enumerate(prepared):
        assert as_rows(batch) == as_rows(loader.batch(0, step))
