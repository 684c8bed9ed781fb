"""NpyFiles: what the operating system refuses names the file and the index, and has its number."""

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from reading import read

import headrace as hr
from headrace.storage.local import folder as folder_module

PRELUDE = """
    import atexit, errno, os, resource, tempfile
    import numpy as np
    from headrace.readers import NpyFiles

    if os.geteuid() == 0:
        os.setuid(65534)  # root may read everything
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    root = os.path.realpath(folder.name)
    for name in ("a", "b", "deep/c"):
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        np.save(os.path.join(root, name), np.zeros(3))

    def check(error, number, *parts):
        assert error.errno == number, error
        said = "\\n".join([str(error), *error.__notes__])
        for part in parts:
            assert part in said, said
"""


def run(script):
    """Runs the script in a process of its own, with its own limits and rights."""
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(script) + "\nprint('passed')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "passed\n", done.stderr


def read_error(reader, index):
    with pytest.raises((hr.StorageError, hr.SampleError)) as caught:  # the caller checks which
        reader.read(np.array([0, index]), np.empty((2, *reader.spec.shape), reader.spec.dtype))
    return caught.value


@pytest.fixture(params=["preadv", "no preadv"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "no preadv":
        monkeypatch.setattr(folder_module, "_HAS_PREADV", False)
        monkeypatch.delattr("os.preadv", raising=False)
    np.save(tmp_path / "a.npy", np.zeros(3))
    return tmp_path


def check_error(error, number, file):
    assert (type(error), error.errno) == (hr.StorageError, number)
    said = "\n".join([str(error), *error.__notes__])
    assert "sample 1" in said
    assert str(file) in said


def test_folder_in_place_of_a_file(folder):
    (folder / "b.npy").mkdir()
    error = read_error(hr.NpyFiles(folder, ["a", "b"]), 1)
    check_error(error, errno.EISDIR, folder / "b.npy")


def test_file_in_place_of_a_folder(folder):
    error = read_error(hr.NpyFiles(folder, ["a", "a.npy/b"]), 1)
    check_error(error, errno.ENOTDIR, folder / "a.npy" / "b.npy")


def test_link_to_itself(folder):
    (folder / "b.npy").symlink_to(folder / "b.npy")
    error = read_error(hr.NpyFiles(folder, ["a", "b"]), 1)
    check_error(error, errno.ELOOP, folder / "b.npy")


def test_link_to_nowhere_is_a_missing_sample(folder):
    (folder / "b.npy").symlink_to(folder / "nowhere")
    error = read_error(hr.NpyFiles(folder), 1)
    assert type(error) is hr.SampleNotFoundError
    assert str(folder / "b.npy") in str(error)


def test_name_too_long(folder):
    error = read_error(hr.NpyFiles(folder, ["a", "x" * 300]), 1)
    check_error(error, errno.ENAMETOOLONG, folder / f"{'x' * 300}.npy")


@pytest.mark.skipif(os.name != "posix", reason="limits of open files are POSIX's")
def test_too_many_open_files():
    run("""
        reader = NpyFiles(root)
        out = np.empty((3, 3))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        opened = []
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        try:
            reader.read(np.array([1, 0, 2]), out)
        except OSError as error:
            check(error, errno.EMFILE, "sample 1", os.path.join(root, "b.npy"))
        else:
            raise AssertionError("it has read without a file descriptor")
        os.close(opened.pop())
        reader.read(np.array([1, 0, 2]), out)  # one descriptor at a time is enough
        assert not out.any()
        for file in opened:
            os.close(file)
    """)


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
def test_forbidden_file():
    run("""
        reader = NpyFiles(root)
        os.chmod(os.path.join(root, "b.npy"), 0)
        try:
            reader.read(np.array([0, 1]), np.empty((2, 3)))
        except PermissionError as error:
            check(error, errno.EACCES, "sample 1", os.path.join(root, "b.npy"))
        else:
            raise AssertionError("it has read a forbidden file")
    """)


@pytest.mark.skipif(os.name != "posix", reason="rights of folders are POSIX's")
def test_forbidden_folder_is_not_left_out_in_silence():
    run("""
        os.chmod(os.path.join(root, "deep"), 0)
        try:
            reader = NpyFiles(root)
        except PermissionError as error:
            assert os.path.join(root, "deep") in str(error)
        else:
            raise AssertionError(f"samples are missing from {reader.ids}")
        finally:
            os.chmod(os.path.join(root, "deep"), 0o700)
    """)


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="there is no preadv to compare with")
def test_with_and_without_preadv_the_same_is_read_and_raised(tmp_path, monkeypatch):
    for number in range(8):
        np.save(tmp_path / f"{number}.npy", np.full((3, 2), number, np.float32))
    np.save(tmp_path / "5.npy", np.zeros((2, 2), np.float32))
    (tmp_path / "6.npy").unlink()
    (tmp_path / "7.npy").write_bytes((tmp_path / "0.npy").read_bytes()[:-3])

    def outcomes():
        reader = hr.NpyFiles(tmp_path, range(8))
        yield read(reader, [4, 0, 3, 3]).tolist()
        for bad in (5, 6, 7):
            with pytest.raises(hr.SampleError) as caught:
                read(reader, [0, bad, 1])
            yield type(caught.value), caught.value.index, str(caught.value)

    usual = list(outcomes())
    monkeypatch.setattr(folder_module, "_HAS_PREADV", False)
    monkeypatch.delattr("os.preadv")
    assert list(outcomes()) == usual


def test_read_leaves_no_file_open(tmp_path):
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.zeros(3))
    (tmp_path / "3.npy").write_bytes(b"damaged")
    reader = hr.NpyFiles(tmp_path)
    before = os.dup(0)  # the lowest free descriptor
    os.close(before)
    read(reader, [0, 1, 2])
    with pytest.raises(hr.SampleFormatError):
        read(reader, [0, 3])
    after = os.dup(0)
    os.close(after)
    assert after == before
