"""What every format does with what is amiss in a folder; also formats that are yet to be added.

The tests of a group of formats are run with each format of `headrace.formats` that is in it, on
six samples as `written.py` writes them.
"""

import contextlib
import os
import re
import shutil
import socket
import tempfile
import warnings

import pytest
from written import WRITTEN, N, expected, samples, written

import headrace as hr
from headrace.formats import formats
from headrace.storage.passed_over import PassedOverWarning
from headrace.testing.special_files import named_pipe


def files_of(folder):
    """The files that hold what is read of the samples, and no metadata."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.name != "zarr.json" and "/y/" not in path.as_posix()]


def reopened(folder, format_name):
    """All samples in the folder, and what was warned of."""
    options = WRITTEN[format_name][2]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batch = samples(hr.open(folder, format=format_name, **options))
    return batch, [warning for warning in caught if issubclass(warning.category, PassedOverWarning)]


def assert_as_written(batch, format_name):
    assert batch.tolist() == expected(format_name).tolist()


@pytest.mark.fault("a hidden file or folder, such as `.x`", "passed over", "folders of files")
def test_hidden_names(tmp_path, format_name):
    written(tmp_path, format_name)
    first, *_ = files_of(tmp_path)
    for name in (f".{first.name}", f"._{first.name}", f"__MACOSX/._{first.name}"):
        (first.parent / name).parent.mkdir(exist_ok=True)
        shutil.copy(first, first.parent / name)
    (tmp_path / ".cache").mkdir()
    shutil.copy(first, tmp_path / ".cache" / first.name)
    batch, warned = reopened(tmp_path, format_name)
    assert_as_written(batch, format_name)
    assert warned == []


@pytest.mark.fault("a name that begins with `_`, also a folder's", "warning", "folders of files")
@pytest.mark.parametrize("name", ["_copy{}", "_temporary/0/a{}", "b/_x/a{}", "__MACOSX/a{}"])
def test_bookkeeping(tmp_path, format_name, name):
    written(tmp_path, format_name)
    first, *_ = files_of(tmp_path)
    stray = first.parent / name.format(first.suffix)
    stray.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(first, stray)
    batch, warned = reopened(tmp_path, format_name)
    assert_as_written(batch, format_name)
    assert len(warned) == 1
    named = stray.relative_to(tmp_path).as_posix()
    assert f"{named!r} in {str(tmp_path)!r} is passed over" in str(warned[0].message)
    assert warned[0].filename == __file__


@pytest.mark.fault("a suffix in upper case among others", "warning", "folders of files")
@pytest.mark.fault("a suffix in upper case among others", "read", "images", "audio")
def test_one_in_upper_case(tmp_path, format_name, outcome):
    written(tmp_path, format_name)
    *_, last = files_of(tmp_path)
    shutil.copy(last, last.with_name(f"zz{last.suffix.upper()}"))
    batch, warned = reopened(tmp_path, format_name)
    if outcome == "read":
        assert (len(batch), warned) == (N + 1, [])
        batch = batch[:N]
    else:
        assert len(warned) == 1
        assert re.search(r"^'[^']*zz\.[A-Z]+' in ", str(warned[0].message))
    assert_as_written(batch, format_name)


@pytest.mark.fault(
    "a file that is missing of those that names count, as `-of-00003`",
    "warning",
    "parquet",
    "arrow",
    "jsonl",
    "tfrecord",
)
def test_a_number_that_is_missing(tmp_path, format_name):
    written(tmp_path, format_name)
    first, *_ = files_of(tmp_path)
    for path in files_of(tmp_path):
        path.rename(first)
    shutil.copy(first, first.with_name(f"d-00002-of-00003{first.suffix}"))
    first.rename(first.with_name(f"d-00000-of-00003{first.suffix}"))
    batch, warned = reopened(tmp_path, format_name)
    assert batch[: len(batch) // 2].tolist() == batch[len(batch) // 2 :].tolist()
    (one,) = warned
    assert "has 2 of the 3 files that their names tell of: 00001-of-00003 is not" in str(
        one.message
    )
    assert one.filename == __file__


@pytest.mark.fault("no file but such in upper case", "error", "folders of files")
@pytest.mark.fault("no file but such in upper case", "read", "images", "audio")
def test_all_in_upper_case(tmp_path, format_name, outcome):
    written(tmp_path, format_name)
    for path in files_of(tmp_path):
        path.rename(path.with_suffix(path.suffix.upper()))
    if outcome == "read":
        assert_as_written(reopened(tmp_path, format_name)[0], format_name)
        return
    with pytest.raises(hr.ArgumentError, match=r"has none: it has \d+ \.[A-Z]+ files?\. Rename"):
        hr.open(tmp_path, **WRITTEN[format_name][2])


@pytest.mark.fault("no file but such compressed as a whole, as `.gz`", "error", "folders of files")
def test_all_compressed(tmp_path, format_name):
    written(tmp_path, format_name)
    for path in files_of(tmp_path):
        path.rename(f"{path}.gz")
    with pytest.raises(hr.ArgumentError, match=r"it has \d+ \.\w+\.gz files?\. Note .*decompress"):
        hr.open(tmp_path, format=format_name, **WRITTEN[format_name][2])
    with pytest.raises(hr.ArgumentError, match=r"it holds \d+ \.\w+\.gz files?, and .*decompress"):
        hr.open(tmp_path, **WRITTEN[format_name][2])


@pytest.mark.fault("no file of the format", "error", "folders of files")
def test_others_only(tmp_path, tmp_path_factory, format_name):
    written(tmp_path_factory.mktemp("skips where the format is not installed"), format_name)
    for name in ("a.txt", "b.txt", "c"):
        (tmp_path / name).touch()
    options = {"size": 1} if format_name == "images" else WRITTEN[format_name][2]
    with pytest.raises(hr.ArgumentError, match=r"has none: it has 2 \.txt and 1 other files\."):
        hr.open(tmp_path, format=format_name, **options)


@contextlib.contextmanager
def special(path, kind):
    """Has a pipe, a socket or a device at the path."""
    if kind == "named pipe":
        with named_pipe(path):
            yield
    elif kind == "device":
        path.symlink_to("/dev/zero")
        yield
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            with tempfile.TemporaryDirectory() as short:  # as the path of a socket may not be long
                listening.bind(f"{short}/x")
                shutil.move(f"{short}/x", path)
            yield


SPECIAL = ["named pipe", "socket", "device"]
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")


@needs_pipes
@pytest.mark.fault("a pipe, socket or device among the files", "warning", "folders of files")
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_among_others(tmp_path, format_name, kind):
    written(tmp_path, format_name)
    first, *_ = files_of(tmp_path)
    with special(first.with_name(f"zz{first.suffix}"), kind):
        batch, warned = reopened(tmp_path, format_name)
    assert_as_written(batch, format_name)
    assert warned
    assert f"it is a {kind}, not a file" in str(warned[0].message)


@needs_pipes
@pytest.mark.fault("a pipe, socket or device in place of a file", "error", "every format")
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_in_place_of_one(tmp_path, format_name, kind):
    """Where samples are named, or a file is replaced after it was listed."""
    path, options = written(tmp_path, format_name)
    before = hr.open(path, format=format_name, **options)
    if "ids" in formats()[format_name].options:
        options = options | {"ids": before.ids}
    *_, last = files_of(tmp_path)
    last.unlink()
    refused = []
    with special(last, kind):
        for open_again in (False, path != tmp_path or "ids" in options):
            try:
                reader = hr.open(path, format=format_name, **options) if open_again else before
                assert_as_written(samples(reader), format_name)  # of a file that it has open
            except hr.StorageError as error:
                refused.append(str(error))
    assert refused
    assert all(f"it is a {kind}, not a file" in one for one in refused)


@pytest.mark.fault("a file that was cut short", "error", "every format")
def test_a_file_that_was_cut_short(tmp_path, format_name):
    path, options = written(tmp_path, format_name)
    *_, last = files_of(tmp_path)
    data = last.read_bytes()
    last.write_bytes(data[: len(data) * 2 // 5])
    with pytest.raises(hr.SampleFormatError, match=re.escape(last.name)):
        samples(hr.open(path, format=format_name, **options))


@pytest.mark.fault("a link that leads nowhere", "error", "folders of files")
def test_broken_links(tmp_path, format_name):
    written(tmp_path, format_name)
    first, *_ = files_of(tmp_path)
    stray = first.with_name(f"zz{first.suffix}")
    stray.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=re.escape(stray.name)):
        reopened(tmp_path, format_name)


@pytest.mark.fault("an id `1` where `00001` lies", "error", "a file for each sample")
@pytest.mark.parametrize(
    ("wanted", "there"), [("1", "00001"), ("a/img_01", "a/img_001"), ("0007", "7"), ("x", "X")]
)
def test_a_missing_file_and_one_alike(tmp_path, format_name, wanted, there):
    written(tmp_path, format_name)
    *_, last = files_of(tmp_path)
    root = tmp_path / "root"
    (root / there).parent.mkdir(parents=True)
    shutil.move(last, root / f"{there}{last.suffix}")
    ids = [f"{wanted}{last.suffix}" if format_name in ("images", "audio") else wanted]
    options = WRITTEN[format_name][2]
    name = f"{there}{last.suffix}".rpartition("/")[2]
    with pytest.raises(
        FileNotFoundError, match=rf"^sample 0 does not exist: .*; '{name}' lies there"
    ):
        samples(hr.open(root, format=format_name, ids=ids, **options))


@pytest.mark.fault("a column, key or field that there is not", "error", "columns")
def test_unknown_columns(tmp_path, format_name):
    path, options = written(tmp_path, format_name)
    other = "cls" if format_name == "tar" else "y"
    with pytest.raises(hr.ArgumentError) as caught:
        hr.open(path, columns="nope.npy", format=format_name)
    for name in ("nope.npy", options["columns"], other):
        assert name in str(caught.value)


@pytest.mark.fault("parts of other ids", "error", "a file for each sample", "tar")
def test_parts_of_other_ids(tmp_path, format_name):
    path, options = written(tmp_path, format_name)
    reader = hr.open(path, format=format_name, **options)
    first, *others = reader.ids
    labels = hr.Labels(list(range(N)), ids=[*others, first])
    with pytest.raises(hr.ArgumentError, match="parts of source must have the same ids"):
        hr.Loader((reader, labels), 2)
    hr.Loader((reader, labels), 2, match_ids=False)
    hr.Loader((reader, hr.Labels(list(range(N)), ids=reader.ids)), 2)
