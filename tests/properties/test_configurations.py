"""A state is refused by a loader whose configuration gives other batches, whatever the argument.

Each argument of the public readers, views and samplings, and of the loader, stands here: with
another value, whose loader refuses the state; or among those that are free to change.
"""

import inspect

import numpy as np
import pytest
from written import ROWS, WRITTEN

import headrace as hr

X, Y = np.arange(12.0), np.arange(12) % 3
LENGTHS = np.array([3, 5, 1, 5, 2, 4])
TOKENS = hr.RaggedArray(np.arange(20), np.append(0, np.cumsum(LENGTHS)))

FREE = {
    # where samples lie, and what is kept of them
    *("root", "path", "table", "index", "folder", "max_bytes", "cache_bytes", "thread_safe"),
    # which samples are errors, so that a run may go on that such a one has stopped
    *("max_pixels", "missing", "checksums", "rate", "on_error", "max_bad_samples", "match_ids"),
    # who takes which of the samples in which batch
    *("batch_size", "tail", "rank", "world_size", "with_indices", "skip", "executor"),
    # named by `transform_version`, or by the shape of samples
    *("transform", "ragged"),
}
# These choose files, whose names are in the state; or are for `labels()` alone.
CHOICE = {"files", "suffix", "suffixes", "follow_links", "shuffle", "seed", "delimiter"}
CHOICE |= {"labels", "separator", "class_names"}


class Doubled:
    """A function that says what it does, as an `ImageDecoder` does."""

    def __init__(self, said="1"):
        self.said = said

    def __call__(self, value):
        return 2 * (np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value)

    def fingerprint(self):
        return self.said


class Said(list):
    """A dataset that says what it is."""

    def __init__(self, said="1"):
        super().__init__([1, 2])
        self.fingerprint = lambda: said


def write_columns(folder):
    """Columns of which two are alike, in each format that has columns."""
    columns = {"x": ROWS, "y": np.arange(6), "z": np.arange(6, 12)}
    h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
    zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    from arrow_arrays import fixed_lists
    from pyarrow import feather, parquet

    group = zarr.create_group(str(folder / "x.zarr"))
    with h5py.File(folder / "x.h5", "w") as file:
        for name, data in columns.items():
            file[name] = data
            group.create_array(name, data=data)
    table = pa.table({**columns, "x": fixed_lists(ROWS)})
    feather.write_feather(table, folder / "x.arrow", compression="uncompressed")
    feather.write_feather(table, folder / "v.arrow", compression="uncompressed")
    parquet.write_table(table, folder / "x.parquet")
    parquet.write_table(table, folder / "v.parquet")


def write_table(folder):
    WRITTEN["images"][0](folder)
    rows = [f"{'ab'[index // 3]}/{index}.png,{index % 2}" for index in range(6)]
    (folder / "x.csv").write_text("\n".join(["filename,class", *rows]))


WRITERS = {name: write for name, (write, *_) in WRITTEN.items()}
WRITERS |= {"columns": write_columns, "table": write_table}
SPEC = hr.Spec((2, 2), np.dtype("float64"))
PARTS = ("train", {"train": 0.5, "test": 0.5})
COLUMNS, SWAPPED = {"a": "y", "b": "z"}, {"a": "z", "b": "y"}
OF_IMAGES = {"size": {"size": 4}, "decode": {"size": None, "decode": False}}
OF_IMAGES |= {"options": {"interpolation": "box"}}

# By its name: what writes its files, the path below them, its arguments, and others by that which
# differs. `None` leaves an argument out.
READERS = {
    "NpyFile": ("npy", "x.npy", {}, {}),
    "NpyFiles": (
        *("npy-files", ".", {}),
        {
            "ids": {"ids": [5, 0]},
            "shape": {"shape": (None, 2)},
            "dtype": {"dtype": "float64"},
            "ragged": {"ragged": True},
        },
    ),
    "NpyShards": ("npy-shards", ".", {}, {"names": {"names": ["shard-00001.npy"]}}),
    "NpzFiles": (
        *("npz-files", ".", {"keys": "x"}),
        {
            "ids": {"ids": [5, 0]},
            "keys": {"keys": ["x"]},
            "dtype": {"dtype": "float64"},
            "ragged": {"ragged": True},
        },
    ),
    "RaggedFolder": ("ragged", "x.ragged", {}, {}),
    "Hdf5": (
        *("columns", "x.h5", {"datasets": COLUMNS}),
        {"datasets": {"datasets": SWAPPED}, "dtype": {"dtype": "float64"}},
    ),
    "Zarr": (
        *("columns", "x.zarr", {"arrays": COLUMNS}),
        {"arrays": {"arrays": SWAPPED}, "dtype": {"dtype": "float64"}},
    ),
    "Parquet": (
        *("columns", ".", {"columns": COLUMNS}),
        {
            "columns": {"columns": SWAPPED},
            "names": {"names": ["x.parquet", "v.parquet"]},
            "dtype": {"dtype": "float64"},
        },
    ),
    "Arrow": (
        *("columns", ".", {"columns": COLUMNS}),
        {
            "columns": {"columns": SWAPPED},
            "names": {"names": ["x.arrow", "v.arrow"]},
            "dtype": {"dtype": "float64"},
        },
    ),
    "Images": (*("images", ".", {"size": 3}), OF_IMAGES | {"ids": {"ids": ["b/4.png", "a/1.png"]}}),
    "ImageFolder": (
        *("images", ".", {"size": 3}),
        OF_IMAGES
        | {
            "class_names": {"class_names": ["b", "a"]},
            "validation_split": {"validation_split": 0.4, "subset": "training", "seed": 1},
            "subset": {"validation_split": 0.4, "subset": "validation", "seed": 1},
            "split": {"split": PARTS},
        },
    ),
    "ImageTable": (
        *("table", "x.csv", {"size": 3}),
        OF_IMAGES | {"split": {"split": PARTS}},
    ),
    "AudioFiles": (
        *("audio", ".", {"frames": 1}),
        {
            "frames": {"frames": 2},
            "channels": {"channels": 1},
            "clips": {"clips": [("0.wav", 1)]},
            "hop": {"hop": 2},
            "ids": {"ids": ["5.wav", "0.wav"]},
            "dtype": {"dtype": "int16"},
        },
    ),
    "TarFiles": (
        *("tar", ".", {"fields": {"x.npy": None}}),
        {
            "fields": {"fields": {"x.npy": Doubled()}},
            "shards": {"shards": ["x.tar", "x.tar"]},
            "ragged": {"ragged": True},
            "version": {"version": "2"},
        },
    ),
    "JsonLines": (
        *("jsonl", ".", {"columns": {"y": Doubled()}}),
        {
            "columns": {"columns": {"y": Doubled("2")}},
            "shards": {"shards": ["x.jsonl", "x.jsonl"]},
            "spec": {"spec": {"y": hr.Spec((), np.dtype("float64"))}},
            "ragged": {"columns": ["x"], "ragged": True},
            "version": {"version": "2"},
        },
    ),
    "TFRecords": (
        *("tfrecord", ".", {"columns": {"x": Doubled()}}),
        {
            "columns": {"columns": {"x": Doubled("2")}},
            "decode": {"columns": None, "decode": Doubled("2")},
            "shards": {"shards": ["x.tfrecord", "x.tfrecord"]},
            "spec": {"spec": {"x": hr.Spec((4,), np.dtype("float64"))}},
            "ragged": {"ragged": True},
            "version": {"version": "2"},
        },
    ),
    "Files": (
        *("files", ".", {"decode": Doubled(), "suffixes": ".bin"}),
        {
            "decode": {"decode": Doubled("2")},
            "ids": {"ids": [5, 0]},
            "spec": {"spec": hr.Spec((4,), np.dtype("float64"))},
            "ragged": {"ragged": True},
            "version": {"version": "2"},
        },
    ),
}
OF_FILES = sorted((name, argument) for name, (*_, others) in READERS.items() for argument in others)

# Of samples whose shape says nothing of it.
PIXELS = {
    "channels": {"channels": "indices", "interpolation": "nearest"},
    "layout": {"layout": "CHW"},
    "dtype": {"dtype": "float32"},
    "interpolation": {"interpolation": "bicubic"},
    "antialias": {"antialias": False},
    "crop_to_aspect_ratio": {"crop_to_aspect_ratio": True},
    "exif_orientation": {"exif_orientation": True},
    "jpeg_scaling": {"jpeg_scaling": True},
    "decoder": {"decoder": "turbo"},
    "fast_dct": {"decoder": "turbo", "fast_dct": True},
}

# Of what is in memory: the arguments, and others by that which differs.
VIEWS = {
    "Subset": (
        {"source": X, "indices": [1, 2]},
        {"source": {"source": Y}, "indices": {"indices": [2, 1]}},
    ),
    "Windows": (
        {"source": X, "length": 2, "targets": Y},
        {
            "source": {"source": X[:11], "targets": Y[:11]},
            "length": {"length": 3},
            "stride": {"stride": 2},
            "rate": {"rate": 2},
            "series": {"series": [5, 7]},
            "targets": {"targets": hr.Labels(Y + 1)},
        },
    ),
    "Packed": (
        {"reader": TOKENS, "length": 6, "split": "always"},
        {
            "reader": {"reader": hr.Subset(TOKENS, [0, 1, 2, 4, 3, 5])},
            "length": {"length": 5},
            "split": {"split": "never"},
            "max_segments": {"split": "never", "max_segments": 1},
            "seed": {"seed": 1},
        },
    ),
    "Cached": (
        {"source": hr.GetItem(Said()), "map": Doubled()},
        {
            "source": {"source": hr.GetItem(Said("2"))},
            "map": {"map": Doubled("2")},
            "version": {"version": "2"},
        },
    ),
    "GetItem": (
        {"dataset": Said()},
        {
            "dataset": {"dataset": Said("2")},
            "spec": {"spec": hr.Spec((), np.dtype("float64"))},
        },
    ),
    "Labels": (
        {"labels": Y, "ids": range(12)},
        {
            "labels": {"labels": Y[::-1]},
            "ids": {"ids": range(1, 13)},
            "n_classes": {"n_classes": 3},
            "dtype": {"dtype": "float32"},
        },
    ),
    "RaggedArray": (
        {"values": np.arange(6), "offsets": np.array([0, 2, 6])},
        {
            "values": {"values": np.arange(6.0)},
            "offsets": {"offsets": np.array([0, 3, 6])},
        },
    ),
}

SAMPLINGS = {
    "Weighted": (
        {"weights": Y + 1},
        {
            "weights": {"weights": Y + 2},
            "length": {"length": 6},
            "replacement": {"replacement": False},
        },
    ),
    "Balanced": (
        {"labels": Y},
        {
            "labels": {"labels": Y[::-1]},
            "classes_per_batch": {"classes_per_batch": 2},
            "samples_per_class": {"classes_per_batch": 3, "samples_per_class": 2},
            "length": {"length": 6},
        },
    ),
    "BlockShuffle": (
        {"block": 3, "window": 2},
        {"block": {"block": 2}, "window": {"window": 3}},
    ),
    "Mix": (
        {"shares": [1, 2]},
        {
            "shares": {"shares": [2, 1]},
            "length": {"length": 6},
            "stages": {"stages": [(1, [0, 1])]},
            "passes": {"passes": [1, None]},
            "shuffle": {"shuffle": False},
        },
    ),
    "Buckets": (
        {"lengths": Y, "ladder": [1, 2], "max_tokens": 4},
        {
            "lengths": {"lengths": Y[::-1]},
            "ladder": {"ladder": [2, 4]},
            "batch_sizes": {"max_tokens": None, "batch_sizes": [1, 2]},
            "max_tokens": {"max_tokens": 2},
            "shuffle": {"shuffle": False},
        },
    ),
}


def given(arguments, others=()):
    """The arguments with others instead, but for those that are None."""
    both = {**arguments, **dict(others)}
    return {name: value for name, value in both.items() if value is not None}


def cases(table):
    """The names in a table, each with each of its arguments."""
    return sorted((name, each) for name, (_, others) in table.items() for each in others)


def kinds_of(table, name, argument):
    """The arguments of a name twice, and once with another value of one of them."""
    arguments, others = table[name]
    return arguments, arguments, given(arguments, others[argument])


def refuses(state, loader):
    try:
        loader.load_state_dict(state)
    except hr.StateError:
        return True
    return False


def check(one, same, other):
    """Of loaders, the state of the first within an epoch is taken by the second alone."""
    one.seek(0, 1)
    state = one.state_dict()
    assert not refuses(state, same)
    assert refuses(state, other)


def test_each_argument_stands_here():
    of = {name: {*others} for name, (*_, others) in READERS.items()}
    of |= {name: {*others} for name, (_, others) in [*VIEWS.items(), *SAMPLINGS.items()]}
    of |= {"ImageDecoder": {*PIXELS, "size"}, "Concat": {"sources", "named", "dtype"}}
    of |= {"Loader": {"source", "shuffle", "seed", "transform_version"}}
    for name in ("Files", "Images", "ImageFolder", "ImageTable"):
        of[name] |= CHOICE
    for name, stand in of.items():
        assert inspect.signature(getattr(hr, name)).parameters.keys() <= stand | FREE, name


@pytest.mark.parametrize(("name", "argument"), OF_FILES)
def test_of_readers_of_files(tmp_path, name, argument):
    writer, path, arguments, others = READERS[name]
    WRITERS[writer](tmp_path)
    make, root = getattr(hr, name), tmp_path / path
    kinds = given(arguments), given(arguments), given(arguments, others[argument])
    check(*(hr.Loader(make(root, **kind), 1) for kind in kinds))


@pytest.mark.parametrize("argument", PIXELS)
def test_of_what_decodes_images(tmp_path, argument):
    WRITERS["images"](tmp_path)
    if "decoder" in PIXELS[argument]:
        for library in ("simplejpeg", "cykooz_resizer"):
            pytest.importorskip(library, reason="needs headrace[turbo]")
    plain = {
        "channels": {"channels": 1, "interpolation": "nearest"},
        "fast_dct": {"decoder": "turbo"},
    }
    kind = plain.get(argument, {})
    readers = [
        hr.Images(tmp_path, size=3, **each) for each in (kind, kind, kind | PIXELS[argument])
    ]
    check(*(hr.Loader(reader, 1) for reader in readers))


@pytest.mark.parametrize(("name", "argument"), cases(VIEWS))
def test_of_views_and_what_is_in_memory(name, argument):
    kinds = kinds_of(VIEWS, name, argument)
    check(*(hr.Loader(getattr(hr, name)(**kind), 1) for kind in kinds))


def test_of_a_concatenation():
    sources = (
        hr.Concat(X, Y, dtype=float),
        hr.Concat(X, Y, dtype=float),
        hr.Concat(Y, X, dtype=float),
    )
    check(*(hr.Loader(source, 1) for source in sources))


@pytest.mark.parametrize(("name", "argument"), cases(SAMPLINGS))
def test_of_samplings(name, argument):
    kinds = kinds_of(SAMPLINGS, name, argument)
    source = hr.Concat(X[:4], X[4:])
    check(*(hr.Loader(source, 2, shuffle=getattr(hr, name)(**kind)) for kind in kinds))


@pytest.mark.parametrize(
    "other", [{"source": Y}, {"shuffle": False}, {"seed": 1}, {"transform_version": "2"}], ids=str
)
def test_of_the_loader(other):
    arguments = {"source": X, "batch_size": 2}
    check(*(hr.Loader(**arguments | more) for more in ({}, {}, other)))
