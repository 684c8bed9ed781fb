"""JAX's loops, with Orbax and Grain's handler for it."""

import itertools
import json

import numpy as np
import pytest

import headrace as hr

jax = pytest.importorskip("jax", reason="needs headrace[jax]")

N, BATCH, STEPS = 22, 4, 5


def make_loader(**options):
    return hr.Loader(np.arange(N), BATCH, **{"seed": 7, "executor": hr.Threads(2), **options})


def seen(batches):
    return [np.asarray(batch).tolist() for batch in batches]


def flat(batches):
    return [number for batch in batches for number in batch]


def epoch_of(loader, epoch, start=0):
    return [loader.indices(epoch, step).tolist() for step in range(start, len(loader))]


@pytest.mark.cell("JAX", "peek", "early stop", "limit", "evaluation twice", "workers")
@pytest.mark.parametrize("executor", [hr.Threads(2), hr.Processes(1)])
def test_an_iteration_is_a_pass_over_one_epoch(executor):
    loader = make_loader(executor=executor)
    batches = loader.to_jax()
    assert seen([next(iter(batches))]) == epoch_of(loader, 0)[:1]  # a look at one
    assert seen(batches) == epoch_of(loader, 1)
    assert seen(itertools.islice(batches, 3)) == epoch_of(loader, 2)[:3]
    assert seen(batches) == epoch_of(loader, 3)

    evaluated = make_loader(shuffle=False, tail="partial", executor=executor)
    batches = evaluated.to_jax()
    next(iter(batches))
    for _ in range(2):
        assert flat(seen(batches)) == list(range(N))
    executor.close()


ORDERS = {
    "by weight": hr.Weighted(1.0 + np.arange(N)),
    "by class": hr.Balanced(np.arange(N) % 3),
    "by length": hr.Buckets(1 + np.arange(N) % 5, [2, 5], max_tokens=10),
}


@pytest.mark.cell("JAX", "samplings")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_orders_by_weight_class_and_length(order):
    first, second = make_loader(shuffle=order), make_loader(shuffle=order)
    steps, running, resumed = len(first), first.to_jax(), second.to_jax()
    got = seen(running) + seen(itertools.islice(running, 2))
    resumed.load_state_dict(running.state_dict())
    got += seen(resumed)
    assert got == [first.indices(*divmod(step, steps)).tolist() for step in range(2 * steps)]


def test_a_pass_has_the_state_of_the_batch_that_it_delivers_next():
    loader = make_loader()
    batches = loader.to_jax()
    next(iter(batches))
    running = iter(batches)  # of the next epoch, as the first was left
    assert batches.state_dict()["epoch"] == 0
    states = [running.get_state()]
    for step, batch in enumerate(running):
        assert np.asarray(batch).tolist() == loader.indices(1, step).tolist()
        states.append(running.get_state())
        assert running.state_dict() == batches.state_dict() == json.loads(running.get_state())
    for step, state in reversed(list(enumerate(states))):
        running.set_state(state)  # in the same iterator, as Grain's
        assert seen(running) == epoch_of(loader, 1 + step // STEPS, step % STEPS)
    batches.set_state(states[2])
    assert seen(batches) == epoch_of(loader, 1, 2)
    assert seen(batches) == epoch_of(loader, 2)


def test_a_state_that_is_none_is_refused_and_moves_nothing():
    batches = make_loader().to_jax()
    running = iter(batches)
    next(running)
    for state in (b"{", "[]", b'{"format": 1}', {"epoch": 1}):
        with pytest.raises(hr.StateError, match="state must"):
            running.set_state(state)
    assert len(seen(running)) == STEPS - 1


@pytest.mark.cell("JAX", "resume within an epoch", "resume at an epoch's end")
@pytest.mark.parametrize("stop", [3, STEPS, STEPS + 2])
def test_orbax_saves_it_as_json_and_by_the_handler_of_grain(tmp_path, stop):
    ocp = pytest.importorskip("orbax.checkpoint", reason="saves states with Orbax")
    checkpoint = pytest.importorskip("grain.checkpoint", reason="compares with Grain's handler")
    loader = make_loader()
    batches = loader.to_jax()
    for _ in range(stop // STEPS):
        seen(batches)
    running = iter(batches)
    seen(itertools.islice(running, stop % STEPS))
    expected = epoch_of(loader, stop // STEPS, stop % STEPS)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        items = ocp.args.Composite(
            state=ocp.args.JsonSave(batches.state_dict()),
            batches=checkpoint.CheckpointSave(batches),
            running=checkpoint.CheckpointSave(running),
        )
        manager.save(0, args=items)
        if stop % STEPS:
            assert seen(running) == expected

        resumed = make_loader().to_jax()
        going_on = iter(make_loader().to_jax())
        items = ocp.args.Composite(
            state=ocp.args.JsonRestore(),
            batches=checkpoint.CheckpointRestore(resumed),
            running=checkpoint.CheckpointRestore(going_on),
        )
        state = manager.restore(0, args=items).state
    assert seen(resumed) == seen(going_on) == expected
    resumed.load_state_dict(state)
    assert seen(resumed) == expected


def test_a_batch_that_a_device_does_not_take_is_named():
    mesh = jax.sharding.Mesh(np.array(jax.devices("cpu")[:1]), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
    source = {"x": np.zeros((N, 2)), "y": (np.arange(N), np.arange(N))}
    loader = hr.Loader(source, BATCH, shuffle=False)
    loader.seek(2, 3)
    with pytest.raises(ValueError, match="device_put") as raised:
        next(iter(loader.to_jax(sharding)))
    (note,) = raised.value.__notes__
    assert note.startswith(
        "headrace: while putting leaf ['y'][0], int64 of shape (4,), of the batch of "
        "epoch 2, step 3 (samples 12, 13, 14, 15) on NamedSharding("
    )
    assert loader.place == (2, 12)
