"""headrace: exact, fast, resumable batches for Keras, PyTorch, JAX and plain loops."""

from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    ExecutorClosedError,
    HeadraceError,
    LoaderMovedError,
    MissingExtraError,
    OutOfRangeError,
    SampleError,
    SampleFormatError,
    SampleNotFoundError,
    StateError,
)
from headrace.executors import Executor, Inline, Threads
from headrace.loader import Loader
from headrace.permutation import Permutation
from headrace.readers import Labels, NpyFile, NpyFiles, Reader, Spec
from headrace.sampler import BatchSampler
from headrace.transforms import per_sample

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "BatchSampler",
    "Executor",
    "ExecutorClosedError",
    "HeadraceError",
    "Inline",
    "Labels",
    "Loader",
    "LoaderMovedError",
    "MissingExtraError",
    "NpyFile",
    "NpyFiles",
    "OutOfRangeError",
    "Permutation",
    "Reader",
    "SampleError",
    "SampleFormatError",
    "SampleNotFoundError",
    "Spec",
    "StateError",
    "Threads",
    "per_sample",
]
__version__ = "0.1.0"
