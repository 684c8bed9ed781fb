"""The DataLoader gives the loader's batches, with any number of workers, as tensors."""

import itertools

import in_workers
import numpy as np
import pytest
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


def expected(loader, epochs, start=0):
    steps = range(start, epochs * len(loader))
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


@pytest.mark.parametrize("workers", FORKED)
def test_a_batch_counts_once_it_is_handed_over(folder, workers):
    loader = make_loader(folder)
    batches = loader.to_torch(**WORKERS[workers])
    seen = [as_bytes(batch) for batch in itertools.islice(batches, 2)]
    assert loader.place == (0, 2 * BATCH)
    assert seen == expected(loader, 1)[:2]
    state = loader.state_dict()
    # A pass that was left is over.
    assert [as_bytes(batch) for batch in batches] == expected(loader, 2, start=len(loader))
    resumed = make_loader(folder)
    resumed.load_state_dict(state)
    rest = [as_bytes(batch) for batch in resumed.to_torch(num_workers=1)]
    assert rest == expected(loader, 1, start=2)


def test_tensors_share_the_memory_of_the_batch():
    made = []
    loader = hr.Loader(
        np.arange(8.0),
        batch_size=4,
        transform=lambda batch, rng: made.append(batch) or batch,
        executor=hr.Inline(),
    )
    tensor = next(iter(loader.to_torch()))
    assert tensor.data_ptr() == made[0].ctypes.data


def test_tensors_that_are_kept_are_never_written_again():
    x = np.repeat(np.arange(64, dtype="float32")[:, None], 20_000, axis=1)
    loader = hr.Loader(x, batch_size=8, seed=2, executor=hr.Threads(2))
    kept = []
    for epoch in range(6):
        for step, batch in enumerate(loader.to_torch()):
            kept.append((loader.indices(epoch, step), batch[3:]))
            if step % 3:
                kept.pop(step % len(kept))  # its memory may be used again
    assert all((rows.numpy() == indices[3:, None]).all() for indices, rows in kept)


def test_tensors_of_memory_that_processes_share_are_never_written_again():
    executor = hr.Processes(2)
    kept = []
    for key, batch in enumerate(executor.map(in_workers.batch, range(100))):
        tensor = torch.from_numpy(batch)
        assert tensor.data_ptr() == batch.ctypes.data
        if key % 3 == 0:
            kept.append((key, tensor[7:]))
        del batch, tensor
        if key == 80:
            kept = kept[::2]  # the memory of the others may be used again
    executor.close()
    assert all((tail.numpy() == in_workers.batch(key)[7:]).all() for key, tail in kept)


def test_transforms_may_flip_axes_and_return_views_that_are_read_only():
    def flipped(batch, rng):
        return batch[::-1], np.broadcast_to(np.float32(1), (4,))

    loader = hr.Loader(np.arange(8.0), batch_size=4, shuffle=False, transform=flipped)
    x, ones = next(iter(loader.to_torch()))
    assert (x.tolist(), ones.tolist()) == ([3, 2, 1, 0], [1, 1, 1, 1])


def test_strings_stay_arrays_of_numpy():
    loader = hr.Loader((np.arange(4), np.array(list("abcd"))), batch_size=2, shuffle=False)
    numbers, names = next(iter(loader.to_torch()))
    assert (numbers.tolist(), names.tolist()) == ([0, 1], ["a", "b"])


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


def test_moving_the_loader_within_an_iteration_is_refused():
    loader = hr.Loader(np.arange(12), batch_size=2)
    batches = iter(loader.to_torch())
    next(batches)
    loader.seek(3)
    with pytest.raises(hr.LoaderMovedError):
        next(batches)
    assert loader.place == (3, 0)


def test_leaves_that_are_no_arrays_pass_through():
    loader = hr.Loader(np.arange(4), batch_size=2, transform=lambda batch, rng: (batch, "name"))
    assert [batch[1] for batch in loader.to_torch()] == ["name", "name"]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_bad_sample_is_named(n_workers, tmp_path):
    for i in range(8):
        np.save(tmp_path / f"{i}.npy", np.full(2, i))
    files = hr.NpyFiles(tmp_path, ids=range(8))
    (tmp_path / "5.npy").unlink()
    loader = hr.Loader(files, batch_size=2, shuffle=False)
    batches = iter(loader.to_torch(num_workers=n_workers))
    assert [next(batches)[0, 0].item() for _ in range(2)] == [0, 2]
    with pytest.raises(FileNotFoundError, match="sample 5 does not exist") as failure:
        next(batches)
    told = str(failure.value) + "".join(getattr(failure.value, "__notes__", []))
    assert "epoch 0, step 2" in told
    assert loader.place == (0, 4)


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


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_of_a_mixture_with_their_indices_and_without_some_steps(num_workers):
    source = hr.Concat(np.arange(30), np.arange(100, 110))
    mix = hr.Mix([3, 1])
    options = {"shuffle": mix, "with_indices": True, "skip": [(0, 2, 3), (1, 0, 0)]}
    loader = hr.Loader(source, 4, **options)
    seen = [
        [part.tolist() for part in batch]
        for _ in range(3)
        for batch in loader.to_torch(num_workers=num_workers)
    ]
    left = [(e, s) for e in range(3) for s in range(10) if (e, s) not in {(0, 2), (0, 3), (1, 0)}]
    assert seen == [[part.tolist() for part in loader.batch(*at)] for at in left]
    assert loader.place == (3, 0)
