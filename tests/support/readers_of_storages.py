"""How a reader of each format takes the files of a storage, as `written.py` writes them."""

from pathlib import Path

from picklable import bytes_2x2

import headrace as hr

# Some take paths alone, which a storage of this machine has.
READERS = {
    "npy": lambda storage: hr.NpyFile(storage.path("x.npy")),
    "npy-files": hr.NpyFiles,
    "npy-shards": hr.NpyShards,
    "ragged": lambda storage: opened_by_path(storage, "x.ragged", ["values.npy", "offsets.npy"]),
    "npz-files": lambda storage: hr.NpzFiles(storage, keys="x"),
    "hdf5": lambda storage: hr.Hdf5(storage.path("x.h5"), "x"),
    "zarr": lambda storage: hr.Zarr(Below(storage, "x.zarr"), "x"),
    "parquet": lambda storage: hr.Parquet(storage, "x"),
    "arrow": lambda storage: hr.Arrow(storage.path("x.feather"), "x"),
    "images": lambda storage: hr.ImageFolder(storage, (2, 3)),
    "tar": lambda storage: hr.TarFiles(storage, "x.npy"),
    "jsonl": lambda storage: hr.JsonLines(storage, "x"),
    "tfrecord": lambda storage: hr.TFRecords(storage, "x"),
    "audio": lambda storage: hr.AudioFiles(storage, dtype="int16"),
    "files": lambda storage: hr.Files(storage, bytes_2x2, suffixes=".bin"),
}


def opened_by_path(storage, folder, names):
    """A folder that is opened by its path, with the files in it."""
    paths = [storage.path(f"{folder}/{name}") for name in names]
    return hr.open(Path(paths[0]).parent)


class Below:
    """A folder of another storage."""

    def __init__(self, storage, name):
        self._storage, self._prefix = storage, f"{name}/"

    @property
    def root(self):
        return self._storage.location(self._prefix)

    def location(self, name):
        return self._storage.location(self._prefix + name)

    def local_path(self, name=""):
        return None

    def fetch(self, requests):
        return self._storage.fetch([r._replace(name=self._prefix + r.name) for r in requests])

    def size(self, name):
        return self._storage.size(self._prefix + name)

    def sizes(self, names):
        return self._storage.sizes([self._prefix + name for name in names])

    def names(self, suffixes=("",)):
        raise NotImplementedError


# Those that do not, of which samples are arrays.
FAR = [name for name in READERS if name not in ("npy", "ragged", "hdf5", "arrow", "audio")]
