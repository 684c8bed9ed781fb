"""What is said of bytes that numpy can't name: bfloat16 in files, asked for as another dtype."""

import warnings

import numpy as np
import pytest
from written import WRITTEN, write_npy_files

import headrace as hr
from headrace.arguments import hint_of_raw

RAW = np.arange(12, dtype="<u2").reshape(6, 2).view("V2")


def raw(format_name):
    """Six rows, as the format stores such bytes."""
    if format_name not in ("parquet", "arrow"):
        return RAW
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    return pa.array([row.tobytes() for row in RAW[:, 0]], pa.binary(2))


@pytest.mark.fault(
    "bfloat16, asked for as another dtype", "error",
    "npy-files", "npz-files", "hdf5", "zarr", "parquet", "arrow",
)  # fmt: skip
def test_bfloat16_in_raw_bytes_is_named(tmp_path, format_name):
    write, _, options = WRITTEN[format_name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries may not know the dtype
        path = tmp_path / write(tmp_path, raw(format_name))
        reader = hr.open(path, **options)
        assert reader.spec.dtype == np.dtype("V2")
        with pytest.raises((hr.ArgumentError, hr.SampleFormatError), match=r"ml_dtypes\.bfloat16"):
            hr.open(path, dtype="float32", **options)


def test_what_it_says_of_it_works(tmp_path):
    """The message says: view the batches in a transform."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    values = np.arange(12).reshape(6, 2).astype(ml_dtypes.bfloat16)
    write_npy_files(tmp_path, values)
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
