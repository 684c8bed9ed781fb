"""A file that `ResumeTraining` of headrace 0.1.0 wrote is loaded, and its training goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import saved_states

keras = pytest.importorskip("keras")

from keras_recording import trains

SAVED = Path(__file__).parents[2] / "data/saved_by_0.1.0"
pytestmark = trains


def draws_as_the_file_was_drawn():
    """Whether Dropout gets the numbers that it got in the training whose weights are expected."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.config.jax_threefry_partitionable  # the default since JAX 0.5


def test_training_goes_on_with_the_next_batch(tmp_path):
    file = tmp_path / "training.weights.h5"
    shutil.copyfile(SAVED / "training.weights.h5", file)
    expected = json.loads((SAVED / "training.json").read_text())
    places = []
    weights = saved_states.train(file, places)
    assert places == expected["places"]
    if draws_as_the_file_was_drawn():
        for got, wanted in zip(weights, expected["weights"], strict=True):
            assert np.allclose(got, wanted, rtol=0, atol=1e-5)
