"""Folders that list their files themselves: datasets of Hugging Face, tables of Delta."""

import json

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
import pyarrow.parquet as pq
from far_folder import FarFolder
from reading import read

import headrace as hr
from headrace.storage.passed_over import PassedOverWarning


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"x": values})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class TestOfHuggingFace:
    @pytest.fixture
    def datasets(self):
        datasets = pytest.importorskip("datasets", reason="compares with Hugging Face's datasets")
        datasets.disable_progress_bars()
        return datasets

    @pytest.fixture
    def saved(self, datasets, tmp_path):
        """A folder of a dataset that was mapped, filtered and shuffled where it lies."""
        path = tmp_path / "saved"
        datasets.Dataset.from_dict({"x": list(range(10))}).save_to_disk(path, num_shards=3)
        loaded = datasets.load_from_disk(path)
        loaded.map(lambda row: {"x": -row["x"]})
        loaded.filter(lambda row: row["x"] % 2 == 0)
        loaded.shuffle(seed=1)
        assert len(list(path.glob("*.arrow"))) == 3 + 3, "three of the data, three that it keeps"
        return path

    @pytest.mark.fault("results that Hugging Face keeps beside a dataset", "passed over", "arrow")
    def test_results_that_are_kept_are_no_rows(self, saved):
        for reader in (hr.Arrow(saved), hr.open(saved)):
            assert read(reader).tolist() == list(range(10))

    def test_the_rows_are_those_that_the_dataset_shows(self, datasets, saved, tmp_path):
        shuffled = datasets.load_from_disk(saved).shuffle(seed=3).select(range(7))
        shuffled.save_to_disk(tmp_path / "again", num_shards=2)
        assert read(hr.Arrow(tmp_path / "again")).tolist() == shuffled["x"][:]

    @pytest.mark.fault("several datasets or splits in one folder", "error", "arrow")
    @pytest.mark.parametrize("below", ["", "below"])
    def test_a_dataset_dict_is_several(self, datasets, saved, tmp_path, below):
        splits = dict.fromkeys(["train", "test"], datasets.load_from_disk(saved))
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "dict" / below)
        for opened in (hr.Arrow, hr.open):
            with pytest.raises(hr.ArgumentError, match=r"several.*test', '.*train'. Open one") as e:
                opened(tmp_path / "dict")
            assert str(tmp_path / "dict" / below / "test") in str(e.value)
        assert len(hr.open(tmp_path / "dict" / below / "train")) == 10

    def test_a_folder_of_saved_datasets_is_several(self, saved):
        with pytest.raises(hr.ArgumentError, match=r"several, .*: 'saved'. Open one"):
            hr.Arrow(saved.parent)

    @pytest.mark.fault("a selection saved as indices by `datasets` before 1.2", "error", "arrow")
    @pytest.mark.parametrize("key", ["_indices_data_files", "_indices_files"])
    def test_a_selection_kept_as_indices_is_refused(self, tmp_path, key):
        """As load_from_disk of datasets 1.1 would have read it, and that of 5.2 no longer does."""
        write(tmp_path / "dataset.arrow", [1, 2, 3])
        write(tmp_path / "indices.arrow", [2, 0])
        files = {
            "_data_files": [{"filename": "dataset.arrow"}],
            key: [{"filename": "indices.arrow"}],
        }
        touch(tmp_path / "state.json", json.dumps(files))
        with pytest.raises(hr.ArgumentError, match=r"a selection.*flatten_indices\(\)"):
            hr.Arrow(tmp_path)

    def test_files_are_in_the_order_of_the_list(self, tmp_path):
        for number in range(3):
            write(tmp_path / f"{number}.arrow", [number])
        listed = [{"filename": f"{number}.arrow"} for number in (2, 0)]
        touch(tmp_path / "state.json", json.dumps({"_data_files": listed, "_indices_files": []}))
        assert read(hr.Arrow(tmp_path)).tolist() == [2, 0]
        touch(tmp_path / "state.json", json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))
        with pytest.raises(hr.ArgumentError, match="below root"):
            hr.Arrow(tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"epoch": 3}'])
    def test_another_state_is_none_of_theirs(self, tmp_path, text):
        write(tmp_path / "a.arrow", [1])
        write(tmp_path / "b" / "c.arrow", [2])
        for name in ("state.json", "b/state.json"):
            touch(tmp_path / name, text)
        assert read(hr.Arrow(tmp_path)).tolist() == [1, 2]

    def test_what_load_dataset_keeps_is_read_of_one_split(self, tmp_path):
        write(tmp_path / "imdb-train.arrow", [1])
        write(tmp_path / "cache-0123456789abcdef.arrow", [2])
        touch(tmp_path / "dataset_info.json", json.dumps({"splits": {"train": {}}}))
        assert read(hr.Arrow(tmp_path)).tolist() == [1]
        write(tmp_path / "imdb-test.arrow", [3])
        touch(tmp_path / "dataset_info.json", json.dumps({"splits": {"train": {}, "test": {}}}))
        with pytest.raises(hr.ArgumentError, match=r"one split, .*'test', 'train'\. Pass "):
            hr.Arrow(tmp_path)
        assert read(hr.Arrow(tmp_path, names=["imdb-test.arrow"])).tolist() == [3]


@pytest.mark.fault("several datasets or splits in one folder", "error", "parquet", "arrow")
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_files_numbered_as_those_of_several_splits_are_refused(tmp_path, suffix):
    open_ = {"parquet": hr.Parquet, "arrow": hr.Arrow}[suffix]
    for number, name in enumerate(["train-00000-of-00002", "train-00001-of-00002"]):
        write(tmp_path / "data" / f"{name}-0123456789abcdef.{suffix}", [number])
    assert read(open_(tmp_path)).tolist() == [0, 1]
    write(tmp_path / "data" / f"test-00000-of-00001.{suffix}", [2])
    with pytest.raises(hr.ArgumentError, match=r"'test' \(1\), 'train' \(2\)\. Pass .*names=\["):
        open_(tmp_path)
    with pytest.raises(hr.ArgumentError, match="of one split"):
        hr.open(tmp_path)
    assert read(open_(tmp_path, names=[f"data/test-00000-of-00001.{suffix}"])).tolist() == [2]


@pytest.mark.fault("a table of Delta, Iceberg or Hudi", "error", "parquet")
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta"),
        ("table/_delta_log/00000000000000000010.checkpoint.parquet", "Delta"),
        ("metadata/00000-9c12d441-03fe-4693-9a96-a0705ddf69c1.metadata.json", "Iceberg"),
        ("db/table/metadata/v1.metadata.json", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
    ],
)
def test_a_table_with_a_log_is_refused(tmp_path, far, log, kind):
    write(tmp_path / "part-0.parquet", [1, 2])
    write(tmp_path / "part-1.parquet", [1, 2])  # of an older version
    touch(tmp_path / log)
    root = FarFolder(tmp_path) if far else tmp_path
    with pytest.raises(hr.ArgumentError, match=f"is a table of {kind}, whose log") as caught:
        hr.Parquet(root)
    assert caught.value.args[0].count("table/") == 0
    if not far:
        with pytest.raises(hr.ArgumentError, match=f"a table of {kind}"):
            hr.open(tmp_path)
    assert read(hr.Parquet(root, names=["part-1.parquet"])).tolist() == [1, 2]


@pytest.mark.fault("what Spark and pandas leave in a folder", "passed over", "parquet")
def test_a_folder_as_spark_leaves_it(tmp_path):
    for number in range(2):
        write(tmp_path / f"part-0000{number}-c000.snappy.parquet", [number])
        touch(tmp_path / f".part-0000{number}-c000.snappy.parquet.crc")
    for name in ("_SUCCESS", "._SUCCESS.crc", "_metadata", "_common_metadata", "_started_4711"):
        touch(tmp_path / name)
    assert read(hr.Parquet(tmp_path)).tolist() == [0, 1]
    write(tmp_path / "_temporary/0/task/part-00000-c000.snappy.parquet", [0])
    write(tmp_path / "_copy.parquet", [0, 1])
    with pytest.warns(PassedOverWarning, match=r"2 files in .*, such as '_copy\.parquet', are"):
        assert read(hr.Parquet(tmp_path)).tolist() == [0, 1]


@pytest.mark.fault("an empty file whose columns have the type null", "read", "parquet", "arrow")
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("empty", ["a", "m", "z"])
def test_an_empty_file_says_nothing_of_its_columns(tmp_path, suffix, empty):
    open_ = {"parquet": hr.Parquet, "arrow": hr.Arrow}[suffix]
    for number, name in enumerate(["b", "n"]):
        write(tmp_path / f"{name}.{suffix}", np.array([number, 5]))
    write(tmp_path / f"{empty}.{suffix}", pa.nulls(0))
    assert read(open_(tmp_path)).tolist() == [0, 5, 1, 5]
    assert read(open_(tmp_path, "x", dtype="float32"), [3, 0]).tolist() == [5.0, 0.0]
    write(tmp_path / f"{empty}.{suffix}", pa.nulls(1))
    with pytest.raises(hr.HeadraceError, match="is null"):
        open_(tmp_path)
