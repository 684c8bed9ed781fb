"""The DataLoader saves the loader's place, and torchdata's restores it."""

import json
import pickle

import numpy as np
import pytest
from batch_bytes import as_bytes, take
from other_python import printed_by
from picklable import noisy

import headrace as hr

pytest.importorskip("torch", reason="needs headrace[torch]")
pytest.importorskip("torchdata", reason="compares with torchdata's StatefulDataLoader")

import torch
import torch.distributed.checkpoint
from torchdata.stateful_dataloader import StatefulDataLoader

from headrace.adapters.torch import Dataset, Sampler

N, BATCH, STEPS = 26, 4, 7
STOPS = range(2 * STEPS + 1)


def make_loader(**options):
    source = (np.arange(N * 3, dtype="float32").reshape(N, 3), np.arange(N))
    defaults = {"seed": 3, "tail": "partial", "transform": hr.per_sample(noisy)}
    return hr.Loader(source, BATCH, **{**defaults, "executor": hr.Threads(2), **options})


@pytest.fixture(scope="module")
def expected():
    """The batches of three epochs, by random access."""
    loader = make_loader()
    return [as_bytes(loader.batch(*divmod(step, STEPS))) for step in range(3 * STEPS)]


@pytest.fixture(scope="module")
def states():
    """The states of a plain loop after 0, 1, 2, ... batches."""
    loader = make_loader()
    states = [loader.state_dict()]
    for _ in range(2 * STEPS):
        next(loader.stream())
        states.append(loader.state_dict())
    return states


WAYS = {
    "no workers": {},
    "a device": {"device": "cpu"},
    "1 worker": {"num_workers": 1},
    "2 workers": {"num_workers": 2},
    "2 persistent workers": {"num_workers": 2, "persistent_workers": True},
    "3 workers": {"num_workers": 3, "prefetch_factor": 4},
}
matrix = pytest.mark.parametrize(
    "options",
    [pytest.param(options, id=f"DataLoader, {way}") for way, options in WAYS.items()]
    + [
        pytest.param({"loader_class": StatefulDataLoader, **WAYS[way]}, id=f"torchdata, {way}")
        for way in ("no workers", "2 workers", "2 persistent workers")
    ],
)


@matrix
def test_the_state_is_the_loaders_after_every_batch(options, expected, states):
    loader = make_loader()
    batches = loader.to_torch(**options)
    assert batches.state_dict() == states[0]
    seen = 0
    for _ in range(2):
        for batch in batches:
            assert as_bytes(batch) == expected[seen]
            seen += 1
            assert batches.state_dict() == loader.state_dict() == states[seen]
        assert batches.state_dict() == states[seen]
    assert seen == 2 * STEPS


@matrix
def test_from_every_state_the_next_batches_are_those_of_a_run_without_a_stop(
    options, expected, states
):
    loader = make_loader()
    batches = loader.to_torch(**options)
    assert isinstance(batches, options.get("loader_class", torch.utils.data.DataLoader))
    # Backwards, in one object: each state is loaded after others, and within an epoch.
    for stop in reversed(STOPS):
        batches.load_state_dict(json.loads(json.dumps(states[stop])))
        count = min(3 * STEPS - stop, STEPS + 2)
        assert take(batches, count) == expected[stop : stop + count], f"stopped at {stop}"
        assert loader.place == loader.sampler.place(*divmod(stop + count, STEPS))


def test_a_state_that_is_loaded_within_an_iteration_ends_it(states):
    loader = make_loader()
    batches = loader.to_torch()
    running = iter(batches)
    next(running)
    batches.load_state_dict(states[5])
    with pytest.raises(hr.LoaderMovedError, match="Begin another iteration"):
        next(running)
    assert loader.state_dict() == states[5]


def test_a_state_of_another_loader_is_refused(states):
    batches = make_loader(seed=4).to_torch(loader_class=StatefulDataLoader)
    with pytest.raises(hr.StateError, match="its 'seed' is 3, and this loader's is 4"):
        batches.load_state_dict(states[5])
    of_torchdata = stateful(make_loader(), 0).state_dict()
    with pytest.raises(hr.StateError, match="its 'format' is None"):
        batches.load_state_dict(of_torchdata)


@pytest.mark.parametrize("loader_class", [StatefulDataLoader([1]), list, "StatefulDataLoader"])
def test_what_is_no_class_of_data_loaders_is_refused(loader_class):
    with pytest.raises(hr.ArgumentError, match=r"loader_class must be a class of torch.*Loader"):
        make_loader().to_torch(loader_class=loader_class)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
def test_a_distributed_checkpoint_saves_it_beside_the_weights(tmp_path, expected):
    stopped = make_loader().to_torch(num_workers=2)
    take(stopped, 9)
    model = torch.nn.Linear(3, 1)
    checkpoint = {"model": model.state_dict(), "data": stopped}
    torch.distributed.checkpoint.save(checkpoint, checkpoint_id=tmp_path)
    resumed, other = make_loader().to_torch(), torch.nn.Linear(3, 1)
    take(resumed, 2)
    checkpoint = {"model": other.state_dict(), "data": resumed}
    torch.distributed.checkpoint.load(checkpoint, checkpoint_id=tmp_path)
    assert torch.equal(model.weight, other.weight)
    assert take(resumed, 12) == expected[9:]


def test_torchdata_is_not_imported():
    script = """
        import sys
        import numpy as np
        import headrace as hr
        batches = hr.Loader(np.arange(8), batch_size=2).to_torch()
        for batch in batches:
            batches.load_state_dict(batches.state_dict())
        print("torch" in sys.modules, "torchdata" in sys.modules)
    """
    assert printed_by(script) == "True False\n"


# --- torchdata's own format, of a StatefulDataLoader that something else makes -------------------


def stateful(loader, n_workers, **options):
    return StatefulDataLoader(
        Dataset(loader),
        batch_size=None,
        sampler=Sampler(loader),
        collate_fn=as_it_is,
        num_workers=n_workers,
        **options,
    )


def as_it_is(batch):
    return batch


def epochs_of(loader, batches, count):
    """The next `count` batches; moves the loader from epoch to epoch, as must be done here."""
    taken = []
    while True:
        for batch in batches:
            taken.append(as_bytes(batch))
            if len(taken) == count:
                return taken
        loader.seek(loader.epoch + 1)


OWN = {
    "no workers": (0, {}),
    "2 workers": (2, {}),
    "2 persistent workers, an epoch ahead": (
        2,
        {"persistent_workers": True, "prefetch_factor": STEPS},
    ),
}


@pytest.fixture(scope="module", params=OWN)
def own(request, expected):
    """A way, and torchdata's states after 0, 1, 2, ... batches, and after each whole epoch."""
    n_workers, options = OWN[request.param]
    loader = make_loader()
    batches = stateful(loader, n_workers, **options)
    states, after_epochs = [pickle.dumps(batches.state_dict())], []
    for epoch in range(2):
        loader.seek(epoch)
        for batch in batches:
            assert as_bytes(batch) == expected[len(states) - 1]
            states.append(pickle.dumps(batches.state_dict()))
        after_epochs.append(pickle.dumps(batches.state_dict()))
    return n_workers, options, states, after_epochs


def test_torchdata_restores_every_state_of_its_own(own, expected):
    n_workers, options, own_states, _ = own
    loader = make_loader()
    batches = stateful(loader, n_workers, **options)
    for stop in reversed(STOPS):
        batches.load_state_dict(pickle.loads(own_states[stop]))
        count = min(3 * STEPS - stop, STEPS + 2)
        taken = epochs_of(loader, batches, count)
        assert taken == expected[stop : stop + count], f"stopped at {stop}"


def test_torchdata_goes_on_with_the_next_epoch_after_a_whole_one(own, expected):
    n_workers, options, _, after_epochs = own
    for epoch, state in enumerate(after_epochs, start=1):
        loader = make_loader()
        batches = stateful(loader, n_workers, **options)
        batches.load_state_dict(pickle.loads(state))
        assert [as_bytes(batch) for batch in batches] == expected[epoch * STEPS :][:STEPS]
        assert loader.place == (epoch, 0)


def test_a_restored_iteration_leaves_the_loader_where_it_began(own, states):
    n_workers, options, own_states, _ = own
    loader = make_loader()
    batches = stateful(loader, n_workers, **options)
    batches.load_state_dict(pickle.loads(own_states[10]))
    next(iter(batches))
    where = make_loader()
    where.load_state_dict(states[10])
    assert loader.place == where.place
    # It doesn't know which batches came, and says so until it is moved.
    with pytest.raises(hr.StateError, match="DataLoader that to_torch"):
        loader.state_dict()
    loader.load_state_dict(states[10])
    assert loader.state_dict() == states[10]


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_our_state_goes_on_with_other_workers_where_that_of_torchdata_can_not(
    n_workers, expected, states
):
    loader = make_loader()
    batches = stateful(loader, 2)
    for _ in zip(range(5), batches, strict=False):
        pass
    state = batches.state_dict()
    other = make_loader()
    changed = stateful(other, n_workers)
    changed.load_state_dict(state)
    with pytest.raises(AssertionError):
        next(iter(changed))
    # Ours is in it, too.
    ours = state["_snapshot"]["_main_snapshot"]["_sampler_iter_state"]
    assert ours == states[5]
    other = make_loader()
    other.load_state_dict(ours)
    assert take(other.to_torch(num_workers=n_workers), 16) == expected[5:]
    other.load_state_dict(ours)
    assert epochs_of(other, stateful(other, n_workers), 16) == expected[5:]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_torchdata_refuses_a_state_of_another_loader(n_workers):
    state = stateful(make_loader(), n_workers).state_dict()
    other = stateful(make_loader(seed=4), n_workers)
    other.load_state_dict(state)
    with pytest.raises(hr.StateError, match="its 'seed' is 3, and this loader's is 4"):
        next(iter(other))
