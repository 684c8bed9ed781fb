"""Batches of different shapes train on every backend, or are refused with what to do.

Runs on the backend that KERAS_BACKEND names. Only tensorflow has to know the shapes before.
"""

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import BACKEND, trains

LONGEST = 6

needs_shapes = pytest.mark.skipif(BACKEND != "tensorflow", reason="others take any shapes")
pytestmark = trains

X = np.random.default_rng(0).random((24, LONGEST, 3), "float32")
Y = np.random.default_rng(1).integers(3, size=(24, LONGEST))


class Cropped:
    """As a transform: cuts a batch to the length that is its step's turn."""

    def __init__(self, *lengths):
        self.lengths = lengths

    def __call__(self, batch, rng):
        x, y = batch
        first = int(np.flatnonzero((X[:, 0] == x[0, 0]).all(1))[0])
        length = self.lengths[first // 4 % len(self.lengths)]
        return x[:, :length], y[:, :length]


def cropped_loader(*lengths, tail="drop"):
    return hr.Loader((X, Y), 4, shuffle=False, tail=tail, transform=Cropped(*lengths))


def dataset(*lengths, tail="drop", **options):
    return cropped_loader(*lengths, tail=tail).to_keras(**options)


def compiled(model):
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=BACKEND == "jax")
    return model


def model_of(length):
    layers = [keras.Input((length, 3)), keras.layers.Dense(3, activation="softmax")]
    return compiled(keras.Sequential(layers))


class Undeclared(keras.Model):
    """A model that says nothing of the shapes of its inputs."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.dense(x)


class Masked(Undeclared):
    """Steps and their mask, and features that are as many as the first steps, by chance."""

    def __init__(self):
        super().__init__()
        self.of_features = keras.layers.Dense(3)

    def call(self, x):
        values = x["values"] * keras.ops.cast(x["mask"], "float32")[..., None]
        return self.dense(values + self.of_features(x["features"])[:, None])


class Unrolled(Undeclared):
    """One whose length has to be a number."""

    def call(self, x):
        return keras.ops.stack([self.dense(x[:, step]) for step in range(x.shape[1])], 1)


class OwnStep(Undeclared):
    """One that may do anything with a batch."""

    def train_step(self, *args):
        return super().train_step(*args)


def sequential():
    return keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3, activation="softmax")])


# The first batches may agree, by which Keras would take their length for that of all.
LENGTHS = {"at first equal": (5, 5, 3), "different": (5, 3, 6)}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_a_model_with_an_open_axis_trains(lengths, tail):
    given, model = dataset(*lengths, tail=tail), model_of(None)
    history = model.fit(given, epochs=2, validation_data=dataset(*lengths), verbose=0).history
    assert np.isfinite([*history["loss"], *history["val_loss"]]).all()
    assert given.loader.place == (2, 0)
    model.predict(dataset(5, 5, 5), verbose=0)


def with_mask(batch, rng):
    x, y = batch
    mask = np.cumsum(x[..., 0] > 0.5, axis=1) > 0
    return {"values": x, "mask": mask, "features": np.ones((len(x), 5), "float32")}, y


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("make", [Undeclared, sequential, Masked])
def test_a_model_that_declares_nothing_trains_as_with_named_shapes(make, lengths):
    x = (None, None, 3)
    transform = [Cropped(*lengths)]
    if make is Masked:
        transform.append(with_mask)
        x = {"values": x, "mask": (None, None), "features": (None, 5)}
    losses = []
    for shapes in (None, (x, (None, None))):
        keras.utils.set_random_seed(0)
        loader = hr.Loader((X, Y), 4, shuffle=False, transform=transform)
        history = compiled(make()).fit(loader.to_keras(shapes=shapes), epochs=2, verbose=0).history
        losses.append(history["loss"])
    assert losses[0] == losses[1]
    assert np.isfinite(losses).all()


@needs_shapes
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_to_torch_is_refused_whichever_come_first(lengths):
    pytest.importorskip("torch")
    given = cropped_loader(*lengths).to_torch()
    # As Keras asks in a thread of tensorflow, the error may come as one of its own.
    with pytest.raises(Exception, match=r"batches of to_torch\(\) must have the same shapes"):
        model_of(None).fit(given, shuffle=False, verbose=0)


def test_an_epoch_of_one_step_may_differ_from_the_next():
    lengths = iter([6, 6, 4, 3, 5] * 9)

    def cropped(batch, rng):
        length = next(lengths)
        return batch[0][:, :length], batch[1][:, :length]

    loader = hr.Loader((X, Y), 24, transform=cropped, executor=hr.Inline())
    model_of(None).fit(loader.to_keras(), epochs=3, verbose=0)
    assert loader.place == (3, 0)


@needs_shapes
def test_named_inputs_and_outputs_have_their_own_open_axes():
    a, b = keras.Input((None, 3), name="a"), keras.Input((3,), name="b")
    tokens = keras.layers.Dense(3, activation="softmax", name="tokens")(a)
    number = keras.layers.Dense(1, name="number")(b)
    model = keras.Model({"b": b, "a": a}, {"tokens": tokens, "number": number})
    model.compile("sgd", {"tokens": "sparse_categorical_crossentropy", "number": "mse"})

    def cropped(batch, rng):
        x, y = batch
        length = 4 if x["b"][0, 0] > 0 else 5
        return {**x, "a": x["a"][:, :length]}, {**y, "tokens": y["tokens"][:, :length]}

    sizes = np.repeat([-1, -1, 1, 1, -1, 1], 4).astype("float32")
    source = (
        {"a": X, "b": np.repeat(sizes[:, None], 3, 1)},
        {"number": sizes[:, None], "tokens": Y},
    )
    loader = hr.Loader(source, 4, shuffle=False, transform=cropped)
    assert np.isfinite(model.fit(loader.to_keras(), verbose=0).history["loss"]).all()


@needs_shapes
@pytest.mark.parametrize("make", [Unrolled, OwnStep, "functional"])
def test_other_batches_are_refused_before_training_where_the_first_ones_differ(make):
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, sequential()(inputs)) if make == "functional" else make()
    compiled(model)
    before = model.get_weights()
    said = r"x has the shape \(4, 3, 3\) after \(None, 5, 3\)\. Give the model keras\.Input"
    with pytest.raises(hr.ArgumentError, match=said):
        model.fit(dataset(5, 3, 5), verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))


@needs_shapes
def test_and_where_others_do_at_their_turn():
    given = dataset(5, 5, 3)
    with pytest.raises(Exception, match=r"has the shape \(4, 3, 3\) after \(None, 5, 3\)"):
        compiled(Unrolled()).fit(given, verbose=0)
    assert given.loader.place == (0, 8)


@pytest.mark.parametrize("shapes", [5, (None, 3), [(None,)], ((None,),) * 4, {"a": 3}, ((-1,),)])
def test_what_is_no_shape_is_refused(shapes):
    with pytest.raises(hr.ArgumentError, match=r"^shapes must be in the structure of a batch"):
        dataset(5, shapes=shapes)


@needs_shapes
def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(hr.ArgumentError, match=r"shapes must be the shape of x in a batch"):
        model_of(None).fit(dataset(5, shapes=((None, 4, 3), (None, 4))), verbose=0)
