"""Hdf5 datasets whose rows may have any length."""

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")

import headrace as hr
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


def write_rows(file, name, rows, dtype=None, **options):
    dtype = h5py.vlen_dtype(dtype or rows[0].dtype)
    dataset = file.create_dataset(name, len(rows), dtype, **options)
    for at, row in enumerate(rows):
        dataset[at] = row


class TestChunks(RaggedReaderContract):
    dtypes = ("int32", "float16")
    elements = ((),)

    def make_reader(self, folder, samples):
        with h5py.File(folder / "a.h5", "w") as file:
            write_rows(file, "x", samples, chunks=3, compression="gzip")
        return hr.Hdf5(folder / "a.h5", ragged=True)


@pytest.mark.parametrize("chunks", [None, 2])
def test_rows_and_strings_come_with_what_has_one_shape(tmp_path, chunks):
    rows = [np.arange(i, dtype="int32") for i in (3, 0, 2)]
    texts = ["a", "zwölf", ""]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_rows(file, "tokens", rows, chunks=chunks)
        file.create_dataset("text", data=texts, chunks=chunks)
        file["label"] = np.arange(3)
    reader = hr.Hdf5(tmp_path / "a.h5", ragged=True, dtype={"tokens": "float32"})
    assert reader.spec == {
        "label": hr.Spec((), np.dtype("int64")),
        "text": hr.Spec((None,), np.dtype("uint8")),
        "tokens": hr.Spec((None,), np.dtype("float32")),
    }
    batch = hr.Loader(reader, 3, seed=2).batch(0, 0)
    for row, index in enumerate(batch["label"].tolist()):
        assert batch["tokens"][row].tolist() == rows[index].tolist()
        assert batch["text"][row].tobytes().decode() == texts[index]


def test_ragged_names_datasets_of_rows_of_any_length(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_rows(file, "x", [np.arange(2)])
        file["y"] = np.arange(1)
        file.create_dataset("z", (1, 2), h5py.vlen_dtype("int32"))
        # Which h5py reads wrong.
        file.create_dataset("swapped", (1,), h5py.vlen_dtype(np.dtype("int32").newbyteorder("S")))
    path = tmp_path / "a.h5"
    assert hr.Hdf5(path, ["x", "y"], ragged=["x"]).spec["x"].ragged
    with pytest.raises(hr.ArgumentError, match="'y' has others"):
        hr.Hdf5(path, ["y"], ragged=["y"])
    with pytest.raises(hr.ArgumentError, match="among 'x', 'y'"):
        hr.Hdf5(path, ["x", "y"], ragged=["no"])
    with pytest.raises(hr.ArgumentError, match=r"'x' .* holds others.*pass ragged=True"):
        hr.Hdf5(path, "x")
    for name, said in (("z", "Rows of any length have one axis"), ("swapped", "byte order")):
        with pytest.raises(hr.ArgumentError, match=rf"'{name}' .* holds others.*{said}"):
            hr.Hdf5(path, name, ragged=True)


def test_a_damaged_row_is_an_error_of_its_sample(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        write_rows(file, "x", [np.full(50, i, "int64") for i in range(4)])
    data = path.read_bytes()
    heap = data.index(b"GCOL")
    path.write_bytes(data[:heap] + b"?" * 16 + data[heap + 16 :])
    reader = hr.Hdf5(path, ragged=True)
    with pytest.raises(hr.SampleFormatError, match=r"sample 2 .*'x'") as caught:
        read_batch(reader, np.array([2]))
    assert caught.value.index == 2
    assert reader.sample_lengths().tolist() == [50] * 4  # which are not beside the rows


@pytest.mark.parametrize("options", [{}, {"chunks": 4}, {"chunks": 4, "compression": "lzf"}])
@pytest.mark.parametrize("userblock", [0, 512])
def test_lengths_are_those_of_the_rows(tmp_path, options, userblock):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        write_rows(file, "x", [np.arange(i % 5, dtype="int32") for i in range(10)], **options)
        # Of the last chunk, nothing was ever written.
        sparse = file.create_dataset("sparse", 10, h5py.string_dtype(), **options)
        sparse[:5] = ["zwölf", "", "a", "b" * 300, "c"]
        file["label"] = np.arange(10)
    lengths = hr.Hdf5(path, ragged=True).sample_lengths()
    assert lengths["x"].tolist() == [i % 5 for i in range(10)]
    read = hr.Hdf5(path, "sparse", ragged=True)
    assert lengths["sparse"].tolist() == read_batch(read, np.arange(10)).lengths.tolist()
    assert lengths["label"] is None
