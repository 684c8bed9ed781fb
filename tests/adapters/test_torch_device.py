"""Batches are put on a device, one ahead of the consumer; on CUDA devices where there is one."""

import threading

import numpy as np
import pytest

import headrace as hr
from headrace.pytree import leaves

torch = pytest.importorskip("torch")

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device on this machine"
)
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]
N = 22


def make_loader(**options):
    rng = np.random.default_rng(0)
    x = rng.random((N, 5, 3)).astype(np.float32)
    return hr.Loader({"x": x, "y": np.arange(N)}, batch_size=4, tail="partial", **options)


@pytest.fixture
def copying_threads():
    """What tells which threads copy that have started since; those of other tests may be ending."""
    before = set(threading.enumerate())

    def started():
        copying = (t for t in threading.enumerate() if t.name.startswith("headrace-copy"))
        return [thread for thread in copying if thread not in before]

    return started


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_loaders_on_that_device(device, workers, copying_threads):
    loader = make_loader()
    batches = loader.to_torch(device=device, num_workers=workers)
    for epoch in range(2):
        seen = list(batches)  # kept, while others are made and copied
        assert len(seen) == len(loader)
        for step, batch in enumerate(seen):
            assert all(leaf.device.type == device for leaf in leaves(batch))
            for name, array in loader.batch(epoch, step).items():
                assert (batch[name].cpu().numpy() == array).all()
    assert loader.place == (2, 0)
    assert copying_threads() == []


def test_a_device_without_memory_gets_the_shapes():
    batches = make_loader().to_torch(device="meta")
    shapes = [(batch["x"].device.type, tuple(batch["x"].shape)) for batch in batches]
    assert shapes == [("meta", (4, 5, 3))] * 5 + [("meta", (2, 5, 3))]


def test_an_iteration_that_is_dropped_leaves_no_thread(copying_threads):
    batches = iter(make_loader().to_torch(device="cpu"))
    next(batches)
    assert len(copying_threads()) == 1
    del batches
    assert copying_threads() == []


def test_copying_is_counted_as_handing_over():
    loader = make_loader()
    list(loader.to_torch(device="cpu"))
    assert loader.stats().handing_over_s > 0


@needs_cuda
def test_pinned_memory_is_not_used_again_before_its_copy_is_done():
    x = np.arange(64 * 2**18, dtype=np.float32).reshape(64, -1)
    loader = hr.Loader(x, batch_size=16, shuffle=False, executor=hr.Threads(2))
    busy = torch.ones(4096, 4096, device="cuda")
    for _ in range(5):
        for step, batch in enumerate(loader.to_torch(device="cuda")):
            for _ in range(20):
                busy = busy @ busy / 4096
            assert torch.equal(batch.cpu(), torch.from_numpy(x[16 * step : 16 * step + 16]))
