"""Fingerprints stay the same in every release, as states that users have kept hold them."""

import collections

import numpy as np
import pytest
from written import WRITTEN

import headrace as hr

# Of what `written.py` writes: of one column, and of that and another.
FORMATS = {
    "npy-files": ["c73f82da7a0a3772"],
    "npy-shards": ["59c3d8225fe1158a"],
    "ragged": ["4a4865827eb85683"],
    "npz-files": ["bad4610ef8047946", "876ddcba66faf8bb"],
    "hdf5": ["4adf4367f96e584f", "30b815c508b6ccde"],
    "zarr": ["4adf4367f96e584f", "30b815c508b6ccde"],
    "arrow": ["8acdbcc39ca09fc5", "4889256d9416e6b4"],
    "images": ["08f542bad21adec0"],
    "audio": ["9b8f72f0d5b8bbbd"],
    "tar": ["58179961bfb8b7dd", "9d21766f0c593056"],
    "jsonl": ["16505d552cd5a086", "17a9d03b758f966b"],
    "tfrecord": ["5c3bbe92e30a474f", "6c89eedb26ba87b9"],
    "files": ["befa2ea16bad8197"],
}
# In that of Parquet is the size of its file, which each pyarrow has its own; NpyFile has none.
OTHERS = {"parquet", "npy"}


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - OTHERS))
def test_a_fingerprint_of_files_is_what_it_was(tmp_path, name):
    write, _, options = WRITTEN[name]
    path = tmp_path / write(tmp_path)
    readers = [hr.open(path, format=name, **options)]
    if "columns" in options:
        other = "cls" if name == "tar" else "y"
        readers.append(hr.open(path, columns=[options["columns"], other]))
    assert [reader.fingerprint() for reader in readers] == FORMATS[name]
    if name == "zarr":
        assert hr.Zarr(path / "x").fingerprint() == "e4a6a0577479b2b4"


def test_a_fingerprint_of_labels_is_what_it_was():
    assert hr.Labels([1, 2, 3]).fingerprint() == "77ba1ae68d5afbb4"
    assert hr.Labels([1.5]).fingerprint() == "15b2c23605a33fef"


Pair = collections.namedtuple("Pair", "x y")


class Of:
    """Four samples of any spec."""

    def __init__(self, spec):
        self.spec = spec

    def __len__(self):
        return 4

    def read(self, indices, out):
        raise NotImplementedError


def test_a_states_hash_of_nested_specs_is_what_it_was():
    a, b = hr.Spec((2, 3), np.dtype("f4")), hr.Spec((), np.dtype("i8"))
    source = (Of({"u": a, "v": (b, a)}), Of(Pair(a, {"z": Pair(b, b)})), np.zeros((4, 2)))
    assert hr.Loader(source, 2).state_dict()["data"] == "f5744375823bf750"
