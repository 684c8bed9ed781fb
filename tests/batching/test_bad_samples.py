"""Bad samples are replaced by the same good ones on every run: counted, listed, never silent."""

import itertools
import json
import pickle
import warnings

import numpy as np
import pytest
from batch_bytes import as_bytes
from executor_fixtures import each_of
from picklable import noisy_number, noisy_or_damaged, shifted
from picklable import noisy_x as noisy
from spoilt_rows import Recorded

import headrace as hr

N, BATCH = 40, 4
MISSING, DAMAGED = (3, 17, 31), (8, 30)
BAD = sorted(MISSING + DAMAGED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files, one for each sample; some are gone, and some end early."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(N):
        np.save(folder / f"{i}.npy", np.full((3, 2), i, "float32"))
    for i in MISSING:
        (folder / f"{i}.npy").unlink()
    for i in DAMAGED:
        path = folder / f"{i}.npy"
        path.write_bytes(path.read_bytes()[:-5])
    return folder


def make_loader(folder, batch_size=BATCH, **options):
    source = {
        "x": hr.NpyFiles(folder, ids=range(N)),
        "y": hr.Labels([i % 5 for i in range(N)], n_classes=5),
        "number": np.arange(N),
    }
    defaults = {"seed": 3, "on_error": "replace", "max_bad_samples": len(BAD)}
    return hr.Loader(source, batch_size, **{**defaults, "executor": hr.Inline(), **options})


def quietly(function):
    """What it returns, and the numbers of the samples that it warns of, in order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function()
    assert {w.category for w in caught} <= {hr.BadSampleWarning}
    return result, [str(w.message) for w in caught]


@pytest.fixture(scope="module")
def substitutes(folder):
    """Of each bad sample, found by a loader in the order of the samples."""
    loader = make_loader(folder, shuffle=False)
    quietly(lambda: list(loader))
    return {bad.index: bad.substitute for bad in loader.bad_samples}


executor = each_of("Inline", "Threads", "Processes", "no budget")


def test_each_bad_sample_has_one_good_substitute_in_all_parts(folder, substitutes):
    assert sorted(substitutes) == BAD
    assert not set(substitutes.values()) & set(BAD)
    for seed, batch_size, shuffle in itertools.product((0, 1), (1, 7, N), (True, False)):
        loader = make_loader(folder, batch_size, seed=seed, shuffle=shuffle, tail="partial")
        batches, _ = quietly(lambda loader=loader: [*loader, *loader])
        for place, batch in zip(
            itertools.product(range(2), range(len(loader))), batches, strict=True
        ):
            expected = [substitutes.get(i, i) for i in loader.indices(*place).tolist()]
            assert batch["number"].tolist() == expected
            assert batch["x"][:, 0, 0].tolist() == expected
            assert batch["y"].argmax(axis=1).tolist() == [i % 5 for i in expected]


CLASSES = np.arange(N) % 5
SOURCES = np.repeat([0, 1, 2], [20, 15, N - 35])


@pytest.mark.parametrize(
    ("kinds", "shuffle"),
    [
        (CLASSES, hr.Balanced(CLASSES)),
        (SOURCES, hr.Mix([1, 2, 3])),
        (SOURCES, hr.Mix([1, 2, 3], shuffle=False)),
    ],
    ids=["a class", "a source", "a source in order"],
)
def test_a_substitute_is_of_the_same_kind(folder, executor, kinds, shuffle):
    """Whose share in a batch is what the user has asked for."""
    files = [hr.NpyFiles(folder, ids=np.flatnonzero(i == SOURCES)) for i in range(3)]
    options = {"on_error": "replace", "max_bad_samples": len(BAD), "executor": executor}
    loader = hr.Loader(hr.Concat(*files), 10, shuffle=shuffle, **options)
    quietly(lambda: [*loader, *loader])
    assert loader.bad_samples
    assert all(kinds[bad.index] == kinds[bad.substitute] for bad in loader.bad_samples)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "among others"])
def test_samples_that_a_transform_finds_bad_are_replaced_too(executor, alone):
    first = hr.per_sample(noisy_or_damaged)
    transform = first if alone else [first, shifted, hr.per_sample(noisy_number)]
    damaged = [i for i in range(N) if i % 9 == 3]
    options = {"transform": transform, "seed": 3, "tail": "partial"}
    replaced = {**options, "on_error": "replace", "max_bad_samples": len(damaged)}
    loader = hr.Loader(np.arange(N), BATCH, executor=executor, **replaced)
    batches, said = quietly(lambda: [as_bytes(batch) for batch in loader])
    assert sorted(bad.index for bad in loader.bad_samples) == damaged
    assert not {bad.substitute for bad in loader.bad_samples} & set(damaged)
    assert all(f"it is damaged (sample {index})" in "".join(said) for index in damaged)
    again = hr.Loader(np.arange(N), BATCH, executor=hr.Inline(), **replaced)
    steps = range(len(again) - 1, -1, -1)
    found, _ = quietly(lambda: [as_bytes(again.batch(0, step)) for step in steps])
    assert found[::-1] == batches
    if alone:  # good samples have the same random numbers, whoever else is in their batch
        plain = hr.Loader(
            np.arange(N), BATCH, **{**options, "transform": hr.per_sample(noisy_number)}
        )
        for step in steps:
            good = ~np.isin(again.indices(0, step), damaged)
            assert (again.batch(0, step)[good] == plain.batch(0, step)[good]).all()
        with pytest.raises(hr.SampleFormatError, match=r"^it is damaged \(sample ") as caught:
            list(hr.Loader(np.arange(N), BATCH, executor=hr.Inline(), **options))
        assert caught.value.index in damaged


def test_batches_warnings_and_lists_are_the_same_with_each_executor(folder, executor):
    options = {"transform": hr.per_sample(noisy), "tail": "pad"}
    reference = make_loader(folder, **options)
    expected, said = quietly(
        lambda: [as_bytes(reference.batch(e, s)) for e in range(2) for s in range(len(reference))]
    )
    loader = make_loader(folder, executor=executor, **options)
    batches, said_here = quietly(lambda: [as_bytes(batch) for batch in [*loader, *loader]])
    assert batches == expected
    assert said_here == said  # each bad sample once, in the order of the batches
    assert len(said) == len(BAD)
    assert loader.bad_samples == reference.bad_samples
    assert loader.stats().replaced == 2 * len(BAD)
    assert f"{2 * len(BAD)} of them replaced" in str(loader.stats())


def test_a_loader_goes_on_from_a_state_with_the_same_batches(folder, executor):
    reference = make_loader(folder)
    expected, _ = quietly(
        lambda: [as_bytes(reference.batch(e, s)) for e in range(2) for s in range(len(reference))]
    )
    for stop in range(0, len(expected), 3):
        stopped = make_loader(folder, executor=executor)
        stream = stopped.stream()
        quietly(lambda stream=stream, stop=stop: [next(stream) for _ in range(stop)])
        state = json.loads(json.dumps(stopped.state_dict()))
        resumed = make_loader(folder, executor=executor)
        resumed.load_state_dict(state)
        rest = itertools.islice(resumed.stream(), len(expected) - stop)
        batches, _ = quietly(lambda rest=rest: [as_bytes(batch) for batch in rest])
        assert batches == expected[stop:]


def test_ranks_replace_as_one_process_does(folder, substitutes):
    whole = make_loader(folder, N)
    in_order, _ = quietly(lambda: whole.batch(0, 0)["number"].tolist())
    ranks = [make_loader(folder, 5, rank=rank, world_size=2) for rank in range(2)]
    taken, _ = quietly(lambda: [[batch["number"].tolist() for batch in rank] for rank in ranks])
    assert [i for step in zip(*taken, strict=True) for rank in step for i in rank] == in_order
    met = [bad.index for rank in ranks for bad in rank.bad_samples]
    assert sorted(met) == BAD


def test_a_run_that_a_bad_sample_has_ended_goes_on_with_replacement(folder):
    """Whatever was handed over with on_error="raise" is what "replace" would have given."""
    strict = make_loader(folder, on_error="raise", max_bad_samples=None, executor=hr.Threads(2))
    taken = []
    with pytest.raises(hr.SampleError):
        taken.extend(as_bytes(batch) for batch in strict)
    loader = make_loader(folder)
    loader.load_state_dict(strict.state_dict())
    rest, _ = quietly(lambda: [as_bytes(batch) for batch in loader])
    expected, _ = quietly(
        lambda: [as_bytes(make_loader(folder).batch(0, s)) for s in range(len(loader))]
    )
    assert taken + rest == expected


def test_the_random_numbers_are_those_of_the_place_in_the_order(folder, substitutes):
    """So a sample that also stands in for another is not seen twice alike."""
    options = {"transform": hr.per_sample(noisy), "shuffle": False}
    loader = make_loader(folder, N, **options)
    plain = make_loader(folder, N, shuffle=False)
    (noised, bare), _ = quietly(lambda: (loader.batch(0, 0)["x"], plain.batch(0, 0)["x"]))
    noise = noised - bare
    bad = BAD[0]
    assert (bare[bad] == bare[substitutes[bad]]).all()
    assert not np.allclose(noise[bad], noise[substitutes[bad]])


def test_a_sample_is_listed_and_warned_of_with_its_reason(folder, substitutes):
    loader = make_loader(folder, N, shuffle=False)
    with pytest.warns(hr.BadSampleWarning) as caught:
        loader.batch(0, 0)
    first = loader.bad_samples[0]
    assert (first.index, first.substitute) == (3, substitutes[3])
    assert first.reason.startswith("sample 3 does not exist: there is no file")
    assert type(first.error) is hr.SampleNotFoundError
    assert [bad.index for bad in loader.bad_samples] == BAD
    message = str(caught[0].message)
    assert message.startswith(first.reason)
    assert f"Sample {substitutes[3]} is taken in its place" in message
    assert "bad sample 1 of at most 5 (max_bad_samples)" in message
    assert quietly(lambda: loader.batch(1, 0))[1] == []  # it is no news


def test_the_one_beyond_the_budget_is_an_error_at_its_batch(folder, executor):
    loader = make_loader(folder, shuffle=False, max_bad_samples=2, executor=executor)
    taken = []

    def take():
        taken.extend(batch["number"].tolist() for batch in loader)

    def fails():
        with pytest.raises(FileNotFoundError, match="sample 17 does not exist") as caught:
            take()
        return caught.value

    error, said = quietly(fails)
    assert type(error) is hr.SampleNotFoundError
    assert error.index == 17
    assert len(said) == 2
    assert len(taken) == 17 // BATCH
    notes = "\n".join(error.__notes__)
    assert "max_bad_samples=2, and before it these were replaced: 3, 8" in notes
    assert "epoch 0, step 4 (samples 16, 17, 18, 19)" in notes
    assert loader.place == (0, 16)
    loader.load_state_dict(loader.state_dict())
    again, said = quietly(fails)
    assert (again.index, said) == (17, [])
    assert again.__notes__ == error.__notes__
    assert [bad.index for bad in loader.bad_samples] == [3, 8]


def test_more_bad_samples_in_a_batch_than_the_budget_end_at_the_first_beyond(folder):
    loader = make_loader(folder, N, shuffle=False, max_bad_samples=3)
    with pytest.warns(hr.BadSampleWarning), pytest.raises(hr.SampleFormatError) as caught:
        loader.batch(0, 0)
    assert caught.value.index == 30


def test_a_warning_that_is_an_error_stops_once(folder):
    loader = make_loader(folder, N, shuffle=False, max_bad_samples=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in BAD:
            with pytest.raises(hr.BadSampleWarning):
                loader.batch(0, 0)
        assert loader.batch(0, 0)["number"].shape == (N,)


def test_substitutes_may_be_bad_themselves():
    """Of 40, only one can be read, so it stands in for all."""
    x = np.arange(40)
    loader = hr.Loader(
        Recorded(x, set(range(40)) - {11}), 8, on_error="replace", max_bad_samples=39,
        executor=hr.Inline(),
    )  # fmt: skip
    batches, said = quietly(lambda: list(loader))
    assert {sample for batch in batches for sample in batch.tolist()} == {11}
    assert len(said) == 39


def test_where_nearly_all_are_bad_it_is_an_error_that_says_so():
    reader = Recorded(np.arange(1000), range(1000))
    options = {"on_error": "replace", "max_bad_samples": 1000, "executor": hr.Inline()}
    loader = hr.Loader(reader, 8, shuffle=False, **options)
    with pytest.raises(hr.SampleFormatError, match="sample 7 is spoilt") as caught:
        next(iter(loader))
    assert any("has tried 64 samples in its place" in note for note in caught.value.__notes__)
    assert len(reader.calls) == 65


def test_different_parts_may_lack_different_samples():
    x, y = np.arange(12), 10 * np.arange(12)
    source = (Recorded(x, {2}), Recorded(y, {5}))
    loader = hr.Loader(source, 12, shuffle=False, on_error="replace", max_bad_samples=2)
    (x_batch, y_batch), _ = quietly(lambda: loader.batch(0, 0))
    assert (y_batch == 10 * x_batch).all()
    stand_ins = {bad.index: bad.substitute for bad in loader.bad_samples}
    assert list(stand_ins) == [2, 5]
    assert not {2, 5} & set(stand_ins.values())
    assert x_batch.tolist() == [stand_ins.get(i, i) for i in range(12)]


def test_a_bad_sample_is_looked_for_once():
    reader = Recorded(np.arange(12), {2, 9})
    loader = hr.Loader(
        reader, 4, shuffle=False, on_error="replace", max_bad_samples=2, executor=hr.Inline()
    )
    quietly(lambda: list(loader))
    first = len(reader.calls)
    assert first == 3 + 2 * 2  # each bad one: its substitute is tried, and its batch read again
    list(loader)
    assert len(reader.calls) == first + 3


def test_samples_of_memory_that_are_read_together_are_replaced(executor):
    reader = Recorded(np.arange(400), {5, 6, 200}, in_memory=True)
    loader = hr.Loader(
        (reader, np.arange(400)), 4, on_error="replace", max_bad_samples=3, executor=executor
    )
    assert loader._feed.maker.reads_together
    batches, _ = quietly(lambda: [*loader, *loader])
    expected, _ = quietly(lambda: [loader.batch(e, s) for e in range(2) for s in range(100)])
    assert [as_bytes(batch) for batch in batches] == [as_bytes(batch) for batch in expected]
    assert all((x == y).all() for x, y in batches)
    assert sorted(bad.index for bad in loader.bad_samples) == [5, 6, 200]


class Unreachable(Recorded):
    def read(self, indices, out):
        if set(indices.tolist()) & self.bad:
            raise self.error
        out[:] = self.array[indices]


@pytest.mark.parametrize(
    "error",
    [
        hr.StorageError("the store does not answer"),
        hr.ChecksumError("it has another checksum"),
        OSError(5, "input/output error"),
        hr.SampleFormatError("a sample can't be read"),  # which one?
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_raised(error):
    reader = Unreachable(np.arange(8), {2}, error)
    loader = hr.Loader(
        reader, 4, shuffle=False, on_error="replace", max_bad_samples=8, executor=hr.Inline()
    )
    with pytest.raises(type(error), match=str(error.args[-1])):
        next(iter(loader))
    assert loader.bad_samples == []


def test_a_substitute_that_has_gone_bad_is_an_error():
    reader = Recorded(np.arange(12), {2})
    loader = hr.Loader(reader, 1, shuffle=False, on_error="replace", max_bad_samples=2)
    quietly(lambda: loader.batch(0, 2))
    substitute = loader.bad_samples[0].substitute
    reader.bad.add(substitute)
    with pytest.raises(hr.SampleFormatError, match=f"sample {substitute} is spoilt"):
        loader.batch(0, 2)


class OddError(hr.SampleFormatError):
    """An error that can't be pickled."""

    def __reduce__(self):
        raise TypeError("no")


def test_an_error_that_cannot_travel_is_told_in_its_words():
    reader = Recorded(np.arange(4), {2}, OddError)
    loader = hr.Loader(reader, 4, on_error="replace", max_bad_samples=1)
    quietly(lambda: loader.batch(0, 0))
    (bad,) = loader.bad_samples
    assert str(bad.error) == "OddError: sample 2 is spoilt"
    assert bad.error.index == 2


def test_what_was_replaced_travels_as_a_pickle():
    bad = hr.BadSample(3, 5, "why", hr.SampleFormatError.at(3, "why"))
    again = pickle.loads(pickle.dumps(bad))
    assert again == bad
    assert again.error.index == 3


def test_a_copy_of_a_loader_counts_anew(folder):
    loader = make_loader(folder, N)
    quietly(lambda: loader.batch(0, 0))
    copy = pickle.loads(pickle.dumps(loader))
    assert copy.bad_samples == []
    assert len(quietly(lambda: copy.batch(0, 0))[1]) == len(BAD)
    assert copy.bad_samples == loader.bad_samples


def test_bad_arguments_name_what_is_allowed():
    x = np.arange(8)
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'replace', but 'skip' was"):
        hr.Loader(x, 2, on_error="skip")
    with pytest.raises(
        ValueError, match=r"max_bad_samples must be an int with.*None was given\. Say"
    ):
        hr.Loader(x, 2, on_error="replace")
    with pytest.raises(ValueError, match=r"max_bad_samples must be left out, but 3 was given"):
        hr.Loader(x, 2, max_bad_samples=3)
    with pytest.raises(ValueError, match=r"max_bad_samples must be an int from 1"):
        hr.Loader(x, 2, on_error="replace", max_bad_samples=0)
    with pytest.raises(TypeError, match=r"max_bad_samples must be an int, but a float"):
        hr.Loader(x, 2, on_error="replace", max_bad_samples=0.1)


def test_headspace_repeats_batches_with_substitutes_and_says_so(folder):
    loader = make_loader(folder, N)
    free, said = quietly(lambda: loader.headspace(1))
    assert len(said) == len(BAD)
    assert not set(next(iter(free))["number"].tolist()) & set(BAD)
