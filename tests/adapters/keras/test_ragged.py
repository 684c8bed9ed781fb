"""Samples of any length: `tf.RaggedTensor` on tensorflow, elsewhere an error that tells to pad.

Runs on the backend that KERAS_BACKEND names.
"""

import itertools

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import BACKEND, trains

on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="has no ragged tensors")
elsewhere = pytest.mark.skipif(BACKEND in ("tensorflow", "openvino"), reason="has ragged tensors")

LENGTHS = [3, 1, 7, 4, 4, 4, 1, 6, 2, 5]
OFFSETS = np.cumsum([0, *LENGTHS])
TOKENS = np.random.default_rng(0).integers(1, 9, OFFSETS[-1])
FRAMES = np.random.default_rng(1).random((OFFSETS[-1], 3), "float32")
N, BATCH = len(LENGTHS), 4
LABELS = np.arange(N, dtype="float32")[:, None] % 3

TOKENS_OF = hr.RaggedArray(TOKENS, OFFSETS)
FRAMES_OF = hr.RaggedArray(FRAMES, OFFSETS)
# What `summed` learns from, for a model of arrays.
FEATURES = np.column_stack([np.add.reduceat(FRAMES, OFFSETS[:-1]), np.float32(LENGTHS)])


def make_loader(*source, **options):
    return hr.Loader(source, BATCH, **{"tail": "partial", "seed": 1, **options})


def compiled(model):
    model.set_weights(
        [np.linspace(0, 1, weight.size).reshape(weight.shape) for weight in model.get_weights()]
    )
    # XLA would compile it anew for each number of elements.
    loss = keras.losses.MeanSquaredError(reduction="sum")
    model.compile(keras.optimizers.SGD(0.001), loss, jit_compile=False)
    return model


class Sum(keras.layers.Layer):
    """The sum of each sample's elements, of which there is any number, and that number."""

    def call(self, x):
        import tensorflow as tf

        total = tf.reduce_sum(x, 1)
        return tf.concat([total, tf.cast(x.row_lengths(), tf.float32)[:, None]], 1)

    def compute_output_shape(self, shape):
        return (shape[0], shape[2] + 1)


def summed():
    inputs = keras.Input((None, 3), ragged=True)
    return compiled(keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(Sum()(inputs))))


def of_features():
    return compiled(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)]))


@on_tensorflow
def test_batches_are_the_loaders():
    loader = make_loader({"tokens": TOKENS_OF, "frames": FRAMES_OF}, LABELS)
    dataset = loader.to_keras()
    for step in range(len(loader)):
        for name, ragged in loader.batch(0, step)[0].items():
            tensor = dataset[step][0][name]
            assert tensor.shape.as_list() == list(ragged.shape)
            assert (tensor.values.numpy() == ragged.values).all()
            assert (tensor.row_splits.numpy() == ragged.offsets).all()


@on_tensorflow
@pytest.mark.parametrize("tail", ["partial", "pad"])
def test_a_model_learns_what_it_would_of_arrays(tail):
    ragged, arrays = (make_loader(x, LABELS, tail=tail) for x in (FRAMES_OF, FEATURES))
    of_ragged, of_arrays = summed(), of_features()
    for model, loader in ((of_ragged, ragged), (of_arrays, arrays)):
        model.fit(loader.to_keras(), epochs=2, verbose=0)
        assert loader.place == (2, 0)
    np.testing.assert_allclose(of_ragged.get_weights()[0], of_arrays.get_weights()[0], rtol=1e-4)
    losses = [
        model.evaluate(loader.to_keras(), verbose=0)
        for model, loader in ((of_ragged, ragged), (of_arrays, arrays))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    in_order = make_loader(FRAMES_OF, shuffle=False).to_keras()
    np.testing.assert_allclose(
        of_ragged.predict(in_order, verbose=0), FEATURES @ of_ragged.get_weights()[0], rtol=1e-4
    )


@on_tensorflow
def test_layers_of_keras_take_them():
    layers = keras.layers
    model = keras.Sequential(
        [layers.Embedding(9, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    )
    model.compile("sgd", "mse", jit_compile=False)
    loader = make_loader(TOKENS_OF, LABELS, shuffle=False)
    assert np.isfinite(model.fit(loader.to_keras(), verbose=0).history["loss"]).all()
    alone = [model(TOKENS[a:b][None]) for a, b in itertools.pairwise(OFFSETS)]
    predicted = model.predict(loader.to_keras(), verbose=0)
    np.testing.assert_allclose(predicted, np.concatenate(alone), rtol=1e-4)


class Elementwise(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)
        self.dense.build((None, 3))

    def call(self, x):
        return x.with_values(self.dense(x.values))


@on_tensorflow
def test_padding_weighs_nothing_in_weights_of_any_length():
    weights = hr.RaggedArray(np.full(len(FRAMES), 2, "float32"), OFFSETS)
    loader = make_loader(FRAMES_OF, FRAMES_OF, weights, tail="pad", shuffle=False)
    _, targets, weighed = loader.to_keras()[2]
    assert weighed.row_lengths().numpy().tolist() == targets.row_lengths().numpy().tolist()
    assert weighed.values.numpy().tolist() == [2.0] * sum(LENGTHS[8:]) + [0.0] * sum(LENGTHS[:2])


def lstm():
    layers = keras.layers
    return keras.Sequential([keras.Input((None, 3)), layers.LSTM(2), layers.Dense(1)])


CAN_NOT = {
    "a layer": (lstm, LABELS, "sum"),
    "a reduction": (Elementwise, FRAMES_OF, "sum_over_batch_size"),
}


@on_tensorflow
@pytest.mark.parametrize("tail", ["partial", "pad"])
@pytest.mark.parametrize("what", CAN_NOT)
def test_a_model_that_can_not_take_them_is_refused_before_it_trains(what, tail):
    make, targets, reduction = CAN_NOT[what]
    model = make()
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    model.compile("sgd", loss, jit_compile=False)
    dataset = make_loader(FRAMES_OF, targets, tail=tail).to_keras()
    with pytest.raises(hr.ArgumentError, match=r"samples of any length.*Use headrace\.pad"):
        model.fit(dataset, verbose=0)
    assert dataset.loader.place == (0, 0)
    if what == "a layer":
        with pytest.raises(hr.ArgumentError, match=r"headrace\.pad"):
            model.predict(make_loader(FRAMES_OF, shuffle=False).to_keras(), verbose=0)


@on_tensorflow
def test_class_weights_beside_targets_of_any_length_are_refused():
    model = compiled(Elementwise())
    with pytest.raises(hr.ArgumentError, match=r"class_weight must be None.*headrace\.pad"):
        model.fit(make_loader(FRAMES_OF, FRAMES_OF).to_keras(), class_weight={0: 2}, verbose=0)


@elsewhere
@pytest.mark.parametrize("tail", ["partial", "pad"])
def test_other_backends_refuse_them_before_training(tail):
    dataset = make_loader({"tokens": TOKENS_OF}, LABELS, tail=tail).to_keras()
    said = rf"Keras on {BACKEND} takes arrays, but leaf \[0\]\['tokens'\].*headrace\.pad"
    with pytest.raises(hr.ArgumentError, match=said):
        dataset[0]
    if BACKEND != "numpy":
        with pytest.raises(hr.ArgumentError, match=said):
            of_features().fit(dataset, verbose=0)
        assert dataset.loader.place == (0, 0)


@trains
def test_jagged_tensors_of_to_torch_are_refused():
    torch = pytest.importorskip("torch")
    if not hasattr(torch.nested, "nested_tensor_from_jagged"):
        pytest.skip("needs tensors that may be jagged")
    given = make_loader(FRAMES_OF, LABELS).to_torch()
    # As Keras asks in a thread of tensorflow, the error may come as one of its own.
    with pytest.raises(Exception, match=r"Keras takes arrays.*headrace\.pad"):
        of_features().fit(given, shuffle=False, verbose=0)
