"""Keras: a loader as a `keras.utils.PyDataset`, and the tutorial's `DataGenerator`."""

from typing import TYPE_CHECKING

from headrace.adapters.keras.dataset import KerasDataset
from headrace.adapters.keras.resume import ResumeTraining
from headrace.lazy import lazy_names

if TYPE_CHECKING:
    from headrace.data_generator import DataGenerator
else:
    # It makes a loader, and loaders know the adapters.
    __getattr__, __dir__ = lazy_names(__name__, {"headrace.data_generator": ["DataGenerator"]})

__all__ = ["DataGenerator", "KerasDataset", "ResumeTraining"]
