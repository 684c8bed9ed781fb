"""dtype= and spec= of every reader: a value that does not fit is an error, and never another."""

import json

import numpy as np
import pytest
from far_folder import FarFolder
from tfrecords import example, record

import headrace as hr
from headrace.batching.bad_samples import BadSampleWarning

N, BAD = 12, 7
ROWS = np.arange(N * 6, dtype=np.int64).reshape(N, 6) - 30


def npy_files(folder, rows, dtype, root=None, **options):
    for index, row in enumerate(rows):
        np.save(folder / f"{index:02}.npy", row)
    return hr.NpyFiles(root or folder, dtype=dtype, **options)


def far_npy_files(folder, rows, dtype, **options):
    return npy_files(folder, rows, dtype, FarFolder(folder), **options)


def npy_files_of_other_layouts(folder, rows, dtype):
    swapped = rows.astype(rows.dtype.newbyteorder())
    return npy_files(folder, [np.asfortranarray(row.reshape(2, 3)) for row in swapped], dtype)


def ragged_npy_files(folder, rows, dtype):
    return npy_files(folder, rows, dtype, ragged=True)


def npz_files(folder, rows, dtype, **options):
    for index, row in enumerate(rows):
        np.savez(folder / f"{index:02}.npz", x=row, y=index)
    return hr.NpzFiles(folder, keys="x", dtype=dtype, **options)


def ragged_npz_files(folder, rows, dtype):
    return npz_files(folder, rows, dtype, ragged=True)


def hdf5(folder, rows, dtype, ragged=False, **options):
    h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
    with h5py.File(folder / "07.h5", "w") as file:
        if ragged:
            kind = h5py.vlen_dtype(rows.dtype)
            file.create_dataset("x", (N,), kind, **options)
            for index, row in enumerate(rows):
                file["x"][index] = row
        else:
            file.create_dataset("x", data=rows, **options)
    return hr.Hdf5(folder / "07.h5", "x", dtype=dtype, ragged=ragged)


def chunked_hdf5(folder, rows, dtype):
    return hdf5(folder, rows, dtype, chunks=(2, 3))


def compressed_hdf5(folder, rows, dtype):
    return hdf5(folder, rows, dtype, chunks=(3, 6), compression="gzip")


def hdf5_of_large_rows(folder, rows, dtype):
    return hdf5(folder, np.repeat(rows, 2000, axis=1), dtype, chunks=(3, 12000), compression="gzip")


def ragged_hdf5(folder, rows, dtype):
    return hdf5(folder, rows, dtype, ragged=True, chunks=(5,))


def zarr_array(folder, rows, dtype):
    zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
    zarr.create_array(folder / "07.zarr", data=rows, chunks=(5, 4))
    return hr.Zarr(folder / "07.zarr", dtype=dtype)


def lists(rows, fixed):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    values = pa.array(rows.reshape(-1))
    if fixed:
        return pa.table({"x": pa.FixedSizeListArray.from_arrays(values, rows.shape[1])})
    offsets = np.arange(len(rows) + 1) * rows.shape[1]
    return pa.table({"x": pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)})


def parquet(folder, rows, dtype, ragged=False):
    table = lists(rows, not ragged)
    import pyarrow.parquet as pq

    pq.write_table(table, folder / "07.parquet", row_group_size=5)
    return hr.Parquet(folder / "07.parquet", "x", dtype=dtype, ragged=ragged)


def ragged_parquet(folder, rows, dtype):
    return parquet(folder, rows, dtype, ragged=True)


def arrow(folder, rows, dtype, ragged=False, compression="uncompressed", chunksize=5):
    table = lists(rows, not ragged)
    import pyarrow.feather

    path = folder / "07.feather"
    pyarrow.feather.write_feather(table, path, compression, chunksize=chunksize)
    return hr.Arrow(path, "x", dtype=dtype, ragged=ragged)


def compressed_arrow(folder, rows, dtype):
    return arrow(folder, rows, dtype, compression="lz4")


def ragged_arrow(folder, rows, dtype):
    return arrow(folder, rows, dtype, ragged=True)


def ragged_arrow_of_long_lists(folder, rows, dtype):
    return arrow(folder, np.repeat(rows, 20, axis=1), dtype, ragged=True)


def ragged_compressed_arrow(folder, rows, dtype):
    return arrow(folder, rows, dtype, ragged=True, compression="lz4")


def folders(folder, rows, dtype):
    table = lists(rows[:1], fixed=True)
    import pyarrow.parquet as pq

    for index, row in enumerate(rows[:, 5].tolist()):
        (folder / f"{index:02}" / f"x={row}").mkdir(parents=True)
        pq.write_table(table.rename_columns(["y"]), folder / f"{index:02}" / f"x={row}" / "a.pq")
    return hr.Parquet(folder, "x", dtype=dtype)


def files(folder, rows, dtype):
    for index, row in enumerate(rows):
        (folder / f"{index:02}.json").write_text(json.dumps(row.tolist()))
    return hr.Files(folder, json.loads, spec=hr.Spec((6,), np.dtype(dtype)))


def json_lines(folder, rows, dtype):
    path = folder / "07.jsonl"
    path.write_text("".join(json.dumps({"x": row.tolist()}) + "\n" for row in rows))
    return hr.JsonLines(path, "x", spec=hr.Spec((6,), np.dtype(dtype)))


def tfrecords(folder, rows, dtype):
    (folder / "07.tfrecord").write_bytes(b"".join(record(example({"x": row})) for row in rows))
    return hr.TFRecords(folder, "x", spec=hr.Spec((6,), np.dtype(dtype)))


# With files, of which those of sample 7 have 07 in their name.
MAKERS = [
    npy_files,
    far_npy_files,
    npy_files_of_other_layouts,
    ragged_npy_files,
    npz_files,
    ragged_npz_files,
    hdf5,
    chunked_hdf5,
    compressed_hdf5,
    hdf5_of_large_rows,
    ragged_hdf5,
    zarr_array,
    parquet,
    ragged_parquet,
    arrow,
    compressed_arrow,
    ragged_arrow,
    ragged_arrow_of_long_lists,
    ragged_compressed_arrow,
    folders,
    files,
    json_lines,
    tfrecords,
]


def dataset(folder, rows, dtype):
    return hr.GetItem(list(rows), spec=hr.Spec((6,), np.dtype(dtype)))


def columns(folder, rows, dtype):
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    of_columns = datasets.Dataset.from_dict({"x": rows}).with_format("numpy", dtype=rows.dtype)
    return hr.GetItem(of_columns, spec={"x": hr.Spec((6,), np.dtype(dtype))})


def concatenated(folder, rows, dtype):
    return hr.Concat(rows[:2], rows[2:], dtype=dtype)


def concatenated_ragged(folder, rows, dtype):
    offsets = np.array([0, 6, 12])
    parts = [hr.RaggedArray(part.reshape(-1), offsets) for part in np.split(rows, N // 2)]
    return hr.Concat(*parts, dtype=dtype)


WITHOUT_FILES = [dataset, columns, concatenated, concatenated_ragged]


def numbers(batch):
    """Of each sample six numbers, as they are in `rows`; of `folders` one."""
    leaves = batch["x"] if isinstance(batch, dict) else batch
    rows = np.stack([np.asarray(row).reshape(-1) for row in leaves])
    return rows if rows.shape[1] < 7 else rows[:, :: rows.shape[1] // 6]


def assert_others_are_read(reader, rows, dtype):
    good = [BAD - 1, 0, BAD + 1]
    (batch,) = hr.Loader(hr.Subset(reader, good), 3, shuffle=False)
    expected = rows[good].astype(dtype)
    read = numbers(batch)
    assert read.dtype == dtype
    assert read.tolist() == expected[:, -read.shape[1] :].tolist()


def assert_error_of_the_sample(reader, said):
    with pytest.raises(hr.SampleFormatError, match=said) as caught:
        hr.Loader(reader, N, shuffle=False).batch(0, 0)
    assert caught.value.index == BAD
    options = {"on_error": "replace", "max_bad_samples": 1}
    with hr.Loader(reader, N, shuffle=False, **options) as loader:
        with pytest.warns(BadSampleWarning):
            batch = numbers(loader.batch(0, 0))
        (bad,) = loader.bad_samples
    assert bad.index == BAD
    assert batch[BAD].tolist() == batch[bad.substitute].tolist()


@pytest.mark.fault(
    "a number that the dtype asked for can't hold",
    "error",
    "npy-files",
    "npz-files",
    "hdf5",
    "zarr",
    "parquet",
    "arrow",
    "files",
    "jsonl",
    "tfrecord",
)
@pytest.mark.parametrize("make", MAKERS + WITHOUT_FILES)
def test_an_integer_that_does_not_fit_is_an_error_of_its_sample(tmp_path, make):
    rows = ROWS.copy()
    rows[BAD] = [0, 1, 2, 300, 4, 300]
    reader = make(tmp_path, rows, "int8")
    assert_others_are_read(reader, rows, "int8")
    where = ".*07.*" if make in MAKERS else ".*"
    said = rf"sample {BAD}\b{where}has 300, which int8 can't hold \(-128 to 127\).*int64"
    assert_error_of_the_sample(reader, said)


@pytest.mark.parametrize("make", MAKERS + WITHOUT_FILES)
def test_a_float_that_would_be_infinite_is_an_error_of_its_sample(tmp_path, make):
    if make is tfrecords:
        pytest.skip("tf.train.Example has floats of 32 bits alone")
    rows = ROWS + 0.1
    rows[3, 5], rows[5, 5] = np.inf, np.nan  # which float32 has
    rows[BAD] = [0, 1, 2, 3, -1e300, -1e300]
    reader = make(tmp_path, rows, "float32")
    assert_others_are_read(reader, rows, "float32")
    assert_error_of_the_sample(reader, r"has -1e\+300, which float32 can't hold .*float64")
