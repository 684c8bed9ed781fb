"""Columns of lists, strings and binaries as samples of any length."""

from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
import pyarrow.parquet as pq
from arrow_arrays import fixed_lists
from arrow_kinds import KINDS, arrow_writer
from far_folder import FarFolder

import headrace as hr
from headrace.readers.access import fingerprint_of, lengths_of
from headrace.readers.reader import read_batch
from headrace.testing import RaggedReaderContract


def ragged_lists(samples, large=False):
    """Lists of the samples, after one that is cut off again."""
    whole = hr.Ragged.of([samples[0], *samples])
    values = whole.values
    inner = fixed_lists(values) if values.ndim > 1 else pa.array(values)
    kind = pa.LargeListArray if large else pa.ListArray
    offsets = pa.array(whole.offsets.astype(np.int64 if large else np.int32))
    return kind.from_arrays(offsets, inner).slice(1)


def written_or_skip(kind, folder, columns, rows=None):
    try:
        return kind.write(folder, "a", columns, rows)
    except pa.ArrowNotImplementedError as error:  # before pyarrow 26
        pytest.skip(f"pyarrow {pa.__version__} can't write it: {error}")


def read_or_skip(reader, indices):
    """A batch, unless this pyarrow has views of strings, and can't convert them."""
    try:
        return read_batch(reader, np.array(indices))
    except hr.MissingExtraError as error:
        pytest.skip(str(error))


def read(reader, indices):
    return [sample.tolist() for sample in read_batch(reader, np.array(indices, np.int64))]


class TestMappedLists(RaggedReaderContract):
    dtypes = ("int32", "float64", "float16", "bool", "datetime64[D]", "datetime64[ms]")
    rows = 3

    def make_samples(self, lengths, element, dtype):
        samples = super().make_samples(lengths, element, "int64")
        values = samples.values % 2 if dtype == "bool" else samples.values
        return hr.Ragged(values.astype(dtype), samples.offsets)

    def make_reader(self, folder, samples):
        column = ragged_lists(samples)
        if samples[0].dtype == "M8[D]" and samples[0].ndim == 1:
            column = column.cast(pa.list_(pa.date32()))
        table = pa.table({"y": np.arange(len(samples)), "x": column})
        arrow_writer(None)(table, folder / "a.arrow", self.rows)
        return hr.Arrow(folder / "a.arrow", "x", ragged=True)


class TestLargeListsInParquet(RaggedReaderContract):
    dtypes = ("uint8", "float64")
    elements = ((), (2, 1))

    def make_reader(self, folder, samples):
        for name, part in (("a", samples[:5]), ("b", samples[5:])):
            table = pa.table({"x": ragged_lists(part, large=True) if part else pa.array([])})
            pq.write_table(table, folder / f"{name}.parquet", row_group_size=2)
        return hr.Parquet(FarFolder(folder), "x", ragged=["x"])


class TestBinariesInACompressedFile(RaggedReaderContract):
    dtypes = ("uint8",)
    elements = ((),)

    def make_reader(self, folder, samples):
        table = pa.table({"x": pa.array([sample.tobytes() for sample in samples])})
        arrow_writer("zstd")(table, folder / "a.arrow", 3)
        return hr.Arrow(folder, ragged=True)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


TEXTS = ["a", "", "zwölf", "bc"]


@pytest.mark.parametrize(
    "stored",
    [
        pa.array(TEXTS),
        pa.array(TEXTS, pa.large_string()),
        pa.array([text.encode() for text in TEXTS], pa.large_binary()),
        pa.array(["cut off", *TEXTS]).slice(1).dictionary_encode(),
        pa.array(["cut off, and longer than a view", *TEXTS], pa.string_view()).slice(1),
    ],
    ids=lambda array: str(array.type),
)
def test_strings_are_their_bytes(tmp_path, kind, stored):
    path = written_or_skip(kind, tmp_path, {"text": stored, "label": [5, 6, 7, 8]}, 3)
    reader = kind.open(path, ragged=True)
    assert reader.spec == {
        "text": hr.Spec((None,), np.dtype("uint8")),
        "label": hr.Spec((), np.dtype("int64")),
    }
    batch = read_or_skip(reader, [3, 2, 0, 1, 2])
    assert [text.tobytes().decode() for text in batch["text"]] == ["bc", "zwölf", "a", "", "zwölf"]
    assert batch["label"].tolist() == [8, 7, 5, 6, 7]


def test_a_file_of_polars_is_read():
    """As Polars 2.1 wrote it: with views of strings, and something of its own at its beginning."""
    golden = Path(__file__).parents[2] / "data" / "polars" / "texts.arrow"
    reader = hr.Arrow(golden, ragged=True)
    assert reader.spec["l"] == hr.Spec((None,), np.dtype("int64"))
    batch = read_or_skip(reader, [3, 2, 0, 1])
    assert [text.tobytes().decode() for text in batch["t"]] == ["x" * 40, "zwölf", "a", ""]
    assert [one.tolist() for one in batch["l"]] == [[4], [], [1], [2, 3]]


def test_some_columns_may_have_any_length_and_others_one(tmp_path, kind):
    columns = {"box": [[1, 2], [3, 4]], "tokens": [[1], [2, 3]]}
    path = kind.write(tmp_path, "a", columns)
    reader = kind.open(path, ragged=["tokens"], dtype={"tokens": "float32"})
    assert reader.spec["box"] == hr.Spec((2,), np.dtype("int64"))
    assert reader.spec["tokens"] == hr.Spec((None,), np.dtype("float32"))
    both = kind.open(path, {"a": "tokens", "b": "tokens"}, ragged=["b"])
    assert list(both.spec["b"].shape) == [None]
    lengths = lengths_of(reader)
    assert lengths["box"] is None
    assert lengths["tokens"].tolist() == [1, 2]
    batch = hr.Loader(reader, 2, shuffle=False).batch(0, 0)
    assert batch["box"].tolist() == columns["box"]
    assert [sample.tolist() for sample in batch["tokens"]] == columns["tokens"]


def test_lists_within_lists_have_the_length_of_the_first(tmp_path, kind):
    values = [[], [[1, 2]], [[3, 4], [5, 6]], [[7, 8], [9]]]
    path = kind.write(tmp_path, "a", {"x": pa.array(values, pa.list_(pa.list_(pa.int32())))})
    reader = kind.open(path, ragged=True)
    assert reader.spec == hr.Spec((None, 2), np.dtype("int32"))
    assert read(reader, [2, 0, 1]) == [values[2], [], values[1]]
    said = r"sample 3 .*another length.*the first axis .* may have any length, and no other"
    with pytest.raises(hr.SampleFormatError, match=said):
        read(reader, [0, 3])
    empty = kind.write(tmp_path, "b", {"x": pa.array([[]], pa.list_(pa.list_(pa.int32())))})
    with pytest.raises(hr.SampleFormatError, match="must tell the shape"):
        kind.open(empty, ragged=True)


def test_lists_of_what_is_no_number_are_named_with_what_would_help(tmp_path, kind):
    columns = {"words": pa.array([["a"], []]), "text": pa.array(["a", ""])}
    path = kind.write(tmp_path, "a", columns)
    for ragged in (False, True):
        with pytest.raises(
            hr.ArgumentError, match=r"'words' is list<.*string>, .*is string"
        ) as caught:
            kind.open(path, "words", ragged=ragged)
        assert "ragged=True" not in str(caught.value)
    with pytest.raises(hr.ArgumentError, match=r"'words' is list<.*string>, whose element is"):
        kind.open(path, "words", ragged=["words"])
    with pytest.raises(hr.ArgumentError, match=r"'text' is string.*their bytes, pass ragged=True"):
        kind.open(path, "text")


def test_views_of_lists_within_lists(tmp_path, kind):
    inner = pa.ListViewArray.from_arrays([2, 0, 1], [2, 2, 2], pa.array([1, 2, 3, 4], pa.int32()))
    stored = pa.LargeListViewArray.from_arrays([1, 3, 0], [2, 0, 1], inner)
    path = written_or_skip(kind, tmp_path, {"x": stored})
    assert read(kind.open(path, ragged=True), [2, 0, 1]) == [[[3, 4]], [[1, 2], [2, 3]], []]
    assert kind.open(kind.write(tmp_path, "b", {"x": inner}), "x").spec.shape == (2,)


@pytest.mark.parametrize(
    "stored",
    [
        pa.array([[1], [], None, [2, 3]]),
        pa.array([[1], [], [4, None], [2, 3]]),
        pa.array([[[1]], [], [[4], None], [[2], [3]]], pa.list_(pa.list_(pa.int64(), 1))),
        pa.array(["a", "", None, "bc"]),
        pa.array(["a", "", None, "bc"]).dictionary_encode(),
        pa.array([b"a", b"", None, b"bc"], pa.binary_view()),
        pa.ListViewArray.from_arrays(
            [2, 1, 0, 0],
            [1, 0, 2, 2],
            pa.array([5, 6, 7]),
            mask=pa.array([False] * 2 + [True, False]),
        ),
    ],
    ids=lambda array: str(array.type),
)
def test_a_null_is_an_error_of_its_sample_alone(tmp_path, kind, stored):
    path = written_or_skip(kind, tmp_path, {"x": stored}, 4)
    reader = kind.open(path, ragged=True)
    assert read_or_skip(reader, [3, 1, 0]).lengths.tolist() == [2, 0, 1]
    with pytest.raises(hr.SampleFormatError, match=r"sample 2 .*column 'x' .*null") as caught:
        read(reader, [3, 2])
    assert caught.value.index == 2
    assert path.name in str(caught.value)


def test_a_bad_sample_is_replaced(tmp_path, kind):
    values = [[i] * i for i in range(8)]
    values[3] = None
    reader = kind.open(kind.write(tmp_path, "a", {"x": values}, 3), ragged=True)
    loader = hr.Loader(reader, 4, shuffle=False, on_error="replace", max_bad_samples=1)
    with pytest.warns(hr.BadSampleWarning):
        first, second = (batch for batch in loader)
    assert first.lengths.tolist()[:3] == [0, 1, 2]
    assert all(sample.tolist() == [len(sample)] * len(sample) for sample in first)
    assert second.lengths.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("ragged", "error", "said"),
    [
        (["no"], hr.ArgumentError, "among 'x', 'n'"),
        (["n"], hr.ArgumentError, "columns of lists.*'n' is int64"),
        ("x", hr.ArgumentTypeError, "a list of the keys"),
        (1, hr.ArgumentTypeError, "True, False"),
        ([1], hr.ArgumentTypeError, "True, False"),
    ],
)
def test_ragged_names_columns_of_lists(tmp_path, kind, ragged, error, said):
    path = kind.write(tmp_path, "a", {"x": [[1], [2, 3]], "n": [1, 2]})
    with pytest.raises(error, match=said):
        kind.open(path, ragged=ragged)


@pytest.mark.fault("arrays of other lengths, without `ragged=True`", "error", "arrow", "parquet")
def test_without_ragged_the_errors_name_it(tmp_path, kind):
    path = kind.write(tmp_path, "a", {"x": [[1], [2, 3]], "s": ["a", "b"]})
    with pytest.raises(hr.SampleFormatError, match="pass ragged=True"):
        read_batch(kind.open(path, "x"), np.array([1]))
    with pytest.raises(hr.ArgumentError, match="pass ragged=True"):
        kind.open(path, "s")


def test_files_of_other_lists_are_refused(tmp_path, kind):
    kind.write(tmp_path, "a", {"x": [[1], [2, 3]]})
    kind.write(tmp_path, "b", {"x": pa.array([[1], [2]], pa.list_(pa.int64(), 1))})
    with pytest.raises(hr.SampleFormatError, match="all have one shape"):
        kind.open(tmp_path, ragged=True)
    kind.write(tmp_path, "b", {"x": pa.array([[4, 5, 6]], pa.large_list(pa.int64()))})
    assert read(kind.open(tmp_path, ragged=True), [2, 0, 1]) == [[4, 5, 6], [1], [2, 3]]


@pytest.mark.fault("lists whose offsets lie outside of their values", "error", "arrow")
def test_offsets_that_lie_are_an_error_of_their_sample(tmp_path):
    values = pa.array(np.arange(100, dtype=np.int32))
    offsets = pa.array(np.array([0, 10, 20, 30, 100], np.int32))
    path = tmp_path / "a.arrow"
    table = pa.table({"x": pa.ListArray.from_arrays(offsets, values)})
    arrow_writer(None)(table, path, None)
    stored = np.array([0, 10, 20, 30, 100], np.int32).tobytes()
    for wrong in ([0, 10, 2**30, 30, 100], [0, 10, -5, 30, 100]):
        data = path.read_bytes()
        assert stored in data
        path.write_bytes(data.replace(stored, np.array(wrong, np.int32).tobytes()))
        reader = hr.Arrow(path, ragged=True)
        assert list(map(len, read(reader, [3, 0]))) == [70, 10]
        for index in (1, 2):
            with pytest.raises(hr.SampleFormatError, match=f"sample {index} .*damaged"):
                read(reader, [0, index])
        with pytest.raises(hr.SampleFormatError, match="less than no values"):
            reader.sample_lengths()
        path.write_bytes(data)


def test_lengths_are_read_without_values(tmp_path):
    """Those that are not in the file any more."""
    lists = ragged_lists([np.zeros(n) for n in (3, 0, 2000)])
    arrow_writer(None)(pa.table({"x": lists}), tmp_path / "a.arrow", 2)
    reader = hr.Arrow(tmp_path / "a.arrow", ragged=True)
    assert reader.in_memory
    assert reader.sample_lengths().tolist() == [3, 0, 2000]
    assert fingerprint_of(reader) == fingerprint_of(hr.Arrow(tmp_path / "a.arrow", ragged=True))


def test_lengths_in_parquet_are_read_of_lists_alone(tmp_path):
    """Not of a column whose bytes are damaged."""
    rng = np.random.default_rng(0)
    columns = {"image": fixed_lists(rng.integers(256, size=(8, 500), dtype="uint8"))}
    columns["x"] = pa.array([[1] * i for i in range(8)])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    reader = hr.Parquet(path, ragged=["x"])
    assert reader.sample_lengths()["x"].tolist() == list(range(8))
    with pytest.raises(hr.SampleFormatError, match="sample 0"):
        read_batch(reader, np.array([0]))
    assert hr.Packed(hr.Parquet(path, "x", ragged=True), 8).spec["values"].shape == (8,)


@pytest.mark.parametrize("split", ["long", "always"])
def test_columns_are_packed_alongside(tmp_path, kind, split):
    tokens = [[1, 2, 3], [], [4], [5] * 9]
    columns = {"tokens": tokens, "weights": [[0.5 * one for one in row] for row in tokens]}
    reader = kind.open(kind.write(tmp_path, "a", columns, 2), ragged=True)
    packed = hr.Packed(reader, 4, split)
    batch = hr.Loader(packed, len(packed), shuffle=False).batch(0, 0)
    assert list(batch) == ["tokens", "weights", "segment_ids", "positions"]
    assert np.array_equal(batch["weights"], 0.5 * batch["tokens"])
    assert sorted(batch["tokens"][batch["segment_ids"] > 0].tolist()) == [1, 2, 3, 4, *[5] * 9]


def test_lengths_of_no_samples(tmp_path):
    columns = {"x": pa.array([], pa.list_(pa.int32())), "y": pa.array([], pa.int8())}
    reader = hr.Arrow(KINDS["mapped"].write(tmp_path, "a", columns), ragged=True)
    assert reader.sample_lengths()["x"].tolist() == []
    assert reader.sample_lengths()["y"] is None
    assert read_batch(reader, np.empty(0, np.int64))["x"].lengths.tolist() == []


def test_strings_in_several_chunks_are_joined():
    from headrace.readers.arrow.decoding import whole

    chunks = pa.chunked_array([["a", "bc"], ["d"]])
    assert whole(chunks).to_pylist() == [b"a", b"bc", b"d"]


def test_row_groups_of_lists_are_counted_in_bytes(tmp_path):
    lists = [np.arange(100) + 1000 * i for i in range(40)]
    pq.write_table(pa.table({"x": lists}), tmp_path / "a.parquet", row_group_size=10)
    reader = hr.Parquet(tmp_path / "a.parquet", ragged=True, cache_bytes=30_000)
    assert reader.block == 10
    assert 2 <= reader.blocks_kept <= 4
    blocks = hr.BlockShuffle(block=10, window=2)
    loader = hr.Loader(reader, 8, shuffle=blocks)
    assert sorted(int(sample[0]) for batch in loader for sample in batch) == [
        1000 * i for i in range(40)
    ]
