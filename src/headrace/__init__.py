"""headrace: exact, fast, resumable batches for Keras, PyTorch, JAX and plain loops."""

from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    ChecksumError,
    ExecutorClosedError,
    FileMissingError,
    HeadraceError,
    LoaderMovedError,
    MissingExtraError,
    OutOfRangeError,
    SampleError,
    SampleFormatError,
    SampleNotFoundError,
    SharedMemoryError,
    StateError,
    StorageError,
    WorkerDiedError,
)
from headrace.executors import Executor, Inline, Processes, Ray, Threads
from headrace.loader import Loader
from headrace.permutation import Permutation
from headrace.ranks import World, world
from headrace.readers import Labels, NpyFile, NpyFiles, Reader, Spec
from headrace.sampler import BatchSampler
from headrace.stats import Stats
from headrace.transforms import per_sample

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "BatchSampler",
    "ChecksumError",
    "Executor",
    "ExecutorClosedError",
    "FileMissingError",
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
    "Processes",
    "Ray",
    "Reader",
    "SampleError",
    "SampleFormatError",
    "SampleNotFoundError",
    "SharedMemoryError",
    "Spec",
    "StateError",
    "Stats",
    "StorageError",
    "Threads",
    "WorkerDiedError",
    "World",
    "per_sample",
    "world",
]
__version__ = "0.1.0"
