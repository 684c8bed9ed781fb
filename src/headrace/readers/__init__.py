"""Readers: how a sample is stored. A folder for each format, one contract for all: `Reader`."""

from typing import TYPE_CHECKING

from headrace.lazy import lazy_names

if TYPE_CHECKING:
    from headrace.readers.array import ArrayReader
    from headrace.readers.arrow.arrow import Arrow
    from headrace.readers.arrow.parquet import Parquet
    from headrace.readers.audio.audio_files import AudioFiles
    from headrace.readers.audio.random_clip import RandomClip
    from headrace.readers.cached.cached import Cached
    from headrace.readers.files.files import Files
    from headrace.readers.getitem import GetItem
    from headrace.readers.hdf5.hdf5 import Hdf5
    from headrace.readers.images.crops.center_crop import CenterCrop
    from headrace.readers.images.crops.random_crop import RandomCrop
    from headrace.readers.images.crops.random_resized_crop import RandomResizedCrop
    from headrace.readers.images.decoder import ImageDecoder
    from headrace.readers.images.image_folder import ImageFolder
    from headrace.readers.images.image_table import ImageTable
    from headrace.readers.images.images import Images
    from headrace.readers.jsonl.json_lines import JsonLines
    from headrace.readers.labels import Labels
    from headrace.readers.npy.npy_file import NpyFile
    from headrace.readers.npy.npy_files import NpyFiles
    from headrace.readers.npy.npy_shards import NpyShards
    from headrace.readers.npy.npz_files import NpzFiles
    from headrace.readers.npy.ragged_folder import RaggedFolder
    from headrace.readers.ragged_array import RaggedArray
    from headrace.readers.reader import Reader, Spec, check_read
    from headrace.readers.shared.block_cache import BlockCache
    from headrace.readers.shared.format_error import FormatError
    from headrace.readers.shared.sample_files import SampleFiles
    from headrace.readers.tar.tar_files import TarFiles
    from headrace.readers.tfrecord.tf_records import TFRecords
    from headrace.readers.views.concat import Concat
    from headrace.readers.views.packed.masks import cu_seqlens, segment_mask
    from headrace.readers.views.packed.packed import Packed
    from headrace.readers.views.split import folds, split
    from headrace.readers.views.subset import Subset
    from headrace.readers.views.windows import Windows
    from headrace.readers.zarr.zarr import Zarr
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "headrace.readers.array": ["ArrayReader"],
            "headrace.readers.arrow.arrow": ["Arrow"],
            "headrace.readers.arrow.parquet": ["Parquet"],
            "headrace.readers.audio.audio_files": ["AudioFiles"],
            "headrace.readers.audio.random_clip": ["RandomClip"],
            "headrace.readers.cached.cached": ["Cached"],
            "headrace.readers.files.files": ["Files"],
            "headrace.readers.getitem": ["GetItem"],
            "headrace.readers.hdf5.hdf5": ["Hdf5"],
            "headrace.readers.images.crops.center_crop": ["CenterCrop"],
            "headrace.readers.images.crops.random_crop": ["RandomCrop"],
            "headrace.readers.images.crops.random_resized_crop": ["RandomResizedCrop"],
            "headrace.readers.images.decoder": ["ImageDecoder"],
            "headrace.readers.images.image_folder": ["ImageFolder"],
            "headrace.readers.images.image_table": ["ImageTable"],
            "headrace.readers.images.images": ["Images"],
            "headrace.readers.jsonl.json_lines": ["JsonLines"],
            "headrace.readers.labels": ["Labels"],
            "headrace.readers.npy.npy_file": ["NpyFile"],
            "headrace.readers.npy.npy_files": ["NpyFiles"],
            "headrace.readers.npy.npy_shards": ["NpyShards"],
            "headrace.readers.npy.npz_files": ["NpzFiles"],
            "headrace.readers.npy.ragged_folder": ["RaggedFolder"],
            "headrace.readers.ragged_array": ["RaggedArray"],
            "headrace.readers.reader": ["Reader", "Spec", "check_read"],
            "headrace.readers.shared.block_cache": ["BlockCache"],
            "headrace.readers.shared.format_error": ["FormatError"],
            "headrace.readers.shared.sample_files": ["SampleFiles"],
            "headrace.readers.tar.tar_files": ["TarFiles"],
            "headrace.readers.tfrecord.tf_records": ["TFRecords"],
            "headrace.readers.views.concat": ["Concat"],
            "headrace.readers.views.packed.masks": ["cu_seqlens", "segment_mask"],
            "headrace.readers.views.packed.packed": ["Packed"],
            "headrace.readers.views.split": ["folds", "split"],
            "headrace.readers.views.subset": ["Subset"],
            "headrace.readers.views.windows": ["Windows"],
            "headrace.readers.zarr.zarr": ["Zarr"],
        },
    )

__all__ = [
    "ArrayReader",
    "Arrow",
    "AudioFiles",
    "BlockCache",
    "Cached",
    "CenterCrop",
    "Concat",
    "Files",
    "FormatError",
    "GetItem",
    "Hdf5",
    "ImageDecoder",
    "ImageFolder",
    "ImageTable",
    "Images",
    "JsonLines",
    "Labels",
    "NpyFile",
    "NpyFiles",
    "NpyShards",
    "NpzFiles",
    "Packed",
    "Parquet",
    "RaggedArray",
    "RaggedFolder",
    "RandomClip",
    "RandomCrop",
    "RandomResizedCrop",
    "Reader",
    "SampleFiles",
    "Spec",
    "Subset",
    "TFRecords",
    "TarFiles",
    "Windows",
    "Zarr",
    "check_read",
    "cu_seqlens",
    "folds",
    "segment_mask",
    "split",
]
