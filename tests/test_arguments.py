"""What is said of bytes that numpy can't name: bfloat16 in files, asked for as another dtype."""

import warnings

import numpy as np
import pytest

import headrace as hr
from headrace.arguments import hint_of_raw

RAW = np.arange(12, dtype="<u2").reshape(6, 2).view("V2")


def write_npy_files(folder):
    for index, row in enumerate(RAW):
        np.save(folder / f"{index}.npy", row)


def write_npz_files(folder):
    for index, row in enumerate(RAW):
        np.savez(folder / f"{index}.npz", x=row)


def write_hdf5(folder):
    h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
    with h5py.File(folder / "x.h5", "w") as file:
        file["x"] = RAW
    return "x.h5"


def write_zarr(folder):
    zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other libraries may not know the dtype
        zarr.create_array(folder / "x.zarr", data=RAW)
    return "x.zarr"


def write_parquet(folder):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": pa.array([row.tobytes() for row in RAW[:, 0]], pa.binary(2))}),
                   folder / "x.parquet")  # fmt: skip
    return "x.parquet"


def write_arrow(folder):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    import pyarrow.feather

    table = pa.table({"x": pa.array([row.tobytes() for row in RAW[:, 0]], pa.binary(2))})
    pyarrow.feather.write_feather(table, folder / "x.arrow", compression="uncompressed")
    return "x.arrow"


@pytest.mark.fault(
    "bfloat16, asked for as another dtype", "error",
    "npy-files", "npz-files", "hdf5", "zarr", "parquet", "arrow",
)  # fmt: skip
def test_bfloat16_in_raw_bytes_is_named(tmp_path, format_name):
    path = tmp_path / (globals()[f"write_{format_name.replace('-', '_')}"](tmp_path) or ".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = hr.open(path)
        assert reader.spec.dtype == np.dtype("V2")
        with pytest.raises((hr.ArgumentError, hr.SampleFormatError), match=r"ml_dtypes\.bfloat16"):
            hr.open(path, dtype="float32")


def test_what_it_says_of_it_works(tmp_path):
    """The message says: view the batches in a transform."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    values = np.arange(12).reshape(6, 2).astype(ml_dtypes.bfloat16)
    for index, row in enumerate(values):
        np.save(tmp_path / f"{index}.npy", row)
    as_what_they_are = lambda x, rng: x.view(ml_dtypes.bfloat16)  # noqa: E731
    loader = hr.Loader(hr.NpyFiles(tmp_path), 6, shuffle=False, transform=as_what_they_are)
    batch = loader.batch(0, 0)
    assert batch.dtype == ml_dtypes.bfloat16
    assert (batch == values).all()


def test_of_labels_and_of_datasets():
    with pytest.raises(hr.ArgumentError, match="V2 is what files have of bfloat16"):
        hr.Labels(RAW, dtype="float32")
    reader = hr.GetItem(list(RAW), spec=hr.Spec((2,), np.dtype("float32")))
    with pytest.raises(hr.SampleFormatError, match="V2 is what files have of bfloat16"):
        reader.read(np.array([0]), np.empty((1, 2), np.float32))


@pytest.mark.parametrize("dtype", ["float32", "V3", [("a", "u1"), ("b", "u1")], "S2"])
def test_of_others_nothing_is_said(dtype):
    assert hint_of_raw(np.dtype(dtype)) == ""
