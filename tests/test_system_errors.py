"""What the system refuses is an error of headrace that names the file, and never a bad sample."""

import errno
import os
import pickle

import numpy as np
import pytest
from rights import folder_for_all, without_rights
from written import N, written

import headrace as hr
from headrace.storage import Folder, Manifest, Request
from headrace.storage.local import folder as folder_module

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files behave so on POSIX")


@pytest.fixture
def folder():
    with folder_for_all() as folder:
        yield folder


def data_files(folder):
    """The files that hold samples, without those that say what they are."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert files
    return files


def forbid(path):
    path.chmod(0)


def link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


def folder_in_its_place(path):
    path.unlink()
    path.mkdir()


def assert_refused(folder, attempt, number):
    with pytest.raises(hr.StorageError) as raised:
        attempt()
    error = raised.value
    assert not isinstance(error, hr.SampleError)
    assert error.errno == number
    assert str(folder) in str(error)
    assert os.strerror(number) in str(error)
    return error


def check_all_attempts(folder, format_name, spoil, number, opens=True):
    """Opened before and read now, also where bad samples are replaced; and opened now."""
    path, options = written(folder, format_name)
    reader = hr.open(path, **options)
    as_it_was = pickle.dumps(reader)
    hr.Loader(reader, N).batch(0, 0)  # what is imported on first use can be, still
    for file in data_files(folder):
        spoil(file)

    def read(**how):
        loader = hr.Loader(pickle.loads(as_it_was), N, executor=hr.Inline(), **how)
        return loader.batch(0, 0)

    with without_rights():
        found = [
            assert_refused(folder, read, number),
            assert_refused(folder, lambda: read(on_error="replace", max_bad_samples=N), number),
        ]
        if opens:
            opened = lambda: hr.Loader(hr.open(path, **options), N).batch(0, 0)  # noqa: E731
            found.append(assert_refused(folder, opened, number))
    return found


@pytest.mark.fault("a file that this user may not read", "error", "every format")
def test_a_file_that_may_not_be_read(folder, format_name):
    found = check_all_attempts(folder, format_name, forbid, errno.EACCES)
    assert {type(error) for error in found} == {hr.AccessDeniedError}


@pytest.mark.fault("a link that leads back to itself", "error", "every format")
def test_a_link_to_itself(folder, format_name):
    check_all_attempts(folder, format_name, link_to_itself, errno.ELOOP)


@pytest.mark.fault("a folder in place of a file", "error", "every format")
def test_a_folder_in_place_of_a_file(folder, format_name):
    """Where a folder may hold samples, too, opening it says that there are none."""
    check_all_attempts(folder, format_name, folder_in_its_place, errno.EISDIR, opens=False)


@pytest.mark.fault("a folder that this user may not read", "error", "folders of files")
def test_a_folder_that_may_not_be_read(folder, format_name):
    """Neither is it passed over in silence where it lies in another one."""
    _, options = written(folder, format_name)
    hidden = folder / "c"
    hidden.mkdir()
    hr.open(folder, **options)  # what is imported on first use can be, still
    hidden.chmod(0)
    with without_rights():
        assert_refused(hidden, lambda: hr.open(folder, **options), errno.EACCES)
        inside = hidden / "x"
        assert_refused(inside, lambda: hr.open(inside, **options), errno.EACCES)


@pytest.mark.fault("a name that is too long for the system", "error", "a file for each sample")
@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ENOTDIR])
def test_a_name_that_can_not_be(folder, format_name, number):
    path, options = written(folder, format_name)
    first, *_ = hr.open(path, **options).ids
    suffix = os.path.splitext(data_files(folder)[0])[1]
    bad = "x" * 300 if number == errno.ENAMETOOLONG else f"{first.removesuffix(suffix)}{suffix}/a"
    size = {"size": (2, 3)} if format_name == "images" else {}

    def first_batch():  # some look at all files when they are opened
        reader = hr.open(path, ids=[first, bad], **options, **size)
        hr.Loader(reader, 2, on_error="replace", max_bad_samples=2).batch(0, 0)

    assert_refused(folder, first_batch, number)


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize(
    ("spoil", "number"),
    [(forbid, errno.EACCES), (link_to_itself, errno.ELOOP), (folder_in_its_place, errno.EISDIR)],
)
def test_of_the_storage(folder, monkeypatch, spoil, number, together):
    if not together:
        monkeypatch.setattr(folder_module, "ring_of_thread", lambda: None)
    for index in range(40):
        (folder / f"{index}.x").write_bytes(bytes(9))
    spoil(folder / "33.x")
    storage = Folder(folder)
    whole = [Request(f"{index}.x") for index in range(40)]
    parts = [Request("33.x", 1, 2)] * 40
    with without_rights():
        for requests, position in ((whole, 33), (parts, 0)):
            error = assert_refused(folder, lambda r=requests: list(storage.fetch(r)), number)
            assert error.position == position
        if spoil is link_to_itself:
            assert_refused(folder, lambda: storage.sizes(["1.x", "33.x"]), number)


def test_of_a_manifest_and_an_index(folder):
    """Files beside those of samples."""
    np.save(folder / "0.npy", np.zeros(2))
    Manifest.of(folder).save(folder / "manifest.json")
    path, options = written(folder, "tar")
    tar = hr.open(path, **options)
    tar.save_index(folder / "index.npz")
    for name in ("manifest.json", "index.npz"):
        forbid(folder / name)
    with without_rights():
        assert_refused(folder, lambda: Manifest.load(folder / "manifest.json"), errno.EACCES)
        assert_refused(folder, lambda: hr.Verified(folder, "manifest.json"), errno.EACCES)
        with_index = lambda: hr.TarFiles(folder, "cls", index=folder / "index.npz")  # noqa: E731
        assert_refused(folder, with_index, errno.EACCES)


@pytest.mark.parametrize("what", ["manifest", "index"])
def test_of_writing_a_manifest_and_an_index(folder, what):
    path, options = written(folder, "tar")
    tar = hr.open(path, **options)
    save = {"manifest": Manifest.of(folder).save, "index": tar.save_index}[what]
    (folder / "a folder").mkdir()
    assert_refused(folder, lambda: save(folder / "a folder"), errno.EISDIR)
    with pytest.raises(hr.FileMissingError, match=r"no folder '.*nowhere'"):
        save(folder / "nowhere" / "x")
    (folder / "a folder").chmod(0o500)
    with without_rights():
        error = assert_refused(folder, lambda: save(folder / "a folder" / "x"), errno.EACCES)
    assert type(error) is hr.AccessDeniedError
    assert "can't be written" in str(error)


def test_what_can_not_be_told_is_not_said_to_be_missing(folder):
    """Where this user may not enter the folder, nobody knows whether the file is there."""
    path = folder / "in" / "x.npy"
    path.parent.mkdir()
    np.save(path, np.zeros(3))
    path.parent.chmod(0)
    with without_rights():
        for attempt in (
            lambda: hr.open(path),
            lambda: hr.NpyFile(path),
            lambda: Folder(path.parent / "sub"),
        ):
            assert_refused(path.parent, attempt, errno.EACCES)


def test_it_is_the_same_after_a_pickle(folder):
    (folder / "0.npy").symlink_to("0.npy")
    error = assert_refused(folder, lambda: hr.NpyFiles(folder), errno.ELOOP)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.errno) == (type(error), str(error), errno.ELOOP)
    assert again.__notes__ == error.__notes__
    assert "sample 0" in "".join(again.__notes__)
