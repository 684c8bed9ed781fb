"""headrace: exact, fast, resumable batches for Keras, PyTorch, JAX and plain loops."""

from typing import TYPE_CHECKING

from headrace.lazy import lazy_names

if TYPE_CHECKING:
    from headrace.batching.bad_samples import BadSample, BadSampleWarning
    from headrace.batching.read_amplification import ReadAmplificationWarning
    from headrace.batching.stats import Stats
    from headrace.batching.transforms import per_sample
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
    from headrace.executors import Executor, Inline, Processes, Ray, Results, Threads
    from headrace.formats import open  # noqa: A004
    from headrace.loader import Loader
    from headrace.readers import (
        Arrow,
        Concat,
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
        Subset,
        TarFiles,
        Zarr,
    )
    from headrace.sampling.balanced import Balanced
    from headrace.sampling.batch_sampler import BatchSampler
    from headrace.sampling.block_shuffle import BlockShuffle
    from headrace.sampling.keys import Found
    from headrace.sampling.mix.mix import Mix
    from headrace.sampling.order import Order, Sampling
    from headrace.sampling.permutation import Permutation
    from headrace.sampling.weighted import Weighted
    from headrace.sampling.world import World, world
    from headrace.storage import Cache, Remote
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "headrace.batching.bad_samples": ["BadSample", "BadSampleWarning"],
            "headrace.batching.read_amplification": ["ReadAmplificationWarning"],
            "headrace.batching.stats": ["Stats"],
            "headrace.batching.transforms": ["per_sample"],
            "headrace.errors": [
                "ArgumentError",
                "ArgumentTypeError",
                "ChecksumError",
                "ExecutorClosedError",
                "FileMissingError",
                "HeadraceError",
                "LoaderMovedError",
                "MissingExtraError",
                "OutOfRangeError",
                "SampleError",
                "SampleFormatError",
                "SampleNotFoundError",
                "SharedMemoryError",
                "StateError",
                "StorageError",
                "WorkerDiedError",
            ],
            "headrace.executors": ["Executor", "Inline", "Processes", "Ray", "Results", "Threads"],
            "headrace.formats": ["open"],
            "headrace.loader": ["Loader"],
            "headrace.readers": [
                "Arrow",
                "Concat",
                "GetItem",
                "Hdf5",
                "ImageDecoder",
                "ImageFolder",
                "Images",
                "Labels",
                "NpyFile",
                "NpyFiles",
                "NpyShards",
                "NpzFiles",
                "Parquet",
                "Reader",
                "Spec",
                "Subset",
                "TarFiles",
                "Zarr",
            ],
            "headrace.sampling.balanced": ["Balanced"],
            "headrace.sampling.batch_sampler": ["BatchSampler"],
            "headrace.sampling.block_shuffle": ["BlockShuffle"],
            "headrace.sampling.keys": ["Found"],
            "headrace.sampling.mix.mix": ["Mix"],
            "headrace.sampling.order": ["Order", "Sampling"],
            "headrace.sampling.permutation": ["Permutation"],
            "headrace.sampling.weighted": ["Weighted"],
            "headrace.sampling.world": ["World", "world"],
            "headrace.storage": ["Cache", "Remote"],
        },
    )

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Arrow",
    "BadSample",
    "BadSampleWarning",
    "Balanced",
    "BatchSampler",
    "BlockShuffle",
    "Cache",
    "ChecksumError",
    "Concat",
    "Executor",
    "ExecutorClosedError",
    "FileMissingError",
    "Found",
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
    "Mix",
    "NpyFile",
    "NpyFiles",
    "NpyShards",
    "NpzFiles",
    "Order",
    "OutOfRangeError",
    "Parquet",
    "Permutation",
    "Processes",
    "Ray",
    "ReadAmplificationWarning",
    "Reader",
    "Remote",
    "Results",
    "SampleError",
    "SampleFormatError",
    "SampleNotFoundError",
    "Sampling",
    "SharedMemoryError",
    "Spec",
    "StateError",
    "Stats",
    "StorageError",
    "Subset",
    "TarFiles",
    "Threads",
    "Weighted",
    "WorkerDiedError",
    "World",
    "Zarr",
    "open",
    "per_sample",
    "world",
]
__version__ = "0.1.0"
