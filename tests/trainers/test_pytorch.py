"""PyTorch's own loops and datasets, as its quickstart and its data tutorial have them."""
# ruff: noqa: N806

import collections
import itertools

import numpy as np
import pytest

import headrace as hr

torch = pytest.importorskip("torch", reason="needs headrace[torch]")

import torch.utils.data as torch_data

pytestmark = [
    # Of JAX, if another test has imported it: these workers don't use it.
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),
    # Torchdata calls it.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]
BOTH_CLASSES = pytest.mark.parametrize("class_name", ["DataLoader", "StatefulDataLoader"])

N, BATCH = 22, 4


def noisy(sample, rng):
    x, y = sample
    return x + rng.normal(scale=1e-3, size=x.shape).astype("float32"), y


def make_loader(n=N, **options):
    """Samples are their own numbers: y is the number, and x has it as its nearest integer."""
    numbers = np.arange(n)
    x = np.repeat(numbers[:, None], 3, axis=1).astype("float32")
    defaults = {"seed": 5, "tail": "partial", "transform": hr.per_sample(noisy)}
    return hr.Loader((x, numbers), BATCH, **{**defaults, "executor": hr.Threads(2), **options})


def loader_class(name):
    """PyTorch's class of this name, or torchdata's."""
    if name == "DataLoader":
        return torch_data.DataLoader
    found = pytest.importorskip("torchdata.stateful_dataloader", reason="needs torchdata")
    return found.StatefulDataLoader


def seen(batches):
    """The samples of the batches, after a look at whether x and y are of the same."""
    numbers = []
    for x, y in batches:
        assert isinstance(x, torch.Tensor)
        assert x.round().tolist() == [[number] * 3 for number in y.tolist()]
        numbers.append(y.tolist())
    return numbers


def flat(batches):
    return [number for batch in batches for number in batch]


def epoch_of(loader, epoch):
    return [loader.indices(epoch, step).tolist() for step in range(len(loader))]


class Knows(torch.nn.Module):
    """Knows all samples but the first two. Its weight is trained all the same."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        right = x[:, 0].round().long()
        right = torch.where(right < 2, N - 1 - right, right)
        return self.weight * torch.nn.functional.one_hot(right, N).float()


def train(dataloader, model, loss_fn, optimizer):  # of the quickstart
    size = len(dataloader.dataset)
    losses = []
    model.train()
    for batch, (X, y) in enumerate(dataloader):
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append((loss.item(), (batch + 1) * len(X), size))
    return losses


def test(dataloader, model, loss_fn):  # of the quickstart
    size = len(dataloader.dataset)
    num_batches = len(dataloader)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in dataloader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    return test_loss / num_batches, correct / size


test.__test__ = False


@pytest.mark.cell("PyTorch", "peek", "evaluation twice", "workers")
@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_loops_of_the_quickstart_as_they_stand(n_workers):
    loader, evaluated = make_loader(), make_loader(shuffle=False)
    train_dataloader = loader.to_torch(num_workers=n_workers)
    test_dataloader = evaluated.to_torch(num_workers=n_workers)
    for X, y in test_dataloader:
        assert (X.shape, y.shape) == ((BATCH, 3), (BATCH,))
        break
    model, loss_fn = Knows(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    results = set()
    for _ in range(3):
        losses = train(train_dataloader, model, loss_fn, optimizer)
        assert len(losses) == len(train_dataloader) == 6
        assert {size for *_, size in losses} == {N}
        _, correct = test(test_dataloader, model, loss_fn)
        results.add(correct)
    assert results == {(N - 2) / N}
    assert loader.place == (3, 0)


@pytest.mark.cell("PyTorch", "peek", "workers")
@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_look_at_one_batch_and_then_training_as_in_the_data_tutorial(n_workers):
    loader = make_loader()
    train_dataloader = loader.to_torch(num_workers=n_workers)
    training_data = train_dataloader.dataset
    sample_idx = torch.randint(len(training_data), size=(1,)).item()
    img, label = training_data[sample_idx]
    assert label == sample_idx == img.round()[0]
    train_features, train_labels = next(iter(train_dataloader))
    assert seen([(train_features, train_labels)]) == epoch_of(loader, 0)[:1]
    for epoch in (1, 2):
        assert seen(train_dataloader) == epoch_of(loader, epoch)


@pytest.mark.cell("PyTorch", "early stop", "limit", "evaluation twice", "workers")
@pytest.mark.parametrize("options", [{}, {"num_workers": 2, "persistent_workers": True}])
def test_a_break_in_evaluation(options):
    evaluated = make_loader(shuffle=False)
    batches = evaluated.to_torch(**options)
    for limit in (1, 4, 6, 2):
        for step, (x, y) in enumerate(batches):
            assert seen([(x, y)]) == epoch_of(evaluated, 0)[step : step + 1]
            if step + 1 == limit:
                break
    assert flat(seen(batches)) == list(range(N))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_zip_of_loaders_of_which_one_is_shorter(n_workers):
    long, short = make_loader(), make_loader(n=10, seed=6)
    longer, shorter = long.to_torch(num_workers=n_workers), short.to_torch(num_workers=n_workers)
    for epoch in range(3):
        pairs = list(zip(longer, shorter, strict=False))  # takes one more of the first
        assert seen(of_long for of_long, _ in pairs) == epoch_of(long, epoch)[:3]
        assert seen(of_short for _, of_short in pairs) == epoch_of(short, epoch)
    again = iter(shorter)
    taken = []
    for _ in longer:
        try:
            taken.append(next(again))
        except StopIteration:
            again = iter(shorter)
            taken.append(next(again))
    assert seen(taken) == epoch_of(short, 3) + epoch_of(short, 4)


@pytest.mark.cell("PyTorch", "resume within an epoch", "resume at an epoch's end")
def test_torch_save_keeps_the_place(tmp_path):
    loader = make_loader()
    batches = loader.to_torch()
    for stop in (2, 6):
        loader.seek(1)
        list(itertools.islice(batches, stop))
        torch.save({"data": batches.state_dict()}, tmp_path / "state.pt")
        resumed = make_loader().to_torch(num_workers=2)
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["data"])
        expected = epoch_of(loader, 1)[stop:] or epoch_of(loader, 2)
        assert seen(resumed) == expected


@pytest.mark.cell("PyTorch", "2 processes with ranks")
@pytest.mark.cell("PyTorch (StatefulDataLoader)", "2 processes with ranks")
@BOTH_CLASSES
def test_each_rank_passes_its_number_and_set_epoch_is_called_as_for_a_distributed_sampler(
    class_name,
):
    options = {"loader_class": loader_class(class_name)}
    ranks = [make_loader(n=24, rank=rank, world_size=2).to_torch(**options) for rank in (0, 1)]
    for epoch in (0, 3):
        numbers = []
        for batches in ranks:
            for part in (batches.sampler, batches.batch_sampler, batches):
                part.set_epoch(epoch)
            numbers += flat(seen(batches))
        assert sorted(numbers) == list(range(24))


@pytest.mark.cell("PyTorch", "2 processes without ranks")
@pytest.mark.cell("PyTorch (StatefulDataLoader)", "2 processes without ranks")
@pytest.mark.parametrize("n_workers", [0, 2])
@BOTH_CLASSES
def test_a_distributed_sampler_round_the_dataset(class_name, n_workers):
    dataset = make_loader().to_torch().dataset
    numbers, orders = [], []
    for rank in (0, 1):
        sampler = torch_data.DistributedSampler(dataset, num_replicas=2, rank=rank)
        batches = loader_class(class_name)(
            dataset, batch_size=BATCH, sampler=sampler, num_workers=n_workers
        )
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            dataset.set_epoch(epoch)
            orders.append(flat(seen(batches)))
        numbers += orders[-1]
    assert sorted(numbers) == list(range(N))
    assert len(set(map(tuple, orders))) == 4


@pytest.mark.parametrize("n_workers", [0, 2])
def test_parts_of_the_dataset_have_its_samples_with_the_transform(n_workers):
    loader = make_loader()
    dataset = loader.to_torch().dataset
    exact = dict(zip(range(N), (dataset[i][0].tolist() for i in range(N)), strict=True))

    def numbers_of(part):
        counts = collections.Counter()
        for x, y in torch_data.DataLoader(part, batch_size=3, num_workers=n_workers):
            assert x.tolist() == [exact[number] for number in y.tolist()]
            counts.update(y.tolist())
        return counts

    generator = torch.Generator().manual_seed(1)
    first, second = torch_data.random_split(dataset, [0.75, 0.25], generator)
    assert numbers_of(first) + numbers_of(second) == collections.Counter(range(N))
    assert len(numbers_of(second)) == len(second) == 5
    assert numbers_of(torch_data.Subset(dataset, [3, 21, -1])) == collections.Counter([3, 21, 21])
    both = torch_data.ConcatDataset([dataset, torch_data.Subset(dataset, range(5))])
    assert numbers_of(both) == collections.Counter([*range(N), *range(5)])
    assert loader.place == (0, 0)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_parts_in_another_data_loader_give_its_batches(n_workers):
    loader = make_loader()
    batches = loader.to_torch()
    other = torch_data.DataLoader(
        batches.dataset, batch_sampler=batches.batch_sampler, num_workers=n_workers
    )
    assert len(other) == 6
    for epoch in (0, 2):
        other.batch_sampler.set_epoch(epoch)
        expected = [loader.batch(epoch, step) for step in range(6)]
        for (x, y), (exact_x, exact_y) in zip(other, expected, strict=True):
            assert x.numpy().tobytes() == exact_x.tobytes()
            assert y.tolist() == exact_y.tolist()


@pytest.mark.cell("PyTorch (StatefulDataLoader)", "peek", "early stop", "workers")
@pytest.mark.cell("PyTorch (StatefulDataLoader)", "limit", "evaluation twice")
@pytest.mark.cell(
    "PyTorch (StatefulDataLoader)", "resume within an epoch", "resume at an epoch's end"
)
@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_stateful_data_loader_of_ours_and_one_of_its_parts(n_workers):
    stateful = loader_class("StatefulDataLoader")
    loader = make_loader()
    ours = loader.to_torch(loader_class=stateful, num_workers=n_workers)
    assert seen([next(iter(ours))]) == epoch_of(loader, 0)[:1]
    running = iter(ours)
    assert seen(itertools.islice(running, 2)) == epoch_of(loader, 1)[:2]
    state = ours.state_dict()
    assert seen(running) == epoch_of(loader, 1)[2:]
    after = ours.state_dict()
    ours.load_state_dict(state)
    assert seen(ours) == epoch_of(loader, 1)[2:]
    ours.load_state_dict(after)
    assert seen(ours) == epoch_of(loader, 2)
    assert seen(itertools.islice(ours, 3)) == epoch_of(loader, 3)[:3]
    assert seen(ours) == epoch_of(loader, 4)
    held_out = make_loader(shuffle=False)
    evaluated = held_out.to_torch(loader_class=stateful, num_workers=n_workers)
    assert [seen(evaluated) for _ in range(2)] == [epoch_of(held_out, 0)] * 2

    def of_parts(loader):
        batches = loader.to_torch()
        return stateful(batches.dataset, batch_sampler=batches.batch_sampler, num_workers=n_workers)

    loader.seek(0)
    theirs = of_parts(loader)
    running = iter(theirs)
    assert seen(itertools.islice(running, 2)) == epoch_of(loader, 0)[:2]
    state = theirs.state_dict()
    assert seen(running) == epoch_of(loader, 0)[2:]
    resumed = of_parts(make_loader())
    resumed.load_state_dict(state)
    assert seen(resumed) == epoch_of(loader, 0)[2:]


LENGTHS = np.arange(N) % 5 + 1
TOKENS = hr.RaggedArray(np.arange(LENGTHS.sum()), np.cumsum([0, *LENGTHS]))
SAMPLED = {
    "Weighted": (np.arange(N), hr.Weighted(np.arange(N), length=30), None),
    "Balanced": (np.arange(N), hr.Balanced(np.arange(N) % 3), None),
    "Mix": (hr.Concat(np.arange(9), np.arange(9, N)), hr.Mix([0.7, 0.3]), None),
    "Buckets": (TOKENS, hr.Buckets(LENGTHS, [3, 5], batch_sizes=[4, 2]), hr.pad(6)),
}


@pytest.mark.cell("PyTorch", "samplings")
@pytest.mark.cell("PyTorch (StatefulDataLoader)", "samplings")
@pytest.mark.parametrize("name", SAMPLED)
@BOTH_CLASSES
def test_orders_by_weight_class_share_and_length(class_name, name):
    source, shuffle, transform = SAMPLED[name]
    options = {"loader_class": loader_class(class_name), "num_workers": 1}
    loader, first, second = (
        hr.Loader(source, BATCH, seed=5, shuffle=shuffle, transform=transform) for _ in range(3)
    )
    steps, running, resumed = len(loader), first.to_torch(**options), second.to_torch(**options)
    got = [batch.tolist() for _ in range(2) for batch in running]
    got += [batch.tolist() for batch in itertools.islice(running, 2)]
    resumed.load_state_dict(running.state_dict())
    got += [batch.tolist() for batch in resumed]
    assert got == [loader.batch(*divmod(step, steps)).tolist() for step in range(3 * steps)]


def test_batches_out_of_their_order_are_refused():
    with pytest.raises(hr.ArgumentError, match="in_order must be True, but False was given"):
        make_loader().to_torch(num_workers=2, in_order=False)
