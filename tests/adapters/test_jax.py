"""The loader's batches as arrays of JAX, on a device or a sharding."""

import itertools
import os
import subprocess
import sys
import textwrap

import in_workers
import numpy as np
import pytest
from batch_bytes import as_bytes
from stopping import STOPPING, stopping_loader

import headrace as hr
from headrace.pytree import leaves

jax = pytest.importorskip("jax")


def make_loader(**options):
    x = np.random.default_rng(0).normal(size=(26, 6)).astype("float32")
    source = {"x": x, "y": (np.arange(26, dtype="int32"),)}
    return hr.Loader(source, **{"batch_size": 4, "seed": 2, **options})


def expected(loader, epochs, start=0):
    steps = range(start, epochs * len(loader))
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


def test_a_batch_counts_once_it_is_handed_over():
    loader = make_loader()
    batches = loader.to_jax()
    seen = [as_bytes(batch) for batch in itertools.islice(batches, 2)]
    assert loader.place == (0, 8)
    loader.load_state_dict(loader.state_dict())
    seen += [as_bytes(batch) for batch in batches]
    assert seen == expected(loader, 1)
    assert loader.place == (1, 0)


def test_a_failure_comes_at_its_turn():
    def failing(batch, rng):
        if 4 in batch:
            raise ValueError("bad")
        return batch

    loader = hr.Loader(np.arange(10), batch_size=2, shuffle=False, transform=failing)
    batches = iter(loader.to_jax())
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="bad"):
        next(batches)
    assert loader.place == (0, 4)


@pytest.mark.fault("`StopIteration` where a batch is made", "error", "JAX")
@pytest.mark.parametrize("what", STOPPING)
def test_a_stop_iteration_does_not_end_an_epoch(what):
    loader = stopping_loader(what)
    seen = []
    with pytest.raises(hr.StoppedEarlyError, match=r"stopping\.py"):
        seen.extend(loader.to_jax())
    assert len(seen) == 2
    assert loader.place == (0, 2 * len(seen[0]))


def test_moving_the_loader_within_an_iteration_is_refused():
    loader = hr.Loader(np.arange(12), batch_size=2)
    batches = iter(loader.to_jax())
    next(batches)
    loader.seek(3)
    with pytest.raises(hr.LoaderMovedError):
        next(batches)
    assert loader.place == (3, 0)


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


def test_strings_stay_arrays_of_numpy():
    loader = hr.Loader((np.arange(4), np.array(list("abcd"))), batch_size=2, shuffle=False)
    numbers, names = next(iter(loader.to_jax()))
    assert (numbers.tolist(), names.tolist()) == ([0, 1], ["a", "b"])


def test_samples_of_any_length_are_refused_until_they_are_padded():
    source = {"tokens": hr.RaggedArray(np.arange(6), np.array([0, 1, 4, 6])), "y": np.arange(3)}
    loader = hr.Loader(source, batch_size=3)
    with pytest.raises(hr.ArgumentError, match=r"JAX takes arrays.*\['tokens'\].*headrace\.pad"):
        next(iter(loader.to_jax()))
    assert loader.place == (0, 0)
    padded = hr.Loader(source, batch_size=3, transform=hr.pad(to=4))
    assert next(iter(padded.to_jax()))["tokens"].shape == (3, 4)


def test_a_cpu_takes_the_memory_of_a_batch_over():
    made = []
    loader = hr.Loader(
        np.zeros((8, 1024), "float32"),
        batch_size=4,
        transform=lambda batch, rng: made.append(batch) or batch,
        executor=hr.Inline(),
    )
    (batch, _) = loader.to_jax(jax.devices("cpu")[0])
    assert batch.unsafe_buffer_pointer() == made[0].ctypes.data


def test_batches_handed_over_are_never_written_again():
    # JAX may share their memory, so a reused buffer would change them later.
    x = np.repeat(np.arange(64, dtype="float32")[:, None], 20_000, axis=1)
    loader = hr.Loader(x, batch_size=8, seed=2, executor=hr.Threads(2))
    batches = []
    for epoch in range(6):
        for step, batch in enumerate(loader.to_jax()):
            batches.append((loader.indices(epoch, step), batch))
            if step % 3:
                batches.pop(step % len(batches))  # its memory may be used again
    assert all((np.asarray(batch) == indices[:, None]).all() for indices, batch in batches)


def test_arrays_in_memory_that_processes_share_are_never_written_again():
    executor = hr.Processes(2)
    cpu = jax.devices("cpu")[0]
    kept, aliased = [], 0
    for key, batch in enumerate(executor.map(in_workers.batch, range(100))):
        array = jax.device_put(batch, cpu)
        aliased += array.unsafe_buffer_pointer() == batch.ctypes.data
        if key % 3 == 0:
            kept.append((key, array))
        del batch, array
        if key == 80:
            kept = kept[::2]  # the memory of the others may be used again
    executor.close()
    assert aliased == 100
    assert all((np.asarray(array) == in_workers.batch(key)).all() for key, array in kept)


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
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **four_devices},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout == "steps 4\n", done.stderr


def test_batches_of_a_mixture_with_their_indices_and_without_some_steps():
    source = hr.Concat(np.arange(30), np.arange(100, 110))
    options = {"shuffle": hr.Mix([3, 1]), "with_indices": True, "skip": [(0, 2, 3), (1, 0, 0)]}
    loader = hr.Loader(source, 4, **options)
    seen = [[part.tolist() for part in batch] for _ in range(3) for batch in loader.to_jax()]
    left = [(e, s) for e in range(3) for s in range(10) if (e, s) not in {(0, 2), (0, 3), (1, 0)}]
    assert seen == [[part.tolist() for part in loader.batch(*at)] for at in left]
