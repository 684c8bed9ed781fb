"""A place is kept in JAX' loops too, and goes into an Orbax checkpoint beside the parameters."""

import itertools

import numpy as np
import pytest
from batch_bytes import as_bytes, take
from executor_fixtures import each_of
from picklable import noisy

import headrace as hr

jax = pytest.importorskip("jax", reason="needs headrace[jax]")
ocp = pytest.importorskip("orbax.checkpoint", reason="saves states with Orbax")

N, BATCH, STEPS = 26, 4, 7
STOPS = range(2 * STEPS + 1)
SEED = 2**128 - 1  # beyond the numbers of JAX, and of most formats


def make_loader(**options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 3)).astype("float32")
    defaults = {"seed": SEED, "tail": "partial", "transform": hr.per_sample(noisy)}
    source = (x, x.sum(axis=1))
    return hr.Loader(source, BATCH, **{**defaults, "executor": hr.Threads(2), **options})


@pytest.fixture(scope="module")
def expected():
    """The batches of three epochs, by random access."""
    loader = make_loader()
    return [as_bytes(loader.batch(*divmod(step, STEPS))) for step in range(3 * STEPS)]


executor = each_of("Inline", "Threads", "Processes")


def test_from_every_state_the_next_batches_are_those_of_a_run_without_a_stop(executor, expected):
    stopped = make_loader(executor=executor)
    states, seen = [stopped.state_dict()], []
    for _ in range(2):
        for batch in stopped.to_jax():
            seen.append(as_bytes(batch))
            states.append(stopped.state_dict())
    assert seen == expected[: 2 * STEPS]
    resumed = make_loader(executor=executor)
    other = make_loader(executor=hr.Inline())
    for stop in reversed(STOPS):
        for loader in (resumed, other):
            loader.load_state_dict(states[stop])
            assert loader.place == loader.sampler.place(*divmod(stop, STEPS))
            rest = take(loader.to_jax(), 3 * STEPS - stop)
            assert rest == expected[stop:], f"stopped at {stop}"


@jax.jit
def trained(parameters, x, y):
    def loss(parameters):
        return ((x @ parameters["w"] + parameters["b"] - y) ** 2).mean()

    gradients = jax.grad(loss)(parameters)
    return jax.tree.map(lambda p, g: p - 0.05 * g, parameters, gradients)


def initial():
    return {"w": jax.numpy.zeros(3), "b": jax.numpy.zeros(())}


def endless(batches):
    while True:
        yield from batches


def test_training_that_an_orbax_checkpoint_goes_on_with_ends_with_the_same_bits(tmp_path):
    loader, parameters = make_loader(), initial()
    ends = []
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        batches = endless(loader.to_jax())
        for step in range(2 * STEPS + 1):
            items = ocp.args.Composite(
                parameters=ocp.args.StandardSave(parameters),
                data=ocp.args.JsonSave(loader.state_dict()),
            )
            manager.save(step, args=items)  # it writes while training goes on
            x, y = next(batches)
            parameters = trained(parameters, x, y)
            ends.append(as_bytes(parameters))

    for step in (0, 3, STEPS - 1, STEPS, STEPS + 2, 2 * STEPS):
        with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
            items = ocp.args.Composite(
                parameters=ocp.args.StandardRestore(initial()), data=ocp.args.JsonRestore()
            )
            restored = manager.restore(step, args=items)
        loader, parameters = make_loader(), restored.parameters
        loader.load_state_dict(restored.data)
        assert loader.state_dict() == restored.data
        for end, (x, y) in zip(ends[step:], endless(loader.to_jax()), strict=False):
            parameters = trained(parameters, x, y)
            assert as_bytes(parameters) == end


def test_a_batch_on_its_way_to_the_device_does_not_count():
    made = []

    def noted(batch, rng):
        made.append(int(batch[0]))
        return batch

    loader = hr.Loader(np.arange(12), 2, shuffle=False, transform=noted, executor=hr.Inline())
    list(itertools.islice(loader.to_jax(), 2))
    assert made == [0, 2, 4]
    assert loader.state_dict()["position"] == 4
