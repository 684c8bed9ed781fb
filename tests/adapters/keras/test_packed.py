"""Packed rows in Keras: a transformer sees each sample as if it were alone."""

import numpy as np
import pytest
from documents import LENGTH, N_TOKENS, next_tokens, packed_rows, single_rows

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import trains
from keras_seed import set_random_seed

pytestmark = trains


class TinyTransformer(keras.Model):
    def __init__(self):
        super().__init__()
        self.tokens = keras.layers.Embedding(N_TOKENS, 8)
        self.positions = keras.layers.Embedding(LENGTH, 8)
        self.attention = keras.layers.MultiHeadAttention(2, 4)
        self.out = keras.layers.Dense(N_TOKENS)

    def call(self, batch):
        x = self.tokens(batch["values"]) + self.positions(batch["positions"])
        mask = hr.segment_mask(batch["segment_ids"], causal=True)
        return self.out(x + self.attention(x, x, attention_mask=mask))


def with_targets(batch, rng):
    return batch, *next_tokens(batch)


def test_the_loss_on_packed_rows_is_that_on_single_samples():
    set_random_seed(0)
    model = TinyTransformer()
    losses = []
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True, reduction="sum"))
    for make in (packed_rows, single_rows):
        loader = make(batch_size=5, transform=with_targets)  # one shape, so one compilation
        losses.append(len(loader) * model.evaluate(loader.to_keras(), verbose=0))
    assert losses[0] > 1
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of functions of TensorFlow")
def test_a_mask_of_a_length_that_is_not_known_is_refused():
    import tensorflow as tf

    function = tf.function(lambda ids: hr.segment_mask(ids, True), autograph=False)
    with pytest.raises(hr.ArgumentError, match=r"known.*tf\.ensure_shape"):
        function.get_concrete_function(tf.TensorSpec((None, None), tf.int32))
