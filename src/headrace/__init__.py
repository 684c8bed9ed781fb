"""headrace: exact, fast, resumable batches for Keras, PyTorch, JAX and plain loops."""

from headrace.block_shuffle import BlockShuffle
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
from headrace.read_amplification import ReadAmplificationWarning
from headrace.readers import (
    Arrow,
    GetItem,
    Hdf5,
    ImageDecoder,
    ImageFolder,
    Images,
    Labels,
    NpyFile,
    NpyFiles,
    NpyShards,
    NpzFiles,
    Parquet,
    Reader,
    Spec,
    TarFiles,
    Zarr,
)
from headrace.replacement import BadSample, BadSampleWarning
from headrace.sampler import BatchSampler
from headrace.stats import Stats
from headrace.storage import Cache, Remote
from headrace.transforms import per_sample

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Arrow",
    "BadSample",
    "BadSampleWarning",
    "BatchSampler",
    "BlockShuffle",
    "Cache",
    "ChecksumError",
    "Executor",
    "ExecutorClosedError",
    "FileMissingError",
    "GetItem",
    "Hdf5",
    "HeadraceError",
    "ImageDecoder",
    "ImageFolder",
    "Images",
    "Inline",
    "Labels",
    "Loader",
    "LoaderMovedError",
    "MissingExtraError",
    "NpyFile",
    "NpyFiles",
    "NpyShards",
    "NpzFiles",
    "OutOfRangeError",
    "Parquet",
    "Permutation",
    "Processes",
    "Ray",
    "ReadAmplificationWarning",
    "Reader",
    "Remote",
    "SampleError",
    "SampleFormatError",
    "SampleNotFoundError",
    "SharedMemoryError",
    "Spec",
    "StateError",
    "Stats",
    "StorageError",
    "TarFiles",
    "Threads",
    "WorkerDiedError",
    "World",
    "Zarr",
    "per_sample",
    "world",
]
__version__ = "0.1.0"
