"""Keras: a loader as a `keras.utils.PyDataset`, and the tutorial's `DataGenerator`."""

from headrace.adapters.keras.dataset import DataGenerator, KerasDataset, ResumeTraining

__all__ = ["DataGenerator", "KerasDataset", "ResumeTraining"]
