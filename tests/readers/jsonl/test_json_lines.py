"""JsonLines: lines of JSON, found once and read at random."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from far_folder import FarFolder
from reading import read

import headrace as hr
from headrace.readers.jsonl import scan as jsonl_scan
from headrace.testing import RaggedReaderContract, ReaderContract

DATA = Path(__file__).parents[2] / "data" / "jsonl"


def write(path, *values, end="\n"):
    path.write_text("\n".join(map(json.dumps, values)) + end)
    return path


def write_halves(folder, samples):
    half = len(samples) // 2
    for part, rows in enumerate((samples[:half], samples[half:])):
        write(folder / f"part-{part}.jsonl", *(row.tolist() for row in rows), end="\n" * part)


class TestContract(ReaderContract):
    dtypes = ("float64", "int64", "bool")
    shapes = ((3, 4), (5,), (), (1, 2, 1), (0,))

    def make_samples(self, n, shape, dtype):
        rng = np.random.default_rng([n, *shape])
        return (rng.integers(-(2**40), 2**40, (n, *shape)) * (0.5 if dtype == "float64" else 1)) \
            .astype(dtype)  # fmt: skip

    def make_reader(self, folder, samples):
        write_halves(folder, samples)
        return self.open(folder)

    def open(self, folder):
        return hr.JsonLines(folder)


class TestContractWithAnIndexFile(TestContract):
    def open(self, folder):
        hr.JsonLines(folder).save_index(folder / "index.npz")
        return hr.JsonLines(folder, index=folder / "index.npz")


class TestContractFarAway(TestContract):
    def open(self, folder):
        return hr.JsonLines(FarFolder(folder))


class TestContractOfAnyLength(RaggedReaderContract):
    knows_lengths = False
    dtypes = ("int64", "float64")
    elements = ((),)

    def make_reader(self, folder, samples):
        write_halves(folder, samples)
        return hr.JsonLines(folder, spec=hr.Spec((None,), samples[0].dtype))


OBJECTS = [{"x": [i, -i], "name": "ab"[i % 2], "more": {"y": i / 2}} for i in range(7)]


def error_of(reader, error=hr.SampleFormatError):
    with pytest.raises(error) as caught:
        read(reader)
    return caught.value


def test_columns_choose_and_decode(tmp_path):
    path = write(tmp_path / "a.jsonl", *OBJECTS)
    assert read(hr.JsonLines(path, "x"), [3, 0]).tolist() == [[3, -3], [0, 0]]
    batch = read(hr.JsonLines(path, ["more", "x"]), [1])
    assert list(batch) == ["more", "x"]
    assert batch["more"]["y"].tolist() == [0.5]
    assert hr.JsonLines(path, "x").fingerprint() != hr.JsonLines(path, ["x"]).fingerprint()
    batch = read(hr.JsonLines(path, {"name": ord, "x": None}))
    assert batch["name"].tolist() == [97, 98] * 3 + [97]
    spec = {"x": hr.Spec((2,), np.dtype("float32"))}
    assert read(hr.JsonLines(path, spec=spec))["x"].dtype == np.float32
    assert read(hr.JsonLines(path, "x", spec=spec["x"])).dtype == np.float32
    assert hr.JsonLines(path, "x", ragged=["x"]).spec.shape == (None,)


FORMS = {
    "plain": b'{"x": 1}\n{"x": 2}\n{"x": 3}\n',
    "without the last end": b'{"x": 1}\n{"x": 2}\n{"x": 3}',
    "of Windows, with a mark": b'\xef\xbb\xbf{"x": 1}\r\n{"x": 2}\r\n{"x": 3}\r\n',
    "with a mark in a blank line": b'\xef\xbb\xbf\r\n{"x": 1}\n{"x": 2}\n{"x": 3}\n',
    "with marks before blank lines and lines": (
        b'{"x": 1}\n\xef\xbb\xbf\n{"x": 2}\n\xef\xbb\xbf{"x": 3}\n\xef\xbb\xbf \n\xef\xbb\xbf'
    ),
    "with blank lines": b'\n \t\n{"x": 1}\n\n\r\n{"x": 2}\n  {"x": 3}\n\n \n',
}


@pytest.mark.fault("blank lines, and a mark of the byte order (BOM)", "read", "jsonl")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece_bytes", [1, 5, 2**22])
def test_lines_of_every_form(tmp_path, monkeypatch, form, piece_bytes):
    monkeypatch.setattr(jsonl_scan, "_PIECE_BYTES", piece_bytes)
    (tmp_path / "a.jsonl").write_bytes(FORMS[form])
    (tmp_path / "a2.jsonl").write_bytes(b"")
    (tmp_path / "b.jsonl").write_bytes(b"\xef\xbb\xbf")  # a mark, and no more
    (tmp_path / "c.jsonl").write_bytes(b'\n{"x": "no number"}')
    reader = hr.JsonLines(tmp_path, "x")
    assert len(reader) == 4
    assert read(reader, [2, 0, 1]).tolist() == [3, 1, 2]
    with pytest.raises(hr.SampleFormatError, match=r"sample 3 .*c\.jsonl', line 2: it is a str"):
        read(reader, [3])


@pytest.mark.fault("a line that is not JSON", "error", "jsonl")
def test_a_line_that_is_not_json_is_named(tmp_path):
    lines = ['{"x": 1}', "", '{"x": 2}', "", "", '{"x": 3', '{"x": 4}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    reader = hr.JsonLines(tmp_path)
    error = error_of(reader)
    assert re.search(r"^sample 2 can't be read: '.*a\.jsonl', line 6: it is not JSON: ", str(error))
    assert isinstance(error.__cause__, json.JSONDecodeError)
    assert error.index == 2
    assert read(reader, [3, 0])["x"].tolist() == [4, 1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "it is a list; expected is an object"),
        ('{"y": 2}', "it has no 'x', but 'y'"),
        ('{"x": [1, 2]}', r"it\['x'\] has the shape \(2,\); expected is \(\)"),
        ('{"x": 1.5}', r"it\['x'\] has the dtype float64; expected is int64"),
        (
            '{"x": [-1, 9223372036854775809]}',
            "it.* no dtype holds 9223372036854775809",
        ),
        ('{"x": null}', r"it\['x'\] is a NoneType"),
        ('{"x": 1e999}', r"it\['x'\] has the dtype float64"),
        ('{"x": "\ud800"}', "it is not JSON: .*utf-8"),
        ("[" * 100_000, "it is not JSON: "),
    ],
    ids=str,
)
def test_a_line_that_differs_from_the_first_is_named(tmp_path, line, said):
    data = f'{{"x": 1}}\n{line}\n'.encode("utf-8", "surrogatepass")
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(hr.SampleFormatError, match=f"sample 1 .*a\\.jsonl', line 2: {said}"):
        read(hr.JsonLines(tmp_path, ["x"]))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "float16"])
def test_ints_become_those_of_the_spec(tmp_path, dtype):
    (tmp_path / "a.jsonl").write_text("[0, 127]\n")
    assert read(hr.JsonLines(tmp_path, spec=hr.Spec((2,), dtype))).tolist() == [[0, 127]]


@pytest.mark.parametrize(
    ("line", "dtype", "said"),
    [
        ("[1, 1e300]", "float32", r"it has 1e\+300, which float32 can't hold"),
        ("[0, 2147483648]", "int32", "it has 2147483648, which int32 can't hold"),
        ("[0, -1]", "uint8", "it has -1, which uint8 can't hold"),
        ("[0, 256]", "uint8", "it has 256, which uint8 can't hold"),
        ("[0, -1]", "uint64", "it has -1, which uint64 can't hold"),
        ("[0, 16777217]", "float32", None),  # the next float is near enough
    ],
)
def test_a_spec_holds_the_numbers(tmp_path, line, dtype, said):
    (tmp_path / "a.jsonl").write_text(f"{line}\n")
    reader = hr.JsonLines(tmp_path, spec=hr.Spec((2,), np.dtype(dtype)))
    columns = hr.GetItem([{"x": np.array(json.loads(line))}], spec={"x": reader.spec})
    if said is None:
        assert read(reader, [0])[0, 1] == read(columns, [0])["x"][0, 1] == 16777216
        return
    with pytest.raises(hr.SampleFormatError, match=f"sample 0 .*: {said}"):
        read(reader, [0])
    with pytest.raises(hr.SampleFormatError, match=said.removeprefix("it")):
        read(columns, [0])


def test_an_empty_list_does_not_say_what_the_others_hold(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": []}\n{"x": [1, 2]}\n')
    said = r"it\['x'\] is an empty list.* Pass spec=.* or have one with elements come first"
    with pytest.raises(hr.SampleFormatError, match=said):
        hr.JsonLines(tmp_path, ragged=True)


def test_a_function_that_fails_is_named(tmp_path):
    write(tmp_path / "a.jsonl", *OBJECTS, {"name": "long"})
    error = error_of(hr.JsonLines(tmp_path, {"name": ord}))
    assert re.search(r"sample 7 .*line 8: 'name': TypeError: ord", str(error))


def test_a_first_line_with_text_says_what_would_help(tmp_path):
    path = write(tmp_path / "a.jsonl", *OBJECTS)
    with pytest.raises(hr.SampleFormatError, match=r"it\['name'\] is a str.*with columns="):
        hr.JsonLines(path)


def test_golden_lines_of_other_writers(tmp_path):
    """As pandas 3.1 and datasets 5.2 wrote them."""
    pd = pytest.importorskip("pandas", reason="compares with what pandas reads")
    for name in ("pandas.jsonl", "datasets.jsonl"):
        path = DATA / name
        batch = read(hr.JsonLines(path, ["x", "label"]))
        theirs = pd.read_json(path, lines=True)
        assert batch["label"].tolist() == theirs["label"].tolist() == [0, 1, 2, 0, 1]
        assert batch["x"].tolist() == theirs["x"].tolist()


def test_a_line_that_has_moved_is_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl", *OBJECTS)
    reader = hr.JsonLines(path, "x")
    write(path, {"x": [10, 10]}, *OBJECTS)
    with pytest.raises(hr.SampleFormatError, match=r"a\.jsonl.*no line begins here any more: the"):
        read(reader, [4])


@pytest.mark.parametrize("left", [0, 10, 100, 500, -30, -1])
def test_an_index_file_that_was_cut_is_refused(tmp_path, left):
    (tmp_path / "a.jsonl").write_text("1\n2\n")
    index = tmp_path / "index.npz"
    hr.JsonLines(tmp_path).save_index(index)
    index.write_bytes(index.read_bytes()[:left])
    with pytest.raises(hr.ArgumentError, match="index must be a file of save_index"):
        hr.JsonLines(tmp_path, index=index)


def test_an_index_file_that_points_to_before_its_beginning_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("1\n2\n")
    index = tmp_path / "index.npz"
    hr.JsonLines(tmp_path).save_index(index)
    data = bytearray(index.read_bytes())
    start = slice(len(data) - 6, len(data) - 2)  # of the zip's directory
    data[start] = (int.from_bytes(data[start], "little") + 999).to_bytes(4, "little")
    index.write_bytes(data)
    with pytest.raises(hr.ArgumentError, match="index must be a file of save_index"):
        hr.JsonLines(tmp_path, index=index)


def test_an_index_file_that_points_elsewhere_is_refused(tmp_path):
    write(tmp_path / "a.jsonl", *OBJECTS)
    index = hr.JsonLines(tmp_path, "x")._records.index
    for changed in (
        {"start": index.start + 1000}, {"first": index.first[:-1]}, {"start": index.start[::-1]},
        {"start": index.start.astype("float64")}, {"first": index.first + 1},
    ):  # fmt: skip
        replace(index, **changed).save(tmp_path / "index.npz", "json-lines-1")
        with pytest.raises(hr.ArgumentError, match="do not fit together"):
            hr.JsonLines(tmp_path, "x", index=tmp_path / "index.npz")


@pytest.mark.fault("several datasets or splits in one folder", "error", "jsonl")
def test_files_of_several_splits_are_refused(tmp_path):
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        write(tmp_path / f"{name}.jsonl", 1)
    with pytest.raises(hr.ArgumentError, match=r"one split.*'test' \(1\), 'train' \(1\)\. Pass"):
        hr.JsonLines(tmp_path)


def test_which_files_are_read(tmp_path):
    write(tmp_path / "b.ndjson", 1, 2)
    write(tmp_path / "a.jsonl", 3)
    write(tmp_path / "c.json", 4)
    assert read(hr.JsonLines(tmp_path)).tolist() == [3, 1, 2]
    assert read(hr.JsonLines(tmp_path / "c.json")).tolist() == [4]
    assert read(hr.JsonLines(tmp_path, shards=["c.json", "a.jsonl"])).tolist() == [4, 3]
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*d\.jsonl'"):
        hr.JsonLines(tmp_path / "d.jsonl")
    (tmp_path / "e.jsonl").write_bytes(b"\n\n")
    with pytest.raises(hr.ArgumentError, match=r"shards must hold lines, but 'e\.jsonl' in"):
        hr.JsonLines(tmp_path / "e.jsonl")
    (tmp_path / "f.jsonl").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(hr.SampleFormatError, match=r"f\.jsonl' can't be indexed: it is compressed"):
        hr.JsonLines(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"columns": []}, ValueError, "columns must be at least one name"),
        ({"columns": ["x", "x"]}, ValueError, "columns must be at least one name, and none"),
        ({"columns": [3]}, TypeError, "columns must be a str"),
        ({"columns": {"x": 3}}, TypeError, r"columns\['x'\] must be a function"),
        ({"columns": ["x"], "spec": {"y": hr.Spec((), "i4")}}, ValueError, "spec must be one with"),
        ({"version": 1}, TypeError, "version must be a str"),
    ],
    ids=str,
)
def test_arguments_are_checked(tmp_path, options, error, said):
    write(tmp_path / "a.jsonl", *OBJECTS)
    with pytest.raises(error, match=said):
        hr.JsonLines(tmp_path, **options)
