"""Padding leaves no trace in the weights of a model, whatever the shape of its targets.

Runs on the backend that KERAS_BACKEND names.
"""

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import BACKEND, trains

N, BATCH = 9, 4


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).random((N, *shape), "float32")


def classes(*shape):
    return np.random.default_rng(1).integers(3, size=(N, *shape))


def summed(kind, **options):
    # Else Keras divides by the number of all samples, also of those of the padding.
    return kind(reduction="sum", **options)


def one_output(shape, units, loss):
    """A model with an output for each position of its input."""
    activation = "sigmoid" if units == 1 else "softmax"
    model = keras.Sequential([keras.Input(shape), keras.layers.Dense(units, activation=activation)])
    return compiled(model, loss)


def compiled(model, loss):
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=BACKEND == "jax")
    return model


def two_outputs(outputs, losses):
    inputs = keras.Input((BATCH, 3))
    tokens = keras.layers.Dense(3, activation="softmax", name="tokens")(inputs)
    number = keras.layers.Dense(1, name="number")(keras.layers.Flatten()(inputs))
    return compiled(keras.Model(inputs, outputs(tokens, number)), losses)


LOSSES = keras.losses
TWO = {
    "tokens": summed(LOSSES.SparseCategoricalCrossentropy),
    "number": summed(LOSSES.MeanAbsoluteError),
}
# Axes as long as the batch: weights along one of them would be no error.
CASES = {
    "numbers": lambda: (
        numbers(2, 3), numbers(2, BATCH), one_output((2, 3), BATCH, summed(LOSSES.MeanSquaredError))
    ),
    "a number": lambda: (
        numbers(3), numbers(), one_output((3,), 1, summed(LOSSES.MeanSquaredError))
    ),
    "masks": lambda: (
        numbers(BATCH, BATCH, 3),
        numbers(BATCH, BATCH, 1, seed=1).round(),
        one_output((BATCH, BATCH, 3), 1, summed(LOSSES.BinaryCrossentropy)),
    ),
    "a value for each sample": lambda: (
        numbers(BATCH, BATCH, 3),
        numbers(BATCH, BATCH, 1, seed=1),
        one_output((BATCH, BATCH, 3), 1, summed(LOSSES.Dice, axis=(1, 2, 3))),
    ),
    "two outputs by name": lambda: (
        numbers(BATCH, 3),
        {"number": numbers(1), "tokens": classes(BATCH)},
        two_outputs(lambda tokens, number: {"tokens": tokens, "number": number}, TWO),
    ),
    "two outputs and losses by name": lambda: (
        numbers(BATCH, 3), (classes(BATCH), numbers(1)), two_outputs(lambda *both: both, TWO)
    ),
}  # fmt: skip


def dataset(source, tail):
    return hr.Loader(source, batch_size=BATCH, shuffle=False, tail=tail).to_keras()


@trains
@pytest.mark.parametrize("case", CASES)
def test_padding_leaves_no_trace_in_the_weights(case):
    x, y, model = CASES[case]()
    before = model.get_weights()
    weights = {}
    for tail in ("partial", "pad"):
        model.set_weights(before)
        model.fit(dataset((x, y), tail), verbose=0)
        weights[tail] = model.get_weights()
    for without, start in zip(weights["partial"], before, strict=True):
        assert not np.allclose(without, start, atol=1e-3), "it trains"
    for padded, without in zip(weights["pad"], weights["partial"], strict=True):
        np.testing.assert_allclose(padded, without, atol=1e-5)


@pytest.mark.parametrize("case", ["masks", "two outputs and losses by name"])
def test_nor_in_an_evaluation(case):
    x, y, model = CASES[case]()
    x, y = x[:3], tuple(part[:3] for part in y) if isinstance(y, tuple) else y[:3]
    padded, plain = (
        model.evaluate(dataset((x, y), tail), verbose=0) for tail in ("pad", "partial")
    )
    assert padded == pytest.approx(plain, rel=1e-4)


@pytest.mark.skipif(BACKEND != "numpy", reason="others compute shapes without memory")
def test_classes_are_not_looked_up_by_what_memory_held_before(monkeypatch):
    x, y, model = CASES["two outputs and losses by name"]()
    given = dataset((x, y), "pad")
    expected = model.evaluate(given, verbose=0)
    _, _, another = CASES["two outputs and losses by name"]()
    another.set_weights(model.get_weights())
    full = lambda shape, dtype=float, **_: np.full(shape, 129, dtype)  # noqa: E731
    monkeypatch.setattr(np, "empty", full)
    assert another.evaluate(given, verbose=0) == expected


def test_weights_of_the_users_are_multiplied_in():
    x, y, model = CASES["masks"]()
    weights = np.arange(1, 4, dtype="float32")
    padded = model.evaluate(dataset((x[:3], y[:3], weights), "pad"), verbose=0)
    plain = model.evaluate(dataset((x[:3], y[:3], weights[:, None, None]), "partial"), verbose=0)
    assert padded == pytest.approx(plain, rel=1e-4)


def mean_of_all(y, predicted):
    return keras.ops.mean(keras.ops.square(y - predicted))


@trains
@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (mean_of_all, "the loss 'mean_of_all' must give a value for each sample"),
        (LOSSES.Dice(), "the loss 'dice' must give a value for each sample"),
        (
            LOSSES.BinaryCrossentropy(reduction="mean_with_sample_weight"),
            "reduction must be another one than 'mean_with_sample_weight'",
        ),
    ],
    ids=["function", "Dice", "mean_with_sample_weight"],
)
def test_a_loss_that_takes_in_the_padding_is_refused_before_training(loss, said):
    x, y, _ = CASES["masks"]()
    model = one_output((BATCH, BATCH, 3), 1, loss)
    before = model.get_weights()
    with pytest.raises(ValueError, match=said):
        model.fit(dataset((x, y), "pad"), verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))


@trains
@pytest.mark.parametrize("compiled_before", [False, True])
def test_class_weights_beside_padding_are_refused(compiled_before):
    x, y, model = CASES["masks"]()
    if compiled_before:
        model.fit(dataset((x, y), "partial"), verbose=0)
    with pytest.raises(ValueError, match="class_weight must be None where tail='pad'"):
        model.fit(dataset((x, y), "pad"), class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0)


@trains
def test_a_compiled_model_trains_on_another_dataset():
    x, y, model = CASES["masks"]()
    for _ in range(2):
        history = model.fit(
            dataset((x, y), "pad"), epochs=2, verbose=0, validation_data=dataset((x, y), "pad")
        ).history
    assert np.isfinite(history["val_loss"]).all()


def test_weights_that_no_model_asks_for_have_one_axis():
    x, y, model = CASES["masks"]()
    given = dataset((x, y), "pad")
    assert tuple(given[2][2].shape) == (BATCH,)
    model.evaluate(given, verbose=0)
    assert tuple(given[2][2].shape) == (BATCH,)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")
def test_batches_of_to_torch_with_more_axes_are_refused():
    pytest.importorskip("torch")
    x, y, model = CASES["masks"]()
    loader = hr.Loader((x, y), batch_size=BATCH, tail="pad")
    with pytest.raises(ValueError, match="tail must be 'drop' or 'partial' for targets of several"):
        model.evaluate(loader.to_torch(), verbose=0)
    flat = one_output((3,), BATCH, "mse")
    loader = hr.Loader((numbers(3), numbers(BATCH)), batch_size=BATCH, tail="pad")
    assert np.isfinite(flat.evaluate(loader.to_torch(), verbose=0))
