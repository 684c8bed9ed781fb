"""The loader's batches as arrays of JAX, on a device or a sharding."""

import numpy as np
import pytest
from adapter_contract import AdapterContract, MemoryContract
from batch_bytes import as_bytes
from other_python import printed_by
from stopping import STOPPING, stopping_loader

import headrace as hr
from headrace.pytree import leaves

jax = pytest.importorskip("jax")


def make_loader(**options):
    x = np.random.default_rng(0).normal(size=(26, 6)).astype("float32")
    source = {"x": x, "y": (np.arange(26, dtype="int32"),)}
    return hr.Loader(source, **{"batch_size": 4, "seed": 2, **options})


def expected(loader, epochs):
    steps = range(epochs * len(loader))
    return [as_bytes(loader.batch(*divmod(step, len(loader)))) for step in steps]


@pytest.mark.parametrize("tail", ["drop", "partial", "pad"])
@pytest.mark.parametrize("executor", [hr.Inline(), hr.Threads(2)])
def test_batches_are_the_loaders(tail, executor):
    loader = make_loader(tail=tail, executor=executor)
    batches = loader.to_jax()
    assert len(batches) == len(loader)
    seen = []
    for epoch in range(3):
        assert loader.place == (epoch, 0)
        for batch in batches:
            assert all(isinstance(leaf, jax.Array) for leaf in leaves(batch))
            seen.append(as_bytes(batch))
    assert seen == expected(loader, 3)


@pytest.mark.parametrize("n_batches", [1, 2, 3])
def test_short_epochs(n_batches):
    loader = hr.Loader(np.arange(n_batches * 2), batch_size=2)
    seen = [as_bytes(batch) for _ in range(3) for batch in loader.to_jax()]
    x = [as_bytes(jax.numpy.asarray(loader.batch(e, s)))
         for e in range(3) for s in range(n_batches)]  # fmt: skip
    assert seen == x


@pytest.mark.fault("`StopIteration` where a batch is made", "error", "JAX")
@pytest.mark.parametrize("what", STOPPING)
def test_a_stop_iteration_does_not_end_an_epoch(what):
    loader = stopping_loader(what)
    seen = []
    with pytest.raises(hr.StoppedEarlyError, match=r"stopping\.py"):
        seen.extend(loader.to_jax())
    assert len(seen) == 2
    assert loader.place == (0, 2 * len(seen[0]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([1, 2**40 + 1]), "has 1099511627777, which int32 can't hold"),
        (np.array([1, 2**32], "u8"), "has 4294967296, which uint32 can't hold"),
        (np.array([1, 1e300]), r"has 1e\+300, which float32 can't hold"),
    ],
)
def test_numbers_that_jax_would_change_are_an_error(values, said):
    """As it has no 64 bits unless it is told to, and cuts off what is too much."""
    batches = iter(hr.Loader({"x": values}, 1, shuffle=False).to_jax())
    assert next(batches)["x"].tolist() == [1]
    with pytest.raises(hr.ArgumentError, match=f"{said}.*jax_enable_x64") as caught:
        next(batches)
    assert "leaf ['x']" in caught.value.__notes__[0]


def test_samples_of_any_length_are_refused_until_they_are_padded():
    source = {"tokens": hr.RaggedArray(np.arange(6), np.array([0, 1, 4, 6])), "y": np.arange(3)}
    loader = hr.Loader(source, batch_size=3)
    with pytest.raises(hr.ArgumentError, match=r"JAX takes arrays.*\['tokens'\].*headrace\.pad"):
        next(iter(loader.to_jax()))
    assert loader.place == (0, 0)
    padded = hr.Loader(source, batch_size=3, transform=hr.pad(to=4))
    assert next(iter(padded.to_jax()))["tokens"].shape == (3, 4)


class TestJax(AdapterContract):
    def adapted(self, loader):
        return loader.to_jax()


class TestMemory(MemoryContract):
    def adapted(self, loader):
        return loader.to_jax(jax.devices("cpu")[0])

    def converted(self, array):
        return jax.device_put(array, jax.devices("cpu")[0])

    def address(self, converted):
        return converted.unsafe_buffer_pointer()


def test_a_sharding_over_several_devices():
    script = """
        import jax, numpy as np, headrace as hr
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        assert len(jax.devices()) == 4
        sharding = NamedSharding(Mesh(np.array(jax.devices()), "batch"), PartitionSpec("batch"))
        loader = hr.Loader(np.arange(32, dtype="float32"), batch_size=8, seed=1)
        for step, batch in enumerate(loader.to_jax(sharding)):
            assert batch.sharding == sharding
            assert [shard.data.shape for shard in batch.addressable_shards] == [(2,)] * 4
            assert np.asarray(batch).tolist() == loader.batch(0, step).tolist()
        print("steps", step + 1)
    """
    four_devices = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    assert printed_by(script, environment=four_devices) == "steps 4\n"
