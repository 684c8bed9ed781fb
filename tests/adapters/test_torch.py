"""The DataLoader gives the loader's batches, with any number of workers, as tensors."""

import threading

import numpy as np
import pytest
from adapter_contract import AdapterContract, MemoryContract
from batch_bytes import as_bytes
from picklable import as_dict, noisy
from spoilt_rows import Recorded

import headrace as hr

torch = pytest.importorskip("torch")

from headrace.adapters.torch import as_tensor

N, BATCH = 26, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for i in range(N):
        np.save(folder / f"{i}.npy", np.full((3, 2), i, "float32"))
    return folder


def make_loader(folder, **options):
    source = (hr.NpyFiles(folder, ids=range(N)), hr.Labels(np.arange(N) % 5, n_classes=5))
    options = {"transform": hr.per_sample(noisy), "executor": hr.Threads(2), **options}
    return hr.Loader(source, batch_size=BATCH, seed=3, **options)


def expected(loader, epochs):
    steps = range(epochs * len(loader))
    return [as_bytes(loader.batch(*divmod(step, len(loader)))) for step in steps]


WORKERS = {
    "no workers": {},
    "2 workers": {"num_workers": 2},
    "2 persistent workers": {"num_workers": 2, "persistent_workers": True},
    "2 spawned workers": {"num_workers": 2, "multiprocessing_context": "spawn"},
    "2 persistent forkserver workers": {
        "num_workers": 2,
        "multiprocessing_context": "forkserver",
        "persistent_workers": True,
    },
}
# Those that need not import PyTorch, for what is not of the start of a worker.
FORKED = ["no workers", "2 workers", "2 persistent workers"]


@pytest.mark.parametrize(
    ("workers", "tail"),
    [(workers, "pad") for workers in WORKERS]
    + [(workers, tail) for workers in FORKED for tail in ("drop", "partial")],
)
def test_batches_are_the_loaders_with_any_workers(folder, workers, tail):
    loader = make_loader(folder, tail=tail)
    batches = loader.to_torch(**WORKERS[workers])
    assert isinstance(batches, torch.utils.data.DataLoader)
    assert len(batches) == len(loader)
    seen = []
    for epoch in range(2):
        assert loader.place == (epoch, 0)
        for batch in batches:
            assert type(batch) is tuple
            assert all(isinstance(leaf, torch.Tensor) for leaf in batch)
            seen.append(as_bytes(batch))
    assert seen == expected(loader, 2)


class TestTorch(AdapterContract):
    @pytest.fixture(autouse=True, params=["no workers", "2 persistent workers", "a device"])
    def _workers(self, request):
        self.options = {"a device": {"device": "cpu"}, **WORKERS}[request.param]
        before = set(threading.enumerate())
        yield
        started = set(threading.enumerate()) - before
        assert not [thread for thread in started if thread.name.startswith("headrace-copy")]

    def adapted(self, loader):
        return loader.to_torch(**self.options)


class TestMemory(MemoryContract):
    def adapted(self, loader):
        return loader.to_torch()

    def converted(self, array):
        return torch.from_numpy(array)

    def address(self, converted):
        return converted.data_ptr()


def test_transforms_may_flip_axes_and_return_views_that_are_read_only():
    def flipped(batch, rng):
        return batch[::-1], np.broadcast_to(np.float32(1), (4,))

    loader = hr.Loader(np.arange(8.0), batch_size=4, shuffle=False, transform=flipped)
    x, ones = next(iter(loader.to_torch()))
    assert (x.tolist(), ones.tolist()) == ([3, 2, 1, 0], [1, 1, 1, 1])


OF_ML_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", [*OF_ML_DTYPES, "uint8", "uint16", "uint32", "uint64"])
def test_types_that_this_pytorch_has_become_tensors(name, workers):
    ml_dtypes = pytest.importorskip("ml_dtypes") if name in OF_ML_DTYPES else np
    x = np.arange(8, dtype="float32").astype(getattr(ml_dtypes, name)).reshape(4, 2)
    loader = hr.Loader({"x": x}, batch_size=4, shuffle=False)
    (batch,) = loader.to_torch(num_workers=workers)
    if not hasattr(torch, name):
        assert batch["x"].dtype == x.dtype
    else:
        assert batch["x"].dtype is getattr(torch, name)
        assert batch["x"].float().tolist() == x.astype("float32").tolist()


def test_types_that_pytorch_has_not_stay_arrays_of_numpy():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.zeros(4, ml_dtypes.int4), np.zeros(4, "longdouble"), np.zeros(4, "M8[s]")
    (batch,) = hr.Loader(x, batch_size=4).to_torch()
    assert [leaf.dtype for leaf in batch] == [part.dtype for part in x]


def test_tensors_of_bfloat16_share_the_memory_of_the_batch():
    x = np.zeros((4, 2), pytest.importorskip("ml_dtypes").bfloat16)
    assert as_tensor(x).data_ptr() == x.ctypes.data


def test_two_iterations_at_once_are_refused():
    batches = hr.Loader(np.arange(12), batch_size=2).to_torch()
    first, second = iter(batches), iter(batches)
    assert [next(first).tolist(), next(second).tolist()] != [next(iter(batches)).tolist()] * 2
    with pytest.raises(hr.LoaderMovedError, match="Begin another iteration after moving a loader"):
        next(first)


def test_an_iteration_that_another_has_ended_takes_nothing_from_it():
    loader = hr.Loader(np.arange(12), batch_size=2)
    batches = loader.to_torch(num_workers=1, persistent_workers=True)
    first = iter(batches)
    next(first)
    second = iter(batches)
    seen = [next(second).tolist()]
    with pytest.raises(hr.LoaderMovedError):
        next(first)
    seen += [batch.tolist() for batch in second]
    assert seen == [loader.batch(1, step).tolist() for step in range(6)]


def test_leaves_that_are_no_arrays_pass_through():
    loader = hr.Loader(np.arange(4), batch_size=2, transform=lambda batch, rng: (batch, "name"))
    assert [batch[1] for batch in loader.to_torch()] == ["name", "name"]


def test_options_go_to_the_data_loader_but_for_the_loaders_own(folder):
    loader = make_loader(folder)
    batches = loader.to_torch(num_workers=1, prefetch_factor=3)
    assert (batches.num_workers, batches.prefetch_factor) == (1, 3)
    for name in ("batch_size", "shuffle", "sampler", "drop_last"):
        with pytest.raises(ValueError, match=f"{name} must be left out.*Set it on the Loader"):
            loader.to_torch(**{name: 1})


def test_a_plain_data_loader_serves_too(folder):
    from headrace.adapters.torch import Dataset, Sampler

    loader = make_loader(folder)
    batches = torch.utils.data.DataLoader(
        Dataset(loader), batch_size=None, sampler=Sampler(loader), num_workers=2
    )
    # Its own collate function makes a list of a tuple.
    assert [as_bytes(tuple(batch)) for batch in batches] == expected(loader, 1)


@pytest.mark.parametrize("workers", FORKED)
def test_bad_samples_are_counted_in_the_process_of_the_loader(tmp_path, folder, workers):
    for i in range(N):
        if i not in (3, 11, 12):
            (tmp_path / f"{i}.npy").write_bytes((folder / f"{i}.npy").read_bytes())
    shape = {"shape": (3, 2), "dtype": "float32"}
    reader = hr.NpyFiles(tmp_path, ids=range(N), **shape)

    def make_loader(most):
        return hr.Loader(
            reader, BATCH, seed=3, tail="partial", on_error="replace", max_bad_samples=most
        )

    loader = make_loader(3)
    with pytest.warns(hr.BadSampleWarning) as said:
        taken = [as_bytes(batch) for batch in loader.to_torch(**WORKERS[workers])]
    alone = make_loader(3)
    with pytest.warns(hr.BadSampleWarning):
        assert taken == expected(alone, 1)
    assert loader.bad_samples == alone.bad_samples
    said = [warning for warning in said if warning.category is hr.BadSampleWarning]
    assert len(said) == len(loader.bad_samples) == 3
    with pytest.warns(hr.BadSampleWarning), pytest.raises(hr.SampleNotFoundError) as caught:
        list(make_loader(2).to_torch(**WORKERS[workers]))
    assert any("max_bad_samples=2" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("workers", [*FORKED, "2 spawned workers"])
def test_a_collate_function_gets_batches_also_where_samples_are_replaced(workers):
    numbers, bad = np.arange(N), {3, 11}

    def make_loader():
        source = (Recorded(numbers, bad), numbers % 5)
        return hr.Loader(source, BATCH, on_error="replace", max_bad_samples=2)

    alone = make_loader()
    with pytest.warns(hr.BadSampleWarning):
        wanted = [as_dict(batch) for batch in alone]
    loader = make_loader()
    with pytest.warns(hr.BadSampleWarning):
        taken = list(loader.to_torch(collate_fn=as_dict, **WORKERS[workers]))
    assert [as_bytes(batch) for batch in taken] == [as_bytes(batch) for batch in wanted]
    assert loader.bad_samples == alone.bad_samples


def test_another_data_loader_over_the_parts_of_one_gives_batches():
    """As a library makes it that puts a DataLoader of its own in the place of the user's."""
    loader = hr.Loader(
        Recorded(np.arange(8), {3}), 4, shuffle=False, on_error="replace", max_bad_samples=1
    )
    given = loader.to_torch(num_workers=1, persistent_workers=True)
    with pytest.warns(hr.BadSampleWarning):
        wanted = [as_bytes(batch) for batch in given]
    loader.seek(0)
    other = torch.utils.data.DataLoader(
        given.dataset,
        batch_sampler=given.batch_sampler,
        collate_fn=given.collate_fn,
        num_workers=1,
    )
    assert [as_bytes(batch) for batch in other] == wanted
