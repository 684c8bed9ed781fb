"""pad: lengths, ladders, values, sides and masks, and what can't be padded."""

import pickle

import numpy as np
import pytest

import headrace as hr

SAMPLES = [[1, 2, 3], [], [4], [5, 6]]
RAGGED = hr.Ragged.of([np.array(sample, np.int32) for sample in SAMPLES])


def padded(**options):
    return hr.pad(**options)(RAGGED)


@pytest.mark.parametrize(
    ("options", "length"),
    [({}, 3), ({"to": 5}, 5), ({"ladder": [2, 4, 8]}, 4), ({"multiple_of": 8}, 8),
     ({"to": 2, "truncate": True}, 2), ({"ladder": [1, 2], "truncate": True}, 2)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("side", ["right", "left"])
def test_samples_are_padded_to_the_length_that_is_asked_for(options, length, side):
    array = padded(side=side, value=-1, **options)
    assert array.dtype == np.int32
    for row, sample in zip(array.tolist(), SAMPLES, strict=True):
        kept = sample[:length]
        filling = [-1] * (length - len(kept))
        assert row == (kept + filling if side == "right" else filling + kept)


def test_lengths_and_mask_say_what_is_no_padding():
    for side in ("right", "left"):
        parts = padded(to=2, truncate=True, side=side, lengths=True, mask=True)
        assert parts["lengths"].tolist() == [2, 0, 1, 2]
        assert parts["mask"].dtype == bool
        expected = [sample[:2] for sample in SAMPLES]
        found = zip(parts["values"], parts["mask"], strict=True)
        assert [row[mask].tolist() for row, mask in found] == expected
    assert padded(mask=True).keys() == {"values", "mask"}


def test_each_part_may_have_a_value_of_its_own():
    batch = {"tokens": RAGGED, "labels": RAGGED, "weight": np.ones(4)}
    out = hr.pad(value={"tokens": 0, "labels": -100, "weight": 0})(batch)
    assert out["tokens"][1].tolist() == [0] * 3
    assert out["labels"][1].tolist() == [-100] * 3
    assert out["weight"] is batch["weight"]


def test_elements_may_have_axes_and_nan_is_a_value():
    ragged = hr.Ragged(np.ones((3, 2), np.float32), np.array([0, 1, 3]))
    array = hr.pad(value=np.nan)(ragged)
    assert array.shape == (2, 2, 2)
    assert np.isnan(array[0, 1]).all()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("to", [300, 1000])
def test_short_rows_and_long_ones_are_padded_alike(side, to):
    lengths = np.array([300, 0, 1, 299, 17])
    ragged = hr.Ragged(np.arange(2.0 * lengths.sum()).reshape(-1, 2), np.cumsum([0, *lengths]))
    for samples, length in ((ragged, to), (ragged[1:3], 1), (ragged[1:3], to)):
        array = hr.pad(to=length, side=side, value=-1)(samples)
        for row, sample in zip(array, samples, strict=True):
            filling = np.full((length - len(sample), 2), -1)
            parts = [sample, filling] if side == "right" else [filling, sample]
            assert (row == np.concatenate(parts)).all()


def test_empty_samples_alone_are_padded_too():
    empty = hr.Ragged(np.zeros(0, np.int32), np.zeros(4, np.int64))
    assert hr.pad()(empty).shape == (3, 0)
    assert hr.pad(ladder=[2, 4])(empty).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": 2}, "row 0 of the batch has 3 elements"),
        ({"ladder": [1, 2]}, "pass truncate=True"),
        ({"value": 2**40}, "one that int32 can hold"),
        ({"value": 2**64}, "one that int32 can hold"),
        ({"value": 0.5}, "one that int32 can hold"),
        ({"value": "x"}, "one that int32 can hold"),
        ({"value": None}, "one that int32 can hold"),
        ({"value": (0, 1)}, "value must be one number, as the batch has one part"),
    ],
    ids=str,
)
def test_what_can_not_be_padded_is_an_error(options, said):
    with pytest.raises(hr.ArgumentError, match=said):
        padded(**options)


def test_values_of_other_parts_are_refused():
    batch = {"x": RAGGED, "y": np.zeros(4)}
    with pytest.raises(hr.ArgumentError, match="for each of the parts"):
        hr.pad(value={"x": 0})(batch)


@pytest.mark.parametrize("kind", [np.datetime64, np.timedelta64])
def test_a_date_that_the_unit_of_the_samples_can_not_hold_is_refused(kind):
    days = hr.Ragged(np.array([3], "i8").astype(kind(1, "ns").dtype), np.array([0, 1, 1]))
    assert hr.pad(value=kind(2, "D"))(days)[1, 0] == kind(2, "D")
    assert np.isnat(hr.pad(value=kind("NaT", "D"))(days)[1, 0])
    for far in (10**6, -(10**6)):
        with pytest.raises(hr.ArgumentError, match=r"one that .*\[ns\] can hold"):
            hr.pad(value=kind(far, "D"))(days)
    whole = hr.Ragged(days.values.astype(kind(1, "D").dtype), days.offsets)
    with pytest.raises(hr.ArgumentError, match=r"one that .*\[D\] can hold"):
        hr.pad(value=kind(1, "h"))(whole)


@pytest.mark.parametrize("length", [3, 70])  # which is copied in another way
def test_values_that_are_not_contiguous_are_padded(length):
    boxes = np.arange(4 * (length + 1)).reshape(-1, 4)
    offsets = np.array([0, length, length + 1])
    found = hr.pad()(hr.Ragged(boxes[:, 1], offsets))
    assert found[0].tolist() == boxes[:length, 1].tolist()
    assert found[1].tolist() == [boxes[length, 1], *[0] * (length - 1)]


def test_a_value_too_large_for_float16_is_an_error():
    halves = hr.Ragged(np.ones(3, np.float16), np.array([0, 3, 3]))
    assert hr.pad(value=-np.inf)(halves)[1, 0] == -np.inf
    with pytest.raises(hr.ArgumentError, match="one that float16 can hold"):
        hr.pad(value=-1e9)(halves)


@pytest.mark.parametrize("value", [0.1, np.log(1e-10), np.array(0.1), np.float32(0.1)], ids=repr)
def test_a_value_may_become_less_precise_as_samples_may(value):
    halves = hr.Ragged(np.ones(3, np.float16), np.array([0, 3, 3]))
    assert hr.pad(value=value)(halves)[1, 0] == np.float16(value)


def test_a_batch_without_any_length_is_an_error():
    with pytest.raises(hr.ArgumentError, match=r"no part of the batch has such.*numpy\.pad"):
        hr.pad()((np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize(
    "options",
    [
        {"to": 4, "ladder": [4]}, {"to": 0}, {"multiple_of": 2, "to": 4}, {"ladder": [4, 2]},
        {"side": "top"}, {"truncate": True}, {"mask": 1}, {"value": [1, 2]},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_are_not_allowed_are_refused(options):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError)):
        hr.pad(**options)


def test_it_goes_to_processes():
    pad = pickle.loads(pickle.dumps(hr.pad(ladder=[4], mask=True)))
    assert pad(RAGGED)["mask"].sum() == 6


def doubled(sample, rng):
    return np.repeat(sample, 2)


def drawn(batch, rng):
    return np.concatenate([batch, rng.random((len(batch), 1))], axis=1)


def test_transforms_are_applied_one_after_the_other_each_with_its_own_numbers():
    reader = hr.RaggedArray(RAGGED.values, RAGGED.offsets)
    transform = [hr.per_sample(doubled, ragged=True), hr.pad(to=6), drawn, drawn]
    loader = hr.Loader(reader, 4, shuffle=False, transform=transform)
    batch = loader.batch(0, 0)
    assert batch[:, :6].tolist() == [
        list(np.repeat(sample, 2)) + [0] * (6 - 2 * len(sample)) for sample in SAMPLES
    ]
    numbers = batch[:, 6:].ravel().tolist()
    assert len(set(numbers)) == 8
    first, both = (
        hr.Loader(batch[:, :6], 4, transform=transform).batch(0, 0)
        for transform in (drawn, [drawn, drawn])
    )
    assert (first == both[:, :7]).all()  # those of a transform that is alone


@pytest.mark.parametrize("transform", [[], [hr.pad(), None], "pad", [[hr.pad()]]], ids=repr)
def test_what_is_no_transform_is_refused(transform):
    with pytest.raises((hr.ArgumentError, hr.ArgumentTypeError), match="transform"):
        hr.Loader(np.arange(4), 2, transform=transform)


def test_a_ladder_bounds_the_shapes_that_a_compiler_sees():
    jax = pytest.importorskip("jax", reason="needs headrace[jax]")
    lengths = np.random.default_rng(0).integers(0, 33, 200)
    reader = hr.RaggedArray(np.ones(lengths.sum(), np.float32), np.cumsum([0, *lengths]))
    ladder = [8, 16, 32]
    shapes = []

    @jax.jit
    def total(x):
        shapes.append(x.shape)  # once for each compilation
        return x.sum()

    loader = hr.Loader(
        reader,
        8,
        shuffle=hr.Buckets(lengths, ladder, max_tokens=128),
        tail="pad",
        transform=hr.pad(ladder=ladder),
    )
    for _ in range(2):
        for x, _ in loader.to_jax():
            total(x)
    assert sorted(shapes) == [(4, 32), (8, 8), (8, 16)]
