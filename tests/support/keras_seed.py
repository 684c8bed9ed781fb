"""Seeds Keras as `keras.utils.set_random_seed` does, which imports TensorFlow on any backend."""

import random

import keras


def set_random_seed(seed):
    random.seed(seed)  # of which Keras draws its own
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)
