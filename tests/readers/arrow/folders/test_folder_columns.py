"""Columns that stand in the names of folders, with their dtypes; also those that can't be read."""

import pickle

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
import pyarrow.dataset
import pyarrow.parquet as pq
from far_folder import FarFolder
from reading import read

import headrace as hr
from headrace.testing import ReaderContract

COLUMNS = {
    "x": [0, 1, 2, 3, 4, 5],
    "label": [1, 0, 1, 0, 2, 2],
    "share": [0.5, 0.25, 0.5, 0.25, 1.5, 1.5],
    "day": np.array(["2024-02-01", "2024-01-31"] * 3, "M8[D]"),
    "animal": ["cat", "dog", "cat", "dog", "ox", "ox"],
}


@pytest.fixture(params=["parquet", "arrow"])
def kind(request):
    return request.param


def write(folder, names, kind="parquet", columns=COLUMNS):
    """As pyarrow writes them; and in which order the rows then are."""
    table = pa.table(columns)
    schema = pa.schema([table.schema.field(name) for name in names])
    partitioning = pyarrow.dataset.partitioning(schema, flavor="hive")
    pyarrow.dataset.write_dataset(table, folder, format=kind, partitioning=partitioning)
    open_ = {"parquet": hr.Parquet, "arrow": hr.Arrow}[kind]
    return open_, read(open_(folder, "x")).tolist()


@pytest.mark.fault("a column in the names of folders, as `label=0/`", "read", "parquet", "arrow")
@pytest.mark.parametrize(
    ("name", "dtype"), [("label", "int64"), ("share", "float64"), ("day", "M8[D]")]
)
def test_a_column_has_its_dtype(tmp_path, kind, name, dtype):
    open_, order = write(tmp_path, [name], kind)
    reader = open_(tmp_path, name)
    assert reader.spec == hr.Spec((), np.dtype(dtype))
    assert reader.block == 1
    assert read(reader).tolist() == np.array(COLUMNS[name])[order].tolist()
    assert read(hr.open(tmp_path, columns=name)).dtype == dtype


def test_as_pyarrow_reads_them(tmp_path):
    open_, _ = write(tmp_path, ["label"])
    theirs = pq.read_table(tmp_path)
    ours = read(open_(tmp_path, ["label", "x", "share"]))
    assert list(ours) == ["label", "x", "share"]
    for name, values in ours.items():
        assert values.tolist() == theirs[name].to_pylist()


def test_several_with_columns_of_the_files(tmp_path, kind):
    open_, order = write(tmp_path, ["label", "animal", "day"], kind)
    wanted = {"number": "x", "y": "label", "again": "label", "on": "day"}
    reader = open_(tmp_path, wanted, dtype={"again": "float32", "number": "int64"})
    indices = [5, 0, 3, 3]
    batch = read(reader, indices)
    rows = np.array(order)[indices]
    assert batch["number"].tolist() == rows.tolist()
    assert batch["y"].tolist() == np.array(COLUMNS["label"])[rows].tolist()
    assert (batch["again"] == batch["y"]).all()
    assert batch["again"].dtype == np.float32
    assert (batch["on"] == COLUMNS["day"][rows]).all()
    assert read(pickle.loads(pickle.dumps(reader)), indices)["y"].tolist() == batch["y"].tolist()
    assert reader.fingerprint() != open_(tmp_path, ["x"]).fingerprint()


def test_they_are_read_only_if_they_are_named(tmp_path, kind):
    open_, order = write(tmp_path, ["label"], kind, {"x": [0, 1], "label": [1, 0]})
    assert read(open_(tmp_path)).tolist() == order
    assert list(read(open_(tmp_path, ["label"]))) == ["label"]


def test_what_stands_in_the_files_goes_before(tmp_path):
    (tmp_path / "x=7").mkdir()
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "x=7" / "a.parquet")
    assert read(hr.Parquet(tmp_path, "x")).tolist() == [1, 2]


def test_far_away(tmp_path):
    _, order = write(tmp_path, ["label"])
    batch = read(hr.Parquet(FarFolder(tmp_path), ["x", "label"]))
    assert batch["label"].tolist() == np.array(COLUMNS["label"])[order].tolist()


def test_escaped_values(tmp_path):
    (tmp_path / "t=2024%2D01%2D31").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t=2024%2D01%2D31" / "a.parquet")
    assert read(hr.Parquet(tmp_path, "t")).tolist() == [np.datetime64("2024-01-31").item()]


def test_text_is_refused(tmp_path, kind):
    open_, _ = write(tmp_path, ["animal"], kind)
    with pytest.raises(hr.ArgumentError, match=r"'animal' in the folders' names is text, such as"):
        open_(tmp_path, "animal")


def test_a_number_that_can_not_become_the_dtype_is_refused(tmp_path):
    write(tmp_path, ["share"])
    with pytest.raises(hr.ArgumentError, match=r"dtype must be .*'share', of dtype float64"):
        hr.Parquet(tmp_path, "share", dtype="int64")


def test_an_unknown_column_is_told_those_that_there_are(tmp_path, kind):
    open_, _ = write(tmp_path, ["label", "day"], kind)
    with pytest.raises(hr.ArgumentError, match=r"'x', .* and 'label', 'day' of its folders, but"):
        open_(tmp_path, ["x", "lable"])


def test_a_file_beside_the_folders_is_named(tmp_path):
    write(tmp_path, ["label"])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(hr.SampleFormatError, match=r"a\.parquet' lies in no folder .*label=\.\.\."):
        hr.Parquet(tmp_path, "label")


def test_a_null_is_an_error_of_its_samples_alone(tmp_path):
    open_, _ = write(tmp_path, ["label"], columns={"x": [1, 2, 3], "label": [1, None, 2]})
    reader = open_(tmp_path, ["label", "x"])
    assert read(reader, [0, 1])["label"].tolist() == [1, 2]
    with pytest.raises(hr.SampleFormatError, match=r"^sample 2 .*PARTITION.*'label' is null"):
        read(reader, [0, 2])


class TestContract(ReaderContract):
    dtypes = ("int64",)
    shapes = ((),)

    def make_samples(self, n, shape, dtype):
        return np.array([7, -3, 7, 40])[np.arange(n) * 4 // n]

    def make_reader(self, folder, samples):
        for number, part in enumerate(np.split(samples, -(-np.arange(1, 4) * len(samples) // 4))):
            path = folder / f"part={number}" / f"y={part[0]}" / "a.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(pa.table({"x": np.zeros(len(part))}), path)
        return hr.Parquet(folder, "y")

    test_pickles_as_a_description = None  # samples have no axes
