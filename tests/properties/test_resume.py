"""A loader goes on from a state with exactly the next batch, whatever took it.

Batches are compared byte by byte and in order. What is expected comes from `batch` and `np.load`,
which know no place.
"""

import itertools
import json
import os
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest
from batch_bytes import as_bytes
from batch_bytes import take as take_epochs
from executor_fixtures import all_of
from picklable import noisy_x as noisy

import headrace as hr
from headrace.pytree import leaves

N, BATCH = 26, 4
IDS = [f"id-{i}" for i in range(N)]
STOPS = range(15)  # all of two epochs of 7 batches, and the beginning of the third


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for name in IDS:
        np.save(folder / f"{name}.npy", generator.normal(size=(3, 2)).astype("float32"))
    return folder


def make_loader(folder, batch_size=BATCH, **options):
    labels = hr.Labels({name: i % 5 for i, name in enumerate(IDS)}, ids=IDS, n_classes=5)
    source = {"x": hr.NpyFiles(folder, ids=IDS), "y": labels, "number": np.arange(N)}
    defaults = {"seed": 3, "tail": "partial", "transform": hr.per_sample(noisy)}
    return hr.Loader(source, batch_size, **{**defaults, **options})


def all_batches(loader, epochs):
    """The batches of `epochs` epochs, by random access."""
    return [as_bytes(loader.batch(e, s)) for e in range(epochs) for s in range(len(loader))]


def take(loader, count, way):
    """The next `count` batches."""
    if way == "stream":
        return [as_bytes(batch) for batch in itertools.islice(loader.stream(), count)]
    return take_epochs(loader, count)


def through_json(state):
    text = json.dumps(state, allow_nan=False)
    assert len(text) < 1000
    return json.loads(text)


executors = all_of("Inline", "Threads", "Processes")


@pytest.mark.parametrize("way", ["iteration", "stream"])
@pytest.mark.parametrize("before", ["Inline", "Threads", "Processes"])
@pytest.mark.parametrize("after", ["Inline", "Threads", "Processes"])
def test_the_next_batches_are_those_of_a_run_without_a_stop(folder, executors, before, after, way):
    expected = all_batches(make_loader(folder), 3)
    for stop in STOPS:
        stopped = make_loader(folder, executor=executors[before])
        assert take(stopped, stop, way) == expected[:stop]
        state = through_json(stopped.state_dict())
        resumed = make_loader(folder, executor=executors[after])
        resumed.load_state_dict(state)
        assert take(resumed, len(expected) - stop, way) == expected[stop:], f"stopped at {stop}"


@pytest.mark.parametrize("executor", ["Inline", "Threads", "Processes"])
def test_a_loader_that_has_made_batches_ahead_may_load_any_state(folder, executors, executor):
    expected = all_batches(make_loader(folder), 3)
    loader = make_loader(folder, executor=executors[executor])
    states = [loader.state_dict()]
    for stop in STOPS[1:]:
        assert take(loader, 1, "stream") == [expected[stop - 1]]
        states.append(loader.state_dict())
    for stop in [*reversed(STOPS), *STOPS]:
        loader.load_state_dict(states[stop])
        assert take(loader, 3, "iteration") == expected[stop : stop + 3], f"stopped at {stop}"


SPLITS = {  # world size, batch size of a rank
    "drop": [(1, 4), (1, 26), (2, 3), (4, 2)],
    "partial": [(1, 4), (1, 26), (2, 3)],  # it refuses to leave 2 samples to 4 ranks
    "pad": [(1, 4), (1, 26), (2, 3), (4, 2)],
}


@pytest.mark.parametrize(
    ("tail", "before", "after"),
    [(tail, *pair) for tail in SPLITS for pair in itertools.product(SPLITS[tail], repeat=2)],
)
def test_other_ranks_and_batch_sizes_go_on_with_the_same_samples(folder, before, after, tail):
    single = make_loader(folder, batch_size=1)
    in_order = [[sample_rows(single.batch(e, s))[0] for s in range(N)] for e in range(4)]

    def make_ranks(split):
        world_size, batch_size = split
        options = {"world_size": world_size, "tail": tail, "executor": hr.Inline()}
        return [make_loader(folder, batch_size, rank=r, **options) for r in range(world_size)]

    for stop in range(2 * len(make_ranks(before)[0]) + 1):
        ranks = make_ranks(before)
        for rank in ranks:
            take(rank, stop, "stream")
        state = through_json(ranks[0].state_dict())
        assert all(rank.state_dict() == state for rank in ranks)

        ranks = make_ranks(after)
        for rank in ranks:
            rank.load_state_dict(state)
        place = ranks[0].place
        assert {rank.place for rank in ranks} == {place}
        step = after[0] * after[1]
        for epoch in (place.epoch, place.epoch + 1):
            expected = in_order[epoch][place.position if epoch == place.epoch else 0 :]
            if tail == "drop":
                expected = expected[: len(expected) // step * step]
            assert expected
            assert [row for parts in zip(*ranks, strict=True) for part in parts
                    for row in sample_rows(part)] == expected  # fmt: skip


def sample_rows(batch):
    """The bytes of each sample of a batch, but not of padding."""
    weights = None
    if isinstance(batch, tuple):
        batch, weights = batch
    count = len(batch["number"]) if weights is None else int(weights.sum())
    return [tuple(leaf[i].tobytes() for leaf in leaves(batch)) for i in range(count)]


@pytest.mark.parametrize("tail", ["drop", "partial", "pad"])
@pytest.mark.parametrize("exhausted", [False, True])
def test_a_state_after_the_last_batch_goes_on_with_a_whole_epoch(folder, tail, exhausted):
    loader = make_loader(folder, tail=tail)
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)
    assert next(batches, None) is None if exhausted else True
    resumed = make_loader(folder, tail=tail)
    resumed.load_state_dict(through_json(loader.state_dict()))
    expected = [as_bytes(loader.batch(1, step)) for step in range(len(loader))]
    assert [as_bytes(batch) for batch in resumed] == expected


TRAINING = """
    import hashlib, json, os, sys
    import numpy as np
    import headrace as hr

    def noisy(sample, rng):
        return sample + rng.normal(size=sample.shape)

    if __name__ == "__main__":
        x = np.arange(26.0).reshape(26, 1)
        loader = hr.Loader(
            x, 4, seed=5, transform=hr.per_sample(noisy), executor=hr.Processes(1)
        )
        if os.path.exists("state.json"):
            with open("state.json") as file:
                loader.load_state_dict(json.load(file))
        for line, batch in zip(sys.stdin, loader.stream()):
            with open("new.json", "w") as file:
                json.dump(loader.state_dict(), file)
            os.replace("new.json", "state.json")
            print(hashlib.sha256(batch.tobytes()).hexdigest(), flush=True)
"""


def test_runs_that_are_killed_make_up_one_run(tmp_path):
    (tmp_path / "training.py").write_text(textwrap.dedent(TRAINING))

    def run(steps):
        """What training prints in so many steps, after which it is killed."""
        command = [sys.executable, "training.py"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe, text=True) as process:
            process.stdin.write("\n" * steps)
            process.stdin.flush()
            printed = [process.stdout.readline() for _ in range(steps)]
            process.kill()
        assert all(printed)
        return printed

    expected = run(14)  # of which an epoch has 6
    (tmp_path / "state.json").unlink()
    assert [*run(3), *run(3), *run(7), *run(1)] == expected


# --- what a state costs --------------------------------------------------------------------------


class Numbers:
    """As many samples as one likes; each is its number. Counts those that were read."""

    spec = hr.Spec((), np.dtype("int64"))

    def __init__(self, n):
        self.n = n
        self.n_read = 0

    def __len__(self):
        return self.n

    def read(self, indices, out):
        self.n_read += len(indices)
        out[...] = indices


@pytest.mark.parametrize("n", [10**3, 10**9, 10**12])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_state_of_any_step_is_loaded_without_going_there(n, shuffle):
    def make():
        return hr.Loader(Numbers(n), 2, shuffle=shuffle, seed=2**128 - 1, executor=hr.Inline())

    steps = [0, 1, n // 4, n // 2 - 1]  # to walk to the last ones would take days
    for epoch, step in itertools.product([0, 7, 2**40], steps):
        reader = Numbers(n)
        resumed = hr.Loader(reader, 2, shuffle=shuffle, seed=2**128 - 1, executor=hr.Inline())
        stopped = make()
        expected = [stopped.batch(epoch, step).tolist()]
        last = step == n // 2 - 1
        expected.append(stopped.batch(epoch + last, 0 if last else step + 1).tolist())
        tracemalloc.start()
        try:
            stopped.seek(epoch, step)
            state = through_json(stopped.state_dict())
            resumed.load_state_dict(state)
            assert reader.n_read == 0
            seen = [batch.tolist() for batch in itertools.islice(resumed.stream(), 2)]
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert seen == expected
        assert reader.n_read == 4
        assert peak_bytes < 5_000_000


def test_the_largest_state_is_below_1_kb():
    version = chr(0x1F600) * 64  # JSON writes 12 bytes for each
    for shuffle in (True, False):
        loader = hr.Loader(
            Numbers(2**62),
            batch_size=1,
            shuffle=shuffle,
            seed=2**128 - 1,
            transform_version=version,
            executor=hr.Inline(),
        )
        loader.seek(2**62 - 1, 2**62 - 1)
        state = loader.state_dict()
        assert (state["position"], state["transform_version"]) == (2**62 - 1, version)
        assert len(json.dumps(state)) < 1024


def test_states_are_taken_and_loaded_without_the_data(tmp_path):
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", np.zeros(2))
    np.save(tmp_path / "rows.npy", np.zeros((3, 2)))
    array = np.zeros(3)
    reader = Numbers(3)
    files = hr.NpyFiles(tmp_path, ids=["a", "b", "c"])
    source = (files, hr.NpyFile(tmp_path / "rows.npy"), array, reader)
    stopped = hr.Loader(source, batch_size=1)
    resumed = hr.Loader(source, batch_size=1)
    for file in tmp_path.iterdir():
        os.truncate(file, 0)
        file.unlink()
    state = stopped.state_dict()
    array += 1  # other values of the same samples are no other samples
    resumed.load_state_dict(state)
    assert reader.n_read == 0


# --- what is refused -----------------------------------------------------------------------------


def make_source(folder, ids=IDS[:4], labels=(0, 1, 2, 3), n_classes=5, **arrays):
    files, labels = hr.NpyFiles(folder, ids=ids), hr.Labels(labels, n_classes=n_classes)
    return {"files": files, "labels": labels, "x": np.zeros((4, 2), "float32"), **arrays}


OTHER_DATA = {
    "ids": {"ids": IDS[4:8]},
    "order of ids": {"ids": IDS[3::-1]},
    "labels": {"labels": (0, 1, 3, 2)},
    "classes": {"n_classes": 6},
    "shape": {"x": np.zeros((4, 3), "float32")},
    "dtype": {"x": np.zeros((4, 2), "float64")},
    "one part more": {"z": np.zeros(4)},
}


@pytest.mark.parametrize("change", OTHER_DATA)
def test_a_state_of_other_data_is_refused_with_both_hashes(folder, change):
    ours = hr.Loader(make_source(folder), batch_size=2)
    theirs = hr.Loader(make_source(folder, **OTHER_DATA[change]), batch_size=2)
    state = theirs.state_dict()
    hashes = f"its 'data' is '{state['data']}', and this loader's is '{ours.state_dict()['data']}'"
    with pytest.raises(hr.StateError, match=hashes):
        ours.load_state_dict(state)
    hr.Loader(make_source(folder, **OTHER_DATA[change]), batch_size=1).load_state_dict(state)


@pytest.mark.parametrize(
    ("theirs", "ours", "named"),
    [
        ("", "2", "its 'transform_version' is '', and this loader's is '2'"),
        ("2", "", "its 'transform_version' is '2', and this loader's is ''"),
        ("2", "3", "its 'transform_version' is '2', and this loader's is '3'"),
    ],
)
def test_a_state_of_another_version_of_the_transform_is_refused(theirs, ours, named):
    x = np.arange(4)
    state = hr.Loader(x, batch_size=2, transform_version=theirs).state_dict()
    loader = hr.Loader(x, batch_size=2, transform_version=ours)
    loader.seek(3, 1)
    with pytest.raises(hr.StateError, match=named):
        loader.load_state_dict(state)
    assert loader.place == (3, 2)  # a refused state moves nothing
    hr.Loader(x, batch_size=2, transform_version=theirs).load_state_dict(state)


def test_bad_versions_of_the_transform_are_refused():
    with pytest.raises(hr.ArgumentTypeError, match=r"transform_version must be a str.*a int"):
        hr.Loader(np.arange(4), batch_size=2, transform_version=2)
    with pytest.raises(hr.ArgumentError, match="transform_version must be a str of at most 64"):
        hr.Loader(np.arange(4), batch_size=2, transform_version="v" * 65)
    hr.Loader(np.arange(4), batch_size=2, transform_version="v" * 64)


def test_a_state_that_lacks_something_is_refused():
    loader = hr.Loader(np.arange(4), batch_size=2)
    for left_out in ("format", "samples", "order", "seed", "data", "transform_version"):
        state = loader.state_dict()
        del state[left_out]
        with pytest.raises(hr.StateError, match=f"its '{left_out}' is None, and this loader's is "):
            loader.load_state_dict(state)
