"""Transforms: random numbers that depend on seed, epoch and sample alone, and clear errors."""

import functools
import itertools

import numpy as np
import pytest

import headrace as hr
from headrace.batching.transforms import RandomStreams
from headrace.pytree import leaves

N = 24


def draw(sample, rng):
    return sample, rng.random(3), rng.integers(1000, size=2), rng.normal()


def draw_batch(batch, rng):
    return batch, rng.random(3)


def draws_by_sample(epoch, **options):
    """What each sample draws in `epoch`, whatever the batches; of all ranks together."""
    options = {"batch_size": 4, "seed": 3, "transform": hr.per_sample(draw), **options}
    drawn = {}
    for rank in range(options.get("world_size", 1)):
        loader = hr.Loader(np.arange(N), rank=rank, executor=hr.Inline(), **options)
        for step in range(len(loader)):
            for sample, *numbers in zip(*loader.batch(epoch, step)[:4], strict=True):
                drawn[int(sample)] = np.concatenate([np.ravel(n) for n in numbers]).tolist()
    assert sorted(drawn) == list(range(N))
    return drawn


@pytest.mark.parametrize(
    "options",
    [
        *[{"batch_size": size} for size in (1, 3, 8, N)],
        *[{"batch_size": 2, "world_size": ranks} for ranks in (2, 3, 4)],
        {"shuffle": False},
        {"batch_size": 7, "tail": "partial"},
        {"batch_size": 7, "tail": "pad"},
        {"batch_size": 5, "world_size": 2, "tail": "pad", "shuffle": False},
    ],
    ids=str,
)
def test_a_sample_draws_the_same_in_whatever_batch_rank_or_position(options):
    assert draws_by_sample(epoch=2, **options) == draws_by_sample(epoch=2)


def test_padding_draws_what_the_sample_draws_elsewhere():
    loader = hr.Loader(
        np.arange(N), 7, transform=hr.per_sample(draw), tail="pad", shuffle=False, seed=3
    )
    samples, first, *_ = loader.batch(0, 3)
    assert samples.tolist() == [21, 22, 23, 0, 1, 2, 3]
    assert first[3:].tolist() == loader.batch(0, 0)[1][:4].tolist()


def test_no_two_samples_epochs_or_seeds_draw_alike():
    # Seed 0 in epoch 1 too must differ from seed 1 in epoch 0.
    drawn = [
        tuple(numbers)
        for seed, epoch in itertools.product(range(4), repeat=2)
        for numbers in draws_by_sample(epoch, seed=seed).values()
    ]
    assert len(set(drawn)) == 4 * 4 * N


def test_neighbouring_streams_are_independent():
    streams = RandomStreams(0)
    n = 10_000
    drawn = np.array([streams.of_sample(0, index).random() for index in range(n)])
    assert abs(drawn.mean() - 0.5) < 4 / np.sqrt(12 * n)
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 6},
        {"batch_size": 4},
        {"batch_size": 12},
        {"batch_size": 3, "world_size": 2},
        {"batch_size": 2, "world_size": 2, "rank": 0},
        {"batch_size": 12, "shuffle": False},
        {"batch_size": 12, "tail": "partial"},
        {"batch_size": 4, "world_size": 2, "rank": 1},
    ],
    ids=str,
)
def test_a_batch_draws_by_its_first_position(options):
    loader = hr.Loader(np.arange(N), seed=3, transform=draw_batch, **options)
    drawn = {}
    for step in range(len(loader)):
        first = step * loader.sampler.global_batch_size
        first += loader.sampler.rank * loader.sampler.batch_size
        drawn[first] = loader.batch(epoch=5, step=step)[1].tolist()
    assert drawn[12] == RandomStreams(3).of_batch(5, 12).random(3).tolist()
    assert len({tuple(numbers) for numbers in drawn.values()}) == len(drawn)


@pytest.mark.parametrize("leave_over", [0, 1, 2, 3, 5])
def test_what_was_drawn_before_leaves_no_trace(leave_over):
    streams = RandomStreams(0)
    expected = streams.of_sample(0, 1).integers(2**32, size=9, dtype=np.uint32).tolist()
    # 32-bit numbers come in halves of 64-bit ones, which come in fours.
    streams.of_sample(0, 0).integers(2**32, size=leave_over, dtype=np.uint32)
    again = streams.of_sample(0, 1).integers(2**32, size=9, dtype=np.uint32).tolist()
    assert again == expected


LAST = (2**128 - 1, 2**40, 2**62 - 1)
GOLDEN = {
    ("of_sample", 0, 0, 0): [0.674438164022751, 0.4788968376798527, 0.30998762221501774],
    ("of_sample", 0, 0, 1): [0.5489570366279312, 0.6101068695880375, 0.05197522583360137],
    ("of_sample", 0, 1, 0): [0.7593813376685654, 0.7113978539954167, 0.7955939990428244],
    ("of_sample", 1, 0, 0): [0.1805903380482211, 0.1783703327970363, 0.0386233932377098],
    ("of_sample", *LAST): [0.034350217866835786, 0.042098045381586124, 0.2966312492736549],
    ("of_batch", 0, 0, 0): [0.2879136919602504, 0.9051154435768762, 0.8943758350767999],
    ("of_batch", 7, 3, 128): [0.6186321523963341, 0.25002820902602474, 0.476768877195205],
}


@pytest.mark.parametrize("of_what", GOLDEN, ids=str)
def test_draws_stay_the_same_in_every_release(of_what):
    # Whoever resumes a run with a newer release must get the same batches.
    kind, seed, epoch, number = of_what
    rng = getattr(RandomStreams(seed), kind)(epoch, number)
    assert [rng.random() for _ in range(3)] == GOLDEN[of_what]


@pytest.mark.parametrize("of_what", GOLDEN, ids=str)
def test_streams_are_numpys_own_philox_with_the_documented_key_and_counter(of_what):
    kind, seed, epoch, number = of_what
    key = np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(2, np.uint64)
    counter = [0, number, epoch, ["of_sample", "of_batch"].index(kind)]
    expected = np.random.Philox(counter=counter, key=key).random_raw(50)
    rng = getattr(RandomStreams(seed), kind)(epoch, number)
    assert np.array_equal(rng.bit_generator.random_raw(50), expected)


SOURCE = {"x": np.arange(12.0).reshape(6, 2), "y": (np.arange(6),)}


def batch_of(function, source=SOURCE, **options):
    options = {"batch_size": 3, "shuffle": False, **options}
    return hr.Loader(source, transform=hr.per_sample(function), **options).batch(1, 1)


def test_a_sample_has_the_structure_of_the_source_without_the_batch_axis():
    seen = []
    batch_of(lambda sample, rng: seen.append(sample) or 0)
    assert [sample["x"].tolist() for sample in seen] == [[6, 7], [8, 9], [10, 11]]
    assert [int(sample["y"][0]) for sample in seen] == [3, 4, 5]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda sample, rng: sample["x"], [[6, 7], [8, 9], [10, 11]]),
        (lambda sample, rng: sample["y"][0] * 2, [6, 8, 10]),
        (lambda sample, rng: float(sample["y"][0]), [3, 4, 5]),
        (lambda sample, rng: [int(sample["y"][0]), 1], [[3, 1], [4, 1], [5, 1]]),
        (lambda sample, rng: sample["x"] > 8, [[False, False], [False, True], [True, True]]),
        (lambda sample, rng: np.zeros((2, 0)), [[[], []]] * 3),
        (lambda sample, rng: "word", ["word"] * 3),
    ],
)
def test_what_is_returned_becomes_a_batch_of_it(function, expected):
    batch = batch_of(function)
    assert isinstance(batch, np.ndarray)
    assert batch.tolist() == expected


def test_arrays_come_in_the_byte_order_of_this_machine():
    def swapped(batch, rng):
        ragged = hr.Ragged(batch.astype(">f8"), np.array([0, 1, 2]))
        return {"x": batch.astype(">u2"), "ragged": ragged, "text": "as it is"}

    batch = hr.Loader(np.arange(2), 2, shuffle=False, transform=swapped).batch(0, 0)
    assert batch["x"].dtype == np.dtype("=u2")
    assert batch["ragged"].dtype == np.dtype("=f8")
    assert (batch["x"].tolist(), batch["ragged"].values.tolist()) == ([0, 1], [0.0, 1.0])
    assert batch["text"] == "as it is"


def test_structure_may_be_changed():
    batch = batch_of(lambda sample, rng: (sample["y"][0], {"sum": sample["x"].sum(), "one": 1}))
    assert batch[0].tolist() == [3, 4, 5]
    assert batch[1]["sum"].tolist() == [13, 17, 21]
    assert batch[1]["one"].tolist() == [1, 1, 1]
    assert batch[1]["sum"].dtype == np.float64


def test_sample_may_be_changed_in_place_without_changing_others_or_the_source():
    before = SOURCE["x"].copy()

    def change(sample, rng):
        sample["x"][:] *= -1
        return sample

    batch = batch_of(change)
    assert batch["x"].tolist() == [[-6, -7], [-8, -9], [-10, -11]]
    assert batch["y"][0].tolist() == [3, 4, 5]
    assert np.array_equal(SOURCE["x"], before)


def test_array_that_is_returned_may_be_used_again():
    scratch = np.zeros(2)

    def reuse(sample, rng):
        scratch[:] = sample["x"]
        return scratch

    assert batch_of(reuse).tolist() == [[6, 7], [8, 9], [10, 11]]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda s, rng: np.zeros(int(s["y"][0])), "the same shape and dtype .* (4,) float64 after "
                                                  "(3,) float64"),
        (lambda s, rng: s["x"] if s["y"][0] < 4 else s["x"].astype(int), "(2,) int64 after (2,) f"),
        (lambda s, rng: {"a": (0, "x" * int(s["y"][0]))}, "<U4 at ['a'][1] after () <U3"),
        (lambda s, rng: (1, 2) if s["y"][0] < 4 else (1,), "the same structure .* at ['[0]'] after "
                                                           "those at ['[0]', '[1]']"),
        (lambda s, rng: {"a": 1} if s["y"][0] < 4 else {"b": 1}, "the same structure"),
        (lambda s, rng: 1 if s["y"][0] < 4 else (1,), "the same structure"),
        (lambda s, rng: () if s["y"][0] == 4 else 1, "the same structure"),
    ],
)  # fmt: skip
def test_samples_that_do_not_fit_together_are_refused_with_sample_and_batch(function, said):
    with pytest.raises(hr.ArgumentError, match=r"^the transform must return ") as caught:
        batch_of(function)
    for part in said.split(" .* "):
        assert part in str(caught.value)
    assert caught.value.__notes__[0].endswith("<lambda>) of sample 4, row 1 of its batch")
    assert caught.value.__notes__[1] == (
        "headrace: while making the batch of epoch 1, step 1 (samples 3, 4, 5)"
    )


@pytest.mark.parametrize(
    "returned", [None, {"x": None}, object()], ids=["None", "in a dict", "object"]
)
def test_a_sample_of_objects_is_refused(returned):
    # A forgotten `return` must not become a batch of Nones.
    with pytest.raises(hr.ArgumentError, match=r"^the transform must return arrays or numbers"):
        batch_of(lambda sample, rng: returned)


@pytest.mark.parametrize(
    "within",
    [
        lambda masked: masked,
        lambda masked: [[masked], [masked]],
        list,
        lambda masked: [list(masked)],
    ],
)
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_values_of_a_sample_that_are_masked_are_refused(within):
    with pytest.raises(hr.ArgumentError, match=r"must return values .* filled\(\.\.\.\)"):
        batch_of(lambda sample, rng: within(np.ma.masked_equal([0, 1], 1)))


@pytest.mark.parametrize("ragged", [True, {"x": True}], ids=["all", "named"])
def test_an_empty_list_is_refused_as_it_has_no_dtype(ragged):
    # Else the dtype of a batch would depend on whether all of its samples are empty.
    def numbers(sample, rng):
        found = [int(sample)] * int(sample)
        return {"x": found} if isinstance(ragged, dict) else found

    transform = hr.per_sample(numbers, ragged=ragged)
    loader = hr.Loader(np.array([0, 0, 1, 2]), 2, shuffle=False, transform=transform)
    with pytest.raises(hr.ArgumentError, match=r"an empty list.*numpy\.array\(.*dtype"):
        loader.batch(0, 0)
    assert [sample.tolist() for sample in next(leaves(loader.batch(0, 1)))] == [[1], [2, 2]]


def test_ragged_of_another_structure_is_refused():
    def batch(returned, ragged):
        transform = hr.per_sample(lambda sample, rng: returned, ragged=ragged)
        return hr.Loader(np.arange(2), 2, transform=transform).batch(0, 0)

    with pytest.raises(hr.ArgumentError, match="ragged must be one bool, as the transform returns"):
        batch(np.zeros(2), {"x": True})
    with pytest.raises(hr.ArgumentError, match="a bool for each of the leaves"):
        batch({"x": np.zeros(2), "y": 1}, {"x": True})


def test_a_batch_of_nothing_is_refused():
    loader = hr.Loader(np.arange(4), 2, transform=lambda batch, rng: None)
    with pytest.raises(hr.ArgumentError, match=r"^the transform must return .*None"):
        loader.batch(0, 0)


def noisy(sample, rng):
    raise KeyError("its own")


class Scaled:
    """Of one argument, as those of torchvision."""

    def __call__(self, x):
        return x


def test_error_of_a_sample_keeps_its_type_and_names_function_sample_epoch_and_step():
    with pytest.raises(KeyError) as caught:
        batch_of(noisy)
    assert caught.value.args == ("its own",)
    assert caught.value.__notes__ == [
        "headrace: in per_sample(noisy) of sample 3, row 0 of its batch",
        "headrace: while making the batch of epoch 1, step 1 (samples 3, 4, 5)",
    ]


def test_error_of_a_batch_keeps_its_type_and_names_epoch_and_step():
    def bad(batch, rng):
        return batch[99]

    loader = hr.Loader(np.arange(1000), 99, shuffle=False, transform=bad)
    with pytest.raises(IndexError) as caught:
        loader.batch(epoch=4, step=2)
    assert caught.value.__notes__ == [
        "headrace: while making the batch of epoch 4, step 2 "
        "(samples 198, 199, 200, 201, 202, 203, 204, 205, ... 99 in all)"
    ]


@pytest.mark.parametrize("function", [None, 5, "name"])
def test_what_is_no_function_is_refused_by_name(function):
    with pytest.raises(
        hr.ArgumentTypeError, match=r"^function must be a function of \(sample, rng\)"
    ):
        hr.per_sample(function)


def test_repr_names_the_function():
    assert repr(hr.per_sample(noisy)) == "per_sample(noisy)"
    assert "partial" in repr(hr.per_sample(functools.partial(noisy)))


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (lambda x: x, r"^transform must be called as fn\(batch, rng\), but <lambda>\(x\) can't be"),
        (lambda x, *, rng: x, r"<lambda>\(x, \*, rng\) can't be"),
        (lambda x, rng, more: x, r"can't be"),
        ([noisy, Scaled()], r"but Scaled\(x\) can't be.*torchvision"),
        ([noisy, hr.pad], r"^transform must be a function.*Call it: pad\(\.\.\.\)\."),
        (hr.per_sample, r"^transform must be a function of \(batch, rng\), per_sample\(fn\)"),
    ],
)
def test_a_function_that_takes_other_arguments_is_refused_before_any_batch(transform, said):
    with pytest.raises(hr.ArgumentTypeError, match=said):
        hr.Loader(np.arange(4), 2, transform=transform)


def test_a_function_of_a_sample_that_takes_other_arguments_is_refused():
    said = r"^function must be called as fn\(sample, rng\), but <lambda>\(x\) can't be"
    with pytest.raises(hr.ArgumentTypeError, match=said):
        hr.per_sample(lambda x: x)
    with pytest.raises(hr.ArgumentTypeError, match=r"^function must be .*Call it: RandomCrop\("):
        hr.per_sample(hr.RandomCrop)


@pytest.mark.parametrize(
    "transform",
    [functools.partial(lambda scale, x, rng: x, 2), lambda *arguments: arguments[0], np.maximum],
    ids=["partial", "any", "without a signature"],
)
def test_what_may_take_two_arguments_is_taken(transform):
    hr.Loader(np.arange(4), 2, transform=transform)
    hr.per_sample(transform)
