"""`fit` trains on what a sampling gives, without the steps that are left out, and tells indices."""

import numpy as np
import pytest

import headrace as hr

keras = pytest.importorskip("keras")

from keras_recording import BACKEND, fit, recording_model, trains

pytestmark = trains

X = np.arange(40, dtype="float32")[:, None]


def make_loader(**options):
    source = hr.Concat((X[:30], X[:30]), (X[30:], X[30:]))
    return hr.Loader(source, 4, shuffle=hr.Mix([3, 1]), **options)


class Recorded(keras.callbacks.Callback):
    def __init__(self, dataset):
        super().__init__()
        self.dataset, self.indices = dataset, []

    def on_train_batch_end(self, batch, logs=None):
        self.indices.append(self.dataset.trained_indices.tolist())


@pytest.mark.cell("Keras", "samplings")
def test_a_mixture_trains_without_the_steps_left_out_and_tells_its_indices():
    loader = make_loader(with_indices=True, skip=[(0, 2, 3), (1, 0, 0)])
    dataset, log = loader.to_keras(), []
    assert dataset.trained_indices is None
    recorded = Recorded(dataset)
    fit(recording_model(log), dataset, epochs=2, callbacks=[recorded])
    left = [(e, s) for e in range(3) for s in range(10) if (e, s) not in {(0, 2), (0, 3), (1, 0)}]
    assert log == [loader.indices(*at).tolist() for at in left[:20]]  # of 10 steps, as Keras counts
    assert recorded.indices == log
    assert loader.place == (2, 12)


def test_what_keras_would_misunderstand_is_refused():
    loader = make_loader(skip=[(0, 2, 3)])
    model = recording_model([])
    with pytest.raises(hr.HeadraceError, match="skip= leaves some of epoch 0 out"):
        model.evaluate(loader.to_keras(), verbose=0)
    loader.set_epoch(1)
    model.evaluate(loader.to_keras(), verbose=0)
    if BACKEND == "torch":
        with pytest.raises(hr.ArgumentError, match="with_indices must be False for Keras"):
            fit(model, make_loader(with_indices=True).to_torch(), shuffle=False)
