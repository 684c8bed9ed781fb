"""What Arrow and Parquet have in common: which columns can be samples, and what errors name."""

import os

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
from arrow_kinds import KINDS
from reading import read

import headrace as hr


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


def test_columns_are_a_dict_or_one_array(tmp_path, kind):
    columns = {"y": [1, 2, 3], "x": [0.5, 1.5, 2.5], "name": ["a", "b", "c"]}
    path = kind.write(tmp_path, "a", columns, 2)
    both = kind.open(path, ["x", "y"])
    assert list(both.spec) == ["x", "y"]
    assert read(both, [2, 0])["y"].tolist() == [3, 1]
    assert kind.open(path, "y").spec == hr.Spec((), np.dtype(np.int64))
    assert read(kind.open(path, "x"), [2, 0]).tolist() == [2.5, 0.5]
    assert list(kind.open(path, ["x"]).spec) == ["x"]
    twice = read(kind.open(path, {"image": "x", "again": "x"}, dtype={"again": "float32"}), [1])
    assert (twice["image"].dtype, twice["again"].dtype) == (np.float64, np.float32)
    assert twice["again"].tolist() == [1.5]
    every = kind.write(tmp_path, "b", {"y": [1, 2], "x": [3, 4]})
    assert list(kind.open(every).spec) == ["y", "x"]
    only = kind.write(tmp_path, "c", {"y": [1, 2]})
    assert read(kind.open(only)).tolist() == [1, 2]


TENSORS = np.arange(18).reshape(3, 2, 3)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2, 1]).dictionary_encode(), np.array([1, 2, 1])),
        (pa.array([0, 40, -3], pa.date32()), np.array([0, 40, -3], "M8[D]")),
        (pa.array([0, 40, -3], pa.timestamp("us", "CET")), np.array([0, 40, -3], "M8[us]")),
        (pa.array([0, 40, -3], pa.duration("ms")), np.array([0, 40, -3], "m8[ms]")),
        (pa.array([b"ab", b"c\0", b"\0\0"], pa.binary(2)), np.array([b"ab", b"c\0", b""], "V2")),
        (pa.array([True, False, True]), np.array([True, False, True])),
        (pa.array([[True, False]] * 3, pa.list_(pa.bool_(), 2)), np.array([[True, False]] * 3)),
        (pa.array([[[1], [2]]] * 3), np.array([[[1], [2]]] * 3)),
        (pa.array([[[1], [2]]] * 3, pa.large_list(pa.list_(pa.int8(), 1))),
         np.array([[[1], [2]]] * 3, np.int8)),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(TENSORS), TENSORS),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(TENSORS.swapaxes(1, 2)),
         TENSORS.swapaxes(1, 2)),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)  # fmt: skip
def test_types_become_their_dtypes_and_shapes(tmp_path, kind, array, expected):
    reader = kind.open(kind.write(tmp_path, "a", {"x": array, "y": np.arange(3)}, 2))
    assert reader.spec["x"] == hr.Spec(expected.shape[1:], expected.dtype)
    batch = read(reader, [2, 0, 1, 2])
    assert batch["x"].tobytes() == expected[[2, 0, 1, 2]].tobytes()
    assert batch["y"].tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pa.array(["a", "b"]), "string"),
        (pa.array(["a", "b"]).dictionary_encode(), "string"),
        (pa.array([b"a", b"bc"]), "binary"),
        (pa.array([["a"], ["b"]]), "string"),
        (pa.array([{"a": 1}, {"a": 2}]), "struct"),
        (pa.array([1, 2], pa.decimal128(5)), "decimal128"),
        (pa.nulls(2), "null"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_other_types_are_refused_with_a_remedy(tmp_path, kind, array, said):
    path = kind.write(tmp_path, "a", {"bad": array, "good": [1, 2]})
    with pytest.raises(hr.ArgumentError, match=rf"column 'bad' is .*{said}.*columns=\['good'\]"):
        kind.open(path)
    assert read(kind.open(path, ["good"]))["good"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ([1, 2, None, 4], pa.int32()),
        ([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int32(), 2)),
        ([[1, 2], [3, 4], [1, None], [5, 6]], pa.list_(pa.int32(), 2)),
        ([[1, 2], [3, 4], [None, 1], [5, 6]], pa.list_(pa.int32())),
        ([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int32())),
        ([[[1], [2]], [[3], [4]], [[1], None], [[5], [6]]], pa.list_(pa.list_(pa.int32(), 1), 2)),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_a_null_is_an_error_of_its_sample_alone(tmp_path, kind, values, stored):
    try:
        path = kind.write(tmp_path, "a", {"x": pa.array(values, stored)}, 4)
    except pa.ArrowNotImplementedError as error:  # before pyarrow 26
        pytest.skip(f"pyarrow {pa.__version__} can't write it: {error}")
    reader = kind.open(path)
    assert read(reader, [0, 3, 1]).tolist() == [values[0], values[3], values[1]]
    with pytest.raises(hr.SampleFormatError, match=r"sample 2 .*column 'x' .*null") as caught:
        read(reader, [3, 2])
    assert caught.value.index == 2
    assert path.name in str(caught.value)


def test_a_list_of_another_length_is_an_error_of_its_sample_alone(tmp_path, kind):
    values = [[[1, 2], [3, 4]], [[1, 2]], [[5, 6], [7, 8]], [[1, 2], [3]], []]
    reader = kind.open(kind.write(tmp_path, "a", {"x": values}, 4))
    assert reader.spec.shape == (2, 2)
    assert read(reader, [2, 0]).tolist() == [values[2], values[0]]
    for index in (1, 3, 4):
        with pytest.raises(hr.SampleFormatError, match=f"sample {index} .*another length"):
            read(reader, [0, index])


def test_lists_need_a_first_one_that_tells_their_shape(tmp_path, kind):
    path = kind.write(tmp_path, "a", {"x": [None, [1]]})
    with pytest.raises(hr.SampleFormatError, match=r"sample 0 .*column 'x'.*null or empty"):
        kind.open(path)
    empty = kind.write(tmp_path, "b", {"x": pa.array([], pa.list_(pa.int8()))})
    with pytest.raises(hr.ArgumentError, match="has none"):
        kind.open(empty)
    assert len(kind.open(kind.write(tmp_path, "c", {"x": pa.array([], pa.int8())}))) == 0


def test_dtype_converts_numbers_and_keeps_their_kind(tmp_path, kind):
    columns = {"x": [1, 2], "t": pa.array([1, 2], pa.timestamp("ms"))}
    path = kind.write(tmp_path, "a", columns)
    assert read(kind.open(path, "x", dtype="float32")).dtype == np.float32
    with pytest.raises(hr.ArgumentError, match=r"column 't', of dtype .*without changing its kind"):
        kind.open(path, dtype="float32")
    with pytest.raises(hr.ArgumentError, match="dtype must be a dtype by key for 'x'"):
        kind.open(path, ["x"], dtype={"y": "float32"})


def binaries(x):
    """The bytes of each of the rows."""
    data = pa.py_buffer(x.tobytes())
    return pa.Array.from_buffers(pa.binary(x[0].nbytes), len(x), [None, data])


@pytest.mark.parametrize("dtype", ["uint8", "<f4", "bool", "S3"])
def test_binaries_of_a_fixed_size_may_hold_arrays(tmp_path, kind, dtype):
    x = np.random.default_rng(0).integers(2, size=(30, 3, 2)).astype(dtype)
    path = kind.write(tmp_path, "a", {"x": binaries(x).slice(4), "y": np.arange(26)})
    reader = kind.open(path, dtype={"x": (dtype, (3, 2))})
    assert reader.spec["x"] == hr.Spec((3, 2), np.dtype(dtype))
    indices = np.random.default_rng(1).integers(26, size=40)
    assert (read(reader, indices)["x"] == x[4:][indices]).all()
    with pytest.raises(hr.ArgumentError, match=r"of \d+ bytes, as each value of column 'x'"):
        kind.open(path, "x", dtype="uint8")
    with pytest.raises(hr.ArgumentError, match="byte order"):
        kind.open(path, "x", dtype=(">u2", x[0].nbytes // 2))
    nulls = kind.write(tmp_path, "b", {"x": pa.array([b"ab", None], pa.binary(2))})
    reader = kind.open(nulls, dtype=("uint8", 2))
    assert read(reader, [0]).tolist() == [[97, 98]]
    with pytest.raises(hr.SampleFormatError, match=r"sample 1 .*null"):
        read(reader, [1])


def test_a_column_of_binaries_may_be_read_as_several_arrays(tmp_path, kind):
    x = np.arange(10, dtype="float32").reshape(5, 2)
    views = {"floats": ("float32", (2,)), "ints": "int64", "bytes": None}
    path = kind.write(tmp_path, "a", {"x": binaries(x)}, 2)
    batch = read(kind.open(path, dict.fromkeys(views, "x"), dtype=views))
    assert (batch["floats"] == x).all()
    assert (batch["ints"] == x.view("int64")[:, 0]).all()
    assert batch["bytes"].tobytes() == x.tobytes()


def test_files_are_sorted_or_in_the_order_of_names(tmp_path, kind):
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(["b", "a", "sub/c"]):
        kind.write(tmp_path, name, {"x": [10 * number, 10 * number + 1]})
    (tmp_path / "ignored.txt").write_text("")
    assert read(kind.open(tmp_path)).tolist() == [10, 11, 0, 1, 20, 21]
    named = kind.open(tmp_path, names=[f"sub/c{kind.suffix}", f"b{kind.suffix}"])
    assert read(named).tolist() == [20, 21, 0, 1]
    assert named.fingerprint() != kind.open(tmp_path).fingerprint()
    with pytest.raises(hr.ArgumentError, match="below root"):
        kind.open(tmp_path, names=[f"../b{kind.suffix}"])


def test_files_of_different_columns_are_refused_naming_both(tmp_path, kind):
    kind.write(tmp_path, "a", {"x": pa.array([1, 2], pa.int32())})
    kind.write(tmp_path, "b", {"x": pa.array([1, 2], pa.int64())})
    with pytest.raises(
        hr.SampleFormatError, match=r"column 'x' .*int64 in '.*b\..*int32 in '.*a\."
    ):
        kind.open(tmp_path)
    assert read(kind.open(tmp_path, dtype="int64")).tolist() == [1, 2, 1, 2]
    for columns, said in (
        ({"y": [1, 2]}, r"b\..*' has no column 'x'"),
        ({"x": ["1", "2"]}, r"b\..*'.*is string"),
        ({"x": pa.array([[1], [2]], pa.list_(pa.int32(), 1))}, r"is fixed_size_list.*b\."),
    ):
        kind.write(tmp_path, "b", columns)
        with pytest.raises(hr.SampleFormatError, match=said):
            kind.open(tmp_path)


def test_missing_files_are_named(tmp_path, kind):
    with pytest.raises(hr.SampleNotFoundError, match=rf"no{kind.suffix}"):
        kind.open(tmp_path / f"no{kind.suffix}")
    with pytest.raises(hr.ArgumentError, match="existing folder"):
        kind.open(tmp_path / "no")
    with pytest.raises(hr.ArgumentError, match=rf"\{kind.suffix}.* files, but .* has none"):
        kind.open(tmp_path)
    with pytest.raises(hr.SampleNotFoundError, match=rf"no{kind.suffix}"):
        kind.open(tmp_path, names=[f"no{kind.suffix}"])
    path = kind.write(tmp_path, "a", {"x": [1]})
    reader = kind.open(path)
    path.unlink()
    with pytest.raises(hr.SampleNotFoundError, match=r"sample 0 .*a\."):
        read(reader)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:5], lambda data: data[:-1], lambda data: b"?" * 100,
     lambda data: data[:100], lambda data: data[: len(data) // 2]],
    ids=["empty", "five bytes", "cut", "other", "cut in the schema", "cut in the data"],
)  # fmt: skip
def test_damaged_files_are_refused_at_once(tmp_path, kind, damage):
    path = kind.write(tmp_path, "a", {"x": np.arange(1000)}, 100)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(hr.SampleFormatError, match=rf"a\{kind.suffix}' can't be read"):
        kind.open(path)


def test_repr_names_the_file_and_the_spec(tmp_path, kind):
    path = kind.write(tmp_path, "a", {"x": [1, 2]})
    name = kind.open.__name__
    said = f"{name}({os.fspath(path)!r}, files=1, n=2, Spec(shape=(), dtype=dtype('int64')))"
    assert repr(kind.open(path)) == said
