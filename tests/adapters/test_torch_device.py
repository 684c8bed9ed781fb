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


class FailsAt:
    """Numbers, of which one can't be read."""

    spec = hr.Spec((), np.dtype(np.int64))

    def __init__(self, bad):
        self.bad = bad

    def __len__(self):
        return N

    def read(self, indices, out):
        if self.bad in indices:
            raise OSError(f"sample {self.bad} is bad")
        out[:] = indices


def make_loader(**options):
    rng = np.random.default_rng(0)
    x = rng.random((N, 5, 3)).astype(np.float32)
    return hr.Loader({"x": x, "y": np.arange(N)}, batch_size=4, tail="partial", **options)


def copying_threads():
    return [t for t in threading.enumerate() if t.name.startswith("headrace-copy")]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_loaders_on_that_device(device, workers):
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


def test_what_is_no_tensor_stays_as_it_is():
    names = np.array([f"sample {i}" for i in range(N)])
    loader = hr.Loader((names, np.arange(N)), batch_size=4, shuffle=False)
    name, number = next(iter(loader.to_torch(device="meta")))
    assert name.tolist() == [f"sample {i}" for i in range(4)]
    assert number.device.type == "meta"


def test_a_batch_counts_when_it_is_handed_over():
    loader = make_loader()
    for step, _ in enumerate(loader.to_torch(device="cpu")):
        assert loader.place == loader.sampler.after(loader.sampler.place(0, step))
        if step == 2:
            break
    loader.load_state_dict(loader.state_dict())
    assert (next(iter(loader))["y"] == loader.batch(0, 3)["y"]).all()


def test_a_failure_comes_at_its_turn():
    loader = hr.Loader(FailsAt(9), batch_size=4, shuffle=False)
    seen = []
    with pytest.raises(OSError, match="sample 9 is bad"):
        seen.extend(batch.tolist() for batch in loader.to_torch(device="cpu"))
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert loader.place == (0, 8)
    assert copying_threads() == []


def test_an_iteration_that_is_dropped_leaves_no_thread():
    batches = iter(make_loader().to_torch(device="cpu"))
    next(batches)
    assert len(copying_threads()) == 1
    del batches
    assert copying_threads() == []


def test_moving_the_loader_meanwhile_is_refused():
    loader = make_loader()
    batches = iter(loader.to_torch(device="cpu"))
    next(batches)
    loader.seek(1)
    with pytest.raises(hr.LoaderMovedError):
        next(batches)


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
