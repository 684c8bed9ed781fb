"""Fingerprints stay the same in every release, as states that users have kept hold them."""

import collections
import io
import tarfile

import numpy as np
import pytest

import headrace as hr


def npy_files(folder):
    for i in range(5):
        np.save(folder / f"{i}.npy", np.full((3, 2), i, "f4"))
    return folder


def npz_files(folder):
    for i in range(3):
        np.savez(folder / f"{i}.npz", a=np.arange(3), b=1.0)
    return folder


def hdf5_file(folder):
    h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = np.zeros((4, 2))
        file["g/y"] = np.arange(4)
    return folder / "a.h5"


def zarr_group(folder):
    zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    group = zarr.open_group(folder / "g", mode="w")
    for name in ("p", "q"):
        group.create_array(name, data=np.arange(4))
    return folder / "g"


def arrow_files(folder):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    from pyarrow import feather

    table = pa.table({"x": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)), "y": range(4)})
    feather.write_feather(table, folder / "a.feather", compression="uncompressed")
    feather.write_feather(table, folder / "b.feather")
    return folder


def tar_file(folder):
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name, data in {"a.cls": b"7", "a.id": b"1", "b.cls": b"8", "b.id": b"2"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return folder


def images(folder):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    for name in ("c", "d"):
        (folder / name).mkdir()
        image.new("RGB", (4, 4)).save(folder / name / f"{'cd'.index(name) + 1}.png")
    return folder


CASES = [
    (npy_files, hr.NpyFiles, "9277572310afba17"),
    (npy_files, hr.NpyShards, "354f475687f3bea3"),
    (npz_files, hr.NpzFiles, "06f49cee02fe8113"),
    (npz_files, lambda folder: hr.NpzFiles(folder, keys="b"), "fc106d65bc76499f"),
    (hdf5_file, hr.Hdf5, "22189427d57b22d3"),
    (hdf5_file, lambda path: hr.Hdf5(path, "g/y"), "9d5cbe0827375026"),
    (zarr_group, hr.Zarr, "914c1e322689ab1f"),
    (zarr_group, lambda root: hr.Zarr(root / "p"), "e4a6a0577479b2b4"),
    (arrow_files, hr.Arrow, "de3ff8c5427d5ca1"),
    (arrow_files, lambda folder: hr.Arrow(folder / "b.feather", ["y", "x"]), "05e824e577c7d7e7"),
    (tar_file, lambda folder: hr.TarFiles(folder, "cls"), "68b5d554403c394b"),
    (tar_file, lambda folder: hr.TarFiles(folder, ["cls", "id"]), "3be0b8301a0cab26"),
    (images, lambda folder: hr.Images(folder, size=2), "c2dc1c9785ac9c31"),
    (images, lambda folder: hr.ImageFolder(folder, 2), "c2dc1c9785ac9c31"),
    (lambda _: [1, 2, 3], hr.Labels, "77ba1ae68d5afbb4"),
    (lambda _: [1.5], hr.Labels, "15b2c23605a33fef"),
]


@pytest.mark.parametrize(("store", "made", "expected"), CASES, ids=[case[2] for case in CASES])
def test_a_fingerprint_is_what_it_was(tmp_path, store, made, expected):
    assert made(store(tmp_path)).fingerprint() == expected


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
