"""`hr.open`: which reader it gives, by what options, and what it says where that is not clear."""

import re
import sys
import tarfile
import types
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from written import (
    ROWS,
    WRITTEN,
    N,
    expected,
    samples,
    write_images,
    write_npy_files,
    write_npz_files,
    write_tar,
)

import headrace as hr
from headrace import formats as registry
from headrace.cli.opening import open_reader
from headrace.formats import formats
from headrace.readers.format import Format, Options
from headrace.storage import Manifest

DOCS = Path(__file__).parents[1] / "docs"
ALL = sorted(WRITTEN)
WITH_COLUMNS = [name for name in ALL if "columns" in WRITTEN[name][2]]


def assert_holds(reader, name):
    assert type(reader).__name__ == WRITTEN[name][1]
    batch = samples(reader)
    assert batch.dtype == expected(name).dtype
    assert batch.tolist() == expected(name).tolist()


class TestEachFormat:
    def test_is_among_them(self):
        assert sorted(formats()) == ALL

    @pytest.mark.parametrize("name", ALL)
    def test_is_found_out(self, tmp_path, name):
        write, _, options = WRITTEN[name]
        path = tmp_path / write(tmp_path)
        assert_holds(hr.open(path, **options), name)
        assert_holds(hr.open(str(path), **options), name)

    @pytest.mark.parametrize("name", ALL)
    def test_may_be_named(self, tmp_path, name):
        write, _, options = WRITTEN[name]
        path = write(tmp_path)
        (tmp_path / "a.npy").touch()  # which makes a folder unclear
        if name in ("npy-files", "npy-shards", "zarr"):
            (tmp_path / "a.npy").rename(tmp_path / "a.npz")
        assert_holds(hr.open(tmp_path / path, format=name, **options), name)

    @pytest.mark.parametrize("name", ALL)
    def test_is_what_the_command_line_opens(self, tmp_path, name):
        write, reader, options = WRITTEN[name]
        opened = open_reader(str(tmp_path / write(tmp_path)), None, Options(**options))
        assert (opened.format.name, type(opened.reader).__name__) == (name, reader)

    @pytest.mark.parametrize("name", WITH_COLUMNS)
    def test_gives_dicts_of_several_columns(self, tmp_path, name):
        write, _, options = WRITTEN[name]
        columns = [options["columns"], "cls" if name == "tar" else "y"]
        path = tmp_path / write(tmp_path)
        for given in (columns, iter(columns)):
            batch = samples(hr.open(path, columns=given))
            assert list(batch) == columns
            assert batch[columns[0]].tolist() == expected(name).tolist()
            assert batch[columns[1]].ravel().tolist() == list(range(N))

    @pytest.mark.parametrize("name", [name for name in ALL if "dtype" in formats()[name].options])
    def test_converts(self, tmp_path, name):
        write, _, options = WRITTEN[name]
        reader = hr.open(tmp_path / write(tmp_path), **options | {"dtype": "float32"})
        assert reader.spec.dtype == np.float32
        scale = 2**15 if name == "audio" else 1  # which is from -1 to 1
        assert (samples(reader) * scale).tolist() == ROWS.tolist()

    @pytest.mark.parametrize("name", [name for name in ALL if "ids" in formats()[name].options])
    def test_takes_ids(self, tmp_path, name):
        write, _, options = WRITTEN[name]
        ids = {"images": ["b/5.png", "a/0.png"], "audio": ["5.wav", "0.wav"]}.get(name, [5, 0])
        reader = hr.open(tmp_path / write(tmp_path), ids=iter(ids), **options)
        assert samples(reader).tolist() == expected(name)[[5, 0]].tolist()

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize(
        ("option", "value"),
        [("ids", ["a"]), ("columns", "x"), ("dtype", "float32"), ("size", 3), ("missing", "fill")],
        ids=["ids", "columns", "dtype", "size", "missing"],
    )
    def test_refuses_the_options_of_others_and_lists_its_own(self, tmp_path, name, option, value):
        takes = formats()[name].options
        if option in takes:
            return
        listed = ", ".join(takes) or "none"
        with pytest.raises(hr.ArgumentError) as caught:
            hr.open(tmp_path, format=name, **{option: value})
        assert str(caught.value) == (
            f"{option} is not an option of the format {name!r}, whose options are: {listed}."
        )


class TestImages:
    def test_of_classes_have_labels(self, tmp_path):
        images = hr.open(tmp_path / write_images(tmp_path), size=(4, 5))
        assert (images.class_names, images.spec.shape) == (["a", "b"], (4, 5, 3))
        x, y = samples_of_pair(images)
        assert x[:, 0, 0, 0].tolist() == list(range(N))
        assert y.tolist() == [0, 0, 0, 1, 1, 1]

    def test_in_one_folder_have_none(self, tmp_path):
        write_images(tmp_path)
        assert type(hr.open(tmp_path / "b", size=2)) is hr.Images

    def test_in_upper_case_have_them_too(self, tmp_path):
        write_images(tmp_path)
        for path in tmp_path.glob("*/*.png"):
            path.rename(path.with_suffix(".PNG"))
        assert hr.open(tmp_path).class_names == ["a", "b"]

    def test_in_tar_shards_need_a_size(self, tmp_path):
        image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
        (tmp_path / "0.png").parent.mkdir(exist_ok=True)
        image.new("RGB", (3, 2), (7, 7, 7)).save(tmp_path / "0.png")
        np.save(tmp_path / "0.npy", ROWS[0])
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            for name in ("0.png", "0.npy"):
                tar.add(tmp_path / name, name)
        allowed = r"^size must be the height and width of the samples, such as \(224, 224\)"
        with pytest.raises(hr.ArgumentError, match=allowed):
            hr.open(tmp_path / "x.tar", columns="png")
        batch = samples(hr.open(tmp_path / "x.tar", columns=["jpg;png", "npy"], size=2))
        assert batch["jpg"].tolist() == np.full((1, 2, 2, 3), 7).tolist()
        assert batch["npy"].tolist() == ROWS[:1].tolist()
        decoders = {"png": hr.ImageDecoder(1), "npy": None}
        batch = samples(hr.open(tmp_path / "x.tar", columns=decoders))
        assert batch["png"].shape == (1, 1, 1, 3)


def samples_of_pair(images):
    loader = hr.Loader((images, images.labels()), len(images), shuffle=False, executor=hr.Inline())
    return loader.batch(0, 0)


class TestBehindAUrl:
    @pytest.fixture
    def url(self, tmp_path):
        pytest.importorskip("obstore", reason="needs headrace[remote]")
        from web_server import FileServer

        with FileServer(tmp_path) as server:
            yield server.url

    @pytest.mark.parametrize("name", ["npy", "zarr", "parquet", "tar", "jsonl", "tfrecord"])
    def test_the_name_tells(self, tmp_path, url, name):
        write, _, options = WRITTEN[name]
        assert_holds(hr.open(f"{url}/{write(tmp_path)}", **options), name)

    @pytest.mark.parametrize(
        "name", ["npy-files", "npy-shards", "npz-files", "images", "audio", "tar", "parquet"]
    )
    def test_a_manifest_lists_the_files(self, tmp_path, url, name):
        write, _, options = WRITTEN[name]
        write(tmp_path)
        Manifest.of(tmp_path).save(tmp_path / "manifest.json")
        assert_holds(hr.open(url, **options), name)

    def test_what_is_fetched_is_compared_with_it(self, tmp_path, url):
        from web_server import FaultProxy

        write_npy_files(tmp_path)
        Manifest.of(tmp_path).save(tmp_path / "manifest.json")

        def flip_once(name, before):
            return "flip" if name == "3.npy" and not before else None

        with FaultProxy(url, flip_once) as proxy:
            assert samples(hr.open(proxy.url)).tolist() == ROWS.tolist()
        assert proxy.done["flip"] == 1

    def test_without_one_the_format_and_ids_must_be_given(self, tmp_path, url):
        write_npy_files(tmp_path)
        with pytest.raises(
            hr.ArgumentError, match=r"is not clear, as its files can't be listed.*Pass format: one"
        ):
            hr.open(url)
        reader = hr.open(url, format="npy-files", ids=range(N))
        assert samples(reader).tolist() == ROWS.tolist()

    def test_nothing_there(self, url):
        with pytest.raises(FileNotFoundError):
            hr.open(f"{url}/none.npy")

    @pytest.mark.parametrize("name", ["hdf5", "arrow"])
    def test_files_of_this_machine_alone(self, tmp_path, url, name):
        with pytest.raises(hr.ArgumentError, match="this machine"):
            hr.open(f"{url}/{WRITTEN[name][0](tmp_path)}")


class TestNotClear:
    """What the error lists, so that a user knows what to pass."""

    @pytest.mark.parametrize(
        ("names", "listed"),
        [
            (["a.npy", "b.npy", "c.npz"], "'npy-files' (2 files), 'npz-files' (1 file)"),
            (["a.npy", "a.JPG", "b.png"], "'npy-files' (1 file), 'images' (2 files)"),
            (["shard-0.npy", "a/x.tar"], "'npy-shards' (1 file), 'tar' (1 file)"),
            (["a.parquet", "a.arrow", "b.feather"], "'parquet' (1 file), 'arrow' (2 files)"),
        ],
    )
    def test_a_folder_of_several(self, tmp_path, names, listed):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        with pytest.raises(hr.ArgumentError) as caught:
            hr.open(tmp_path)
        assert str(caught.value) == (
            f"the format of {str(tmp_path)!r} is not clear, as it has files of several: {listed}. "
            "Pass one of them as format."
        )

    @pytest.mark.parametrize(
        ("names", "why"),
        [
            ([], "it has no files"),
            (["a.txt", "b.txt", "c"], "it holds 2 .txt and 1 other files"),
            (["a.h5"], "it holds 1 .h5 file"),
            (
                ["a.tar.gz", "b.tar.gz"],
                "it holds 2 .tar.gz files, and what is compressed as a whole can't be read at "
                "random: decompress it",
            ),
            (["_a.npy", "b/_c/d.npy"], "it holds 2 .npy files"),
        ],
    )
    def test_a_folder_of_none(self, tmp_path, names, why):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        with pytest.raises(hr.ArgumentError) as caught:
            hr.open(tmp_path)
        assert str(caught.value) == (
            f"the format of {str(tmp_path)!r} is not clear, as {why}. "
            f"Pass format: one of {', '.join(formats())}."
        )

    def test_a_file_of_another_kind(self, tmp_path):
        (tmp_path / "x.doc").touch()
        with pytest.raises(hr.ArgumentError, match=r"as its name ends with '\.doc'. Pass format:"):
            hr.open(tmp_path / "x.doc")

    @pytest.mark.parametrize("name", ["x.csv", "x.TSV"])
    def test_a_table_of_text(self, tmp_path, name):
        (tmp_path / name).touch()
        said = "a table of text: hr.ImageTable reads the pictures.*as Parquet, to which pandas"
        with pytest.raises(hr.ArgumentError, match=said):
            hr.open(tmp_path / name)


class TestRefused:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(hr.ArgumentError, match=r"^path must be that of an existing .*none"):
            hr.open(tmp_path / "none")

    @pytest.mark.parametrize("path", [None, 3, b"data", Path], ids=str)
    def test_no_path(self, path):
        with pytest.raises(TypeError, match=r"^path must be the path of a file or folder, or a U"):
            hr.open(path)

    def test_no_format(self, tmp_path):
        with pytest.raises(
            hr.ArgumentError, match=r"^format must be one of npy, npy-files.*'tape'"
        ):
            hr.open(tmp_path, format="tape")
        with pytest.raises(hr.ArgumentTypeError, match=r"^format must be the name of a format"):
            hr.open(tmp_path, format=["npy"])

    def test_columns_without_an_order(self, tmp_path):
        with pytest.raises(hr.ArgumentTypeError, match=r"^columns must be in an order"):
            hr.open(tmp_path / write_npz_files(tmp_path), columns={"x", "y"})

    def test_several_dtypes_of_one_array(self, tmp_path):
        with pytest.raises(hr.ArgumentTypeError, match=r"^dtype must be one dtype"):
            hr.open(tmp_path / write_npy_files(tmp_path), dtype={"x": "float32"})

    def test_a_tar_without_columns(self, tmp_path):
        with pytest.raises(
            hr.ArgumentError, match=r"^columns must be some of .*: cls \(6\), x\.npy \(6\)"
        ):
            hr.open(tmp_path / write_tar(tmp_path))

    def test_an_option_that_none_has(self, tmp_path):
        with pytest.raises(TypeError, match="unexpected keyword argument 'keys'"):
            hr.open(tmp_path, keys="x")


def test_a_folder_may_be_called_like_a_file(tmp_path):
    (tmp_path / "x.npy").mkdir()
    assert_holds(hr.open(tmp_path / "x.npy" / write_npy_files(tmp_path / "x.npy")), "npy-files")


class TestTheRegistry:
    def test_a_format_is_its_declaration_and_a_line(self, tmp_path, monkeypatch):
        class Numbers:
            spec = hr.Spec((), np.dtype(np.float64))

            def __init__(self, path):
                self.rows = np.loadtxt(path)

            def __len__(self):
                return len(self.rows)

            def read(self, indices, out):
                out[...] = self.rows[indices]

        module = types.ModuleType("numbers_format")
        module.FORMATS = (
            Format("numbers", lambda path, _: Numbers(path), "", path_suffixes=(".txt",)),
        )
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(registry, "_DECLARED_IN", (*registry._DECLARED_IN, module.__name__))
        formats.cache_clear()
        try:
            (tmp_path / "x.txt").write_text("4\n5\n")
            assert samples(hr.open(tmp_path / "x.txt")).tolist() == [4, 5]
            assert open_reader(str(tmp_path / "x.txt")).format.name == "numbers"
            with pytest.raises(hr.ArgumentError, match=r"one of npy, .*, numbers"):
                hr.open(tmp_path / "x.txt", format="tape")
        finally:
            monkeypatch.undo()
            formats.cache_clear()

    @pytest.mark.parametrize("name", ALL)
    def test_a_format_takes_options_that_there_are(self, name):
        assert set(formats()[name].options) <= {field.name for field in fields(Options)}

    @pytest.mark.parametrize("name", ALL)
    def test_each_has_a_page_a_row_and_a_line_of_its_options(self, name):
        page, reader = formats()[name].page, WRITTEN[name][1]
        assert f"hr.{reader}" in (DOCS / "formats" / page).read_text(encoding="utf-8")
        rows = (DOCS / "formats.md").read_text(encoding="utf-8").splitlines()
        assert [row for row in rows if f"(formats/{page})" in row and f"hr.{reader}" in row]
        lines = (DOCS / "tools.md").read_text(encoding="utf-8")
        found = re.search(rf"^\| `{name}` \|.*`hr\.{reader}`.*\|([^|]*)\|$", lines, re.MULTILINE)
        assert re.findall(r"`--(\w+)`", found[1]) == list(formats()[name].options)

    def test_the_docstring_lists_them(self):
        text = re.search(r"    format: (.*?)Default", hr.open.__doc__, re.DOTALL)[1]
        assert re.findall(r'"([\w-]+)"', text) == list(formats())
