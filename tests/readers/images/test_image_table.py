"""Images and labels that a table lists."""

import csv
import pickle

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")

from far_folder import FarFolder
from one_file_each import OneFileEach
from reading import read

import headrace as hr
from headrace.testing.special_files import named_pipe

HEADER = ["filename", "class", "age", "split"]
ROWS = [
    ["cats/1.png", "cat", "3", "train"],
    ["dogs/1.png", "dog", "0.5", "train"],
    ["cats/2.png", "cat", "-2e1", "test"],
    ["birds/1.png", "bird", "7", "test"],
]


def write_csv(path, rows, **options):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows(rows)
    return path


@pytest.fixture
def root(tmp_path):
    for i, (name, *_) in enumerate(ROWS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), (50 * i, 0, 0)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def table(root):
    return write_csv(root / "pets.csv", [HEADER, *ROWS])


@pytest.fixture
def listed(root):
    """A function that makes a table of the images and, of each, what is in one more column."""

    def table_of(cells, column="class"):
        rows = [[name, cell] for (name, *_), cell in zip(ROWS, cells, strict=True)]
        return write_csv(root / "listed.csv", [["filename", column], *rows])

    return table_of


class TestContract(OneFileEach):
    dtypes = ("uint8",)
    shapes = ((4, 6, 3), (1, 5, 3))
    suffix = ".png"

    def make_samples(self, n, shape, dtype):
        shape = shape if len(shape) == 3 else (1, *shape, 3)
        return np.random.default_rng(n).integers(256, size=(n, *shape), dtype=np.uint8)

    def save(self, path, sample, index):
        Image.fromarray(sample).save(path)

    def open(self, root, samples):
        rows = [["id", "label"], *([f"{index:05}", "5"] for index in range(len(samples)))]
        path = write_csv(f"{root}/table.csv", rows)
        return hr.ImageTable(path, samples.shape[1:3], files="id", labels="label", suffix=".png")


def values(labels):
    return read(labels).tolist()


def test_a_csv_file_lists_images_and_labels(table):
    images = hr.ImageTable(table, (6, 8), labels="class")
    assert images.ids == [name for name, *_ in ROWS]
    assert read(images)[:, 0, 0, 0].tolist() == [0, 50, 100, 150]
    assert images.class_names == ["bird", "cat", "dog"]
    assert values(images.labels()) == [1, 2, 1, 0]
    encoded = hr.ImageTable(table, labels="class", decode=False)
    assert encoded.ids == images.ids
    assert values(encoded.labels()) == [1, 2, 1, 0]
    sizes = [(table.parent / name).stat().st_size for name in images.ids]
    assert encoded.sample_lengths().tolist() == sizes
    assert images.labels().spec == hr.Spec((), np.dtype(np.int32))
    assert values(images.labels("categorical")) == np.eye(3)[[1, 2, 1, 0]].tolist()
    assert images.labels("categorical").spec.dtype == np.float32
    x, y = hr.Loader((images, images.labels()), 4, shuffle=False).batch(0, 0)
    assert x.shape == (4, 6, 8, 3)
    assert y.tolist() == [1, 2, 1, 0]


def test_a_frame_is_as_its_csv_file(table, root):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.read_csv(table)
    for given in (frame, frame.set_index("age", drop=False)):
        images = hr.ImageTable(given, 6, root, labels=["class", "age"])
        same = hr.ImageTable(table, 6, labels=["class", "age"])
        assert images.ids == same.ids
        assert images.class_names["class"] == same.class_names["class"]
        for mode, column in [("int", "class"), ("raw", "age"), ("raw", ["age"])]:
            assert values(images.labels(mode, column)) == values(same.labels(mode, column))


def test_numbers_are_targets_of_a_regression(table):
    images = hr.ImageTable(table, 6, labels=["age", "class"])
    assert values(images.labels("raw", "age")) == [3, 0.5, -20, 7]
    assert images.labels("raw", "age").spec == hr.Spec((), np.dtype(np.float32))
    both = hr.ImageTable(table, 6, labels="age")
    assert values(both.labels("raw")) == [3, 0.5, -20, 7]


def test_several_columns_are_targets_together_or_apart(root):
    rows = [["file", "x", "y"], *([name, i, i + 0.5] for i, (name, *_) in enumerate(ROWS))]
    path = write_csv(root / "points.csv", rows)
    images = hr.ImageTable(path, 6, files="file", labels=["x", "y"])
    assert values(images.labels("raw")) == [[0, 0.5], [1, 1.5], [2, 2.5], [3, 3.5]]
    assert values(images.labels("raw", ["y", "x"])) == [[0.5, 0], [1.5, 1], [2.5, 2], [3.5, 3]]
    assert values(images.labels("int", "x")) == [0, 1, 2, 3]


def test_a_column_names_the_part_of_each_row(table, listed):
    train = hr.ImageTable(table, 6, labels="class", split=("train", "split"))
    test = hr.ImageTable(table, 6, labels="class", split=("test", "split"))
    assert train.ids + test.ids == [name for name, *_ in ROWS]
    # A class that only one of them has counts in both.
    assert train.class_names == test.class_names == ["bird", "cat", "dog"]
    assert values(train.labels()) == [1, 2]
    assert len(hr.ImageTable(listed([3] * 4, "fold"), 6, split=(3, "fold"))) == 4


def test_a_file_may_not_be_in_two_parts(root):
    path = write_csv(root / "twice.csv", [HEADER, *ROWS, ["cats/1.png", "cat", "3", "test"]])
    with pytest.raises(hr.ArgumentError, match=r"line 6 of .* has 'cats/1.png', which line 2 of"):
        hr.ImageTable(path, 6, labels="class", split=("train", "split"))


def test_shares_are_those_of_split(table):
    shares = {"train": 0.5, "test": 0.5}
    parts = hr.split(4, shares, ids=[name for name, *_ in ROWS], seed=1)
    images = hr.ImageTable(table, 6, split=("test", shares), seed=1)
    assert images.ids == [ROWS[i][0] for i in parts["test"]]


def test_classes_may_be_given_in_an_order(table):
    names = ["dog", "cat", "bird", "fish"]
    images = hr.ImageTable(table, 6, labels="class", class_names=names)
    assert images.class_names == names
    assert values(images.labels()) == [1, 0, 1, 2]
    assert images.labels("categorical").spec.shape == (4,)
    by_column = {"class": names}
    images = hr.ImageTable(table, 6, labels=["class", "age"], class_names=by_column)
    assert images.class_names["class"] == names


def test_whole_numbers_are_classes_in_their_order(listed):
    images = hr.ImageTable(listed([10, 9, 2, 10]), 6, labels="class")
    assert images.class_names == ["2", "9", "10"]
    assert values(images.labels()) == [2, 1, 0, 2]


def test_whole_numbers_stay_so_where_pandas_has_made_floats_of_them(root):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    rows = [[r[0], n, s] for r, n, s in zip(ROWS, [10, 9, 2, ""], "aaab", strict=True)]
    path = write_csv(root / "n.csv", [["filename", "class", "split"], *rows])
    for given in (path, pandas.read_csv(path), pandas.read_csv(path).convert_dtypes()):
        options = {"labels": "class", "split": ("a", "split")}
        images = hr.ImageTable(given, 6, root, **options)
        assert images.class_names == ["2", "9", "10"]
        assert values(images.labels()) == [2, 1, 0]
        assert values(images.labels("raw")) == [10, 9, 2]
        ordered = hr.ImageTable(given, 6, root, class_names=[10, 9, 2], **options)
        assert values(ordered.labels()) == [0, 1, 2]
        with pytest.raises(hr.ArgumentError, match="has none"):
            hr.ImageTable(given, 6, root, labels="class").labels()
    rows = [
        ["filename", "class"],
        *([r[0], n] for r, n in zip(ROWS, ["10.0", "9.0", 2, "9.0"], strict=True)),
    ]
    images = hr.ImageTable(write_csv(root / "f.csv", rows), 6, labels="class")
    assert images.class_names == ["2", "9.0", "10.0"]


def test_two_classes_are_0_and_1(listed):
    images = hr.ImageTable(listed("abab"), 6, labels="class")
    assert values(images.labels("binary")) == [[0], [1], [0], [1]]
    assert images.labels("binary").spec == hr.Spec((1,), np.dtype(np.float32))


def test_a_row_may_have_several_classes(root, listed):
    cells = ["red; big", "blue", "big;red", "red"]
    expected = [[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1]]
    images = hr.ImageTable(listed(cells), 6, labels="class", separator=";")
    assert images.class_names == ["big", "blue", "red"]
    assert values(images.labels("categorical")) == expected
    with pytest.raises(hr.ArgumentError, match=r"mode must be 'categorical' .* line 2 of"):
        images.labels("int")
    alone = hr.ImageTable(listed([*cells[:3], " ; "]), 6, labels="class", separator=";")
    for mode in ("categorical", "int"):
        with pytest.raises(hr.ArgumentError, match=r"in each row, but line 5 .* has none"):
            alone.labels(mode)
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    lists = [["red", "big"], ("blue",), {"big", "red"}, "red"]
    frame = pandas.DataFrame({"filename": [r[0] for r in ROWS], "class": lists})
    assert values(hr.ImageTable(frame, 6, root, labels="class").labels("categorical")) == expected
    frame["class"] = [np.array(list(cell), object) for cell in [*lists[:3], ["red"]]]
    assert values(hr.ImageTable(frame, 6, root, labels="class").labels("categorical")) == expected
    with pytest.raises(hr.ArgumentError, match="row 0 of table has 'red, big'"):
        hr.ImageTable(frame, 6, root, labels="class").labels("raw")
    for missing in (None, np.nan, pandas.NA):
        frame["class"] = [["red"], ["red", missing], {missing}, [missing]]
        images = hr.ImageTable(frame, 6, root, labels="class")
        assert images.class_names == ["red"]
        with pytest.raises(hr.ArgumentError, match=r"row 1 of table has none, and 2 others"):
            images.labels("categorical")


def test_other_delimiters_quotes_spaces_empty_lines_and_byte_order_marks_are_read(root):
    text = '\ufefffilename;class\r\n"cats/1.png"; "a;\nb"\r\n\r\ndogs/1.png;  c\r\n'
    (root / "e.csv").write_bytes(text.encode())
    images = hr.ImageTable(root / "e.csv", 6, labels="class", delimiter=";")
    assert images.ids == ["cats/1.png", "dogs/1.png"]
    assert images.class_names == ["a;\nb", "c"]


def test_files_may_be_elsewhere_and_named_with_their_whole_path(table, root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    rows = [HEADER, *([str(root / name), *rest] for name, *rest in ROWS)]
    path = write_csv(other / "pets.csv", rows)
    assert hr.ImageTable(path, 6, root).ids == hr.ImageTable(table, 6).ids
    with pytest.raises(hr.ArgumentError, match=r"files below root, .* line 2 of .* has '/"):
        hr.ImageTable(path, 6)
    far = hr.ImageTable(table, 6, FarFolder(root), labels="class")
    assert np.array_equal(read(far), read(hr.ImageTable(table, 6)))
    (root / "cats" / "2.png").unlink()
    with pytest.raises(hr.ArgumentError, match=r"line 4 of .* has 'cats/2.png'"):
        hr.ImageTable(table, 6, FarFolder(root))


def test_rows_without_a_label_matter_where_they_are_used(root):
    rows = [[*row[:3], row[3]] for row in ROWS]
    rows[3][1] = ""
    path = write_csv(root / "t.csv", [HEADER, *rows])
    train = hr.ImageTable(path, 6, labels="class", split=("train", "split"))
    assert values(train.labels()) == [0, 1]
    whole = hr.ImageTable(path, 6, labels="class")
    for mode in ("int", "categorical"):
        with pytest.raises(hr.ArgumentError, match=r"'class' must have a value .* line 5 of"):
            whole.labels(mode)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["cats/1.png", "cat", "1", "x"], r"line 6 of .*'cats/1.png', which line 2 of .* has, too"),
        (["", "cat", "1", "x"], "column 'filename' must have a value in each row, but line 6"),
        (["cats/3.png", "cat", "1", "x"], r"line 6 of .* has 'cats/3.png', and there is no file"),
        (["cats/01.png", "cat", "1", "x"], r"'1.png' lies there\. 1 of 5 are not there"),
        (["cats/1.png", "cat", "1"], "line 6 of .* must have 4 cells, as the first line has, but"),
        (["../x.png", "cat", "1", "x"], r"without '\.\.', but line 6 of .* has '../x.png'"),
        (["cats/../cats/1.png", "cat", "1", "x"], r"without '\.\.', but line 6 of"),
        (["./cats//1.png", "cat", "1", "x"], r"line 6 of .*, which line 2 of .* has, too"),
    ],
)
def test_a_wrong_row_is_named(root, row, said):
    path = write_csv(root / "w.csv", [HEADER, *ROWS, row])
    with pytest.raises(hr.ArgumentError, match=said):
        hr.ImageTable(path, 6, labels="class")


def test_a_label_that_is_none_is_named(table, root):
    images = hr.ImageTable(table, 6, labels=["class", "age"], class_names={"class": ["cat", "dog"]})
    with pytest.raises(hr.ArgumentError, match=r"line 5 of .* has 'bird'. They are 'cat', 'dog'"):
        images.labels("int", "class")
    with pytest.raises(hr.ArgumentError, match=r"finite number in each row, but line 2 of .*'cat'"):
        images.labels("raw", "class")
    nan = write_csv(root / "nan.csv", [HEADER, *ROWS[:1], [*ROWS[1][:2], "nan", "x"]])
    with pytest.raises(hr.ArgumentError, match="finite number in each row, but line 3"):
        hr.ImageTable(nan, 6, labels="age").labels("raw")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame({"filename": [ROWS[0][0], ROWS[1][0]], "class": ["a", None]})
    images = hr.ImageTable(frame, 6, root, labels="class")
    with pytest.raises(hr.ArgumentError, match="but row 1 of table has none"):
        images.labels()
    named = hr.ImageTable(frame.set_index([["p", "q"]]), 6, root, labels="class")
    with pytest.raises(hr.ArgumentError, match="but row 1 of table, which is 'q', has none"):
        named.labels()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"files": "f"}, "one column 'f', but has none; it has 'filename'.*Name it with files="),
        ({"labels": "label"}, "must have one column 'label', but has none.*Name it with labels="),
        ({"labels": 3}, "labels must be the name of a column, or several"),
        ({"labels": [3]}, "must be names of columns"),
        ({"delimiter": ",,"}, "delimiter must be a single character"),
        ({"split": ("x", "split")}, "split must be with a part that 'split' has, 'test', 'train'"),
        ({"split": "train"}, "split must be a part and a column"),
        ({"split": ("x", {"train": 1.0})}, "split must be one of 'train'"),
        ({"labels": "class", "class_names": ["a", "a"]}, "class_names must be different names"),
        ({"class_names": ["a"]}, "class_names must be a dict by column"),
        ({"labels": "class", "class_names": {"age": ["1"]}}, "different names for columns of"),
        ({"labels": "class", "separator": ""}, "separator must be text between classes"),
    ],
)
def test_arguments_are_checked(table, arguments, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.ImageTable(table, 6, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x",), "mode must be 'int', 'categorical', 'binary' or 'raw'"),
        (("int",), r"column must be one of labels=\['class', 'age'\].*Name it in labels="),
        (("int", "split"), "column must be one of labels="),
        (("int", ["class"]), "column must be the name of one column with mode='int'"),
        (("binary", "class"), "mode must be 'int' or 'categorical' for 3 classes"),
    ],
)
def test_the_mode_of_labels_is_checked(table, arguments, said):
    with pytest.raises((ValueError, TypeError), match=said):
        hr.ImageTable(table, 6, labels=["class", "age"]).labels(*arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"filename,class\n", "must have rows"),
        (b"filename,filename\na,b\n", "must have one column 'filename', but has several"),
        (b"filename;class\na;b\n", r"it has 'filename;class'\..* pass delimiter=';'"),
        (b"filename\tclass\na\tb\n", r"pass delimiter='\\t'"),
        (b'filename,class\n"a"b,c\n', "line 2 of .* is no CSV"),
        (b"filename,class\n\xff,c\n", "must be in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(root, content, said):
    (root / "x.csv").write_bytes(content)
    with pytest.raises(hr.ArgumentError, match=said):
        hr.ImageTable(root / "x.csv", 6)


def test_what_can_not_be_a_table_is_refused(root):
    with pytest.raises(hr.FileMissingError):
        hr.ImageTable(root / "none.csv", 6)
    with pytest.raises(hr.ArgumentTypeError, match="table must be the path of a CSV file, or a"):
        hr.ImageTable({"filename": ["a"]}, 6)
    with named_pipe(root / "x.csv"), pytest.raises(hr.StorageError, match="it is a named pipe"):
        hr.ImageTable(root / "x.csv", 6)
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    with pytest.raises(hr.ArgumentError, match="root must be a folder, where table is a DataFrame"):
        hr.ImageTable(pandas.DataFrame({"filename": ["a"]}), 6)


def test_it_pickles_with_its_labels(table):
    images = pickle.loads(pickle.dumps(hr.ImageTable(table, 6, labels="class")))
    assert values(images.labels()) == [1, 2, 1, 0]


def test_of_its_table_it_holds_few_bytes_a_row(root):
    names = [f"{i:060}.png" for i in range(500)]
    for name in names:
        (root / name).touch()
    rows = [[name, f"{i % 2:0100}", "train"] for i, name in enumerate(names)]
    table = write_csv(root / "long.csv", [["filename", "class", "split"], *rows])
    images = hr.ImageTable(table, 6, labels="class", split=("train", "split"))
    of_table = len(pickle.dumps(images)) - len(pickle.dumps(hr.Images(root, names, size=6)))
    assert of_table < 20 * len(names)
