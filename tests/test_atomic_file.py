"""An atomic file is there in full or as it was before, and leaves nothing else behind."""

import os
import signal

import pytest
from other_python import run_script

from headrace.atomic_file import atomic_file


@pytest.mark.parametrize("before", [None, "old"])
def test_it_appears_when_the_block_ends(tmp_path, before):
    path = tmp_path / "x"
    if before is not None:
        path.write_text(before)
    with atomic_file(path) as unfinished, open(unfinished, "w") as file:
        file.write("ne")
        assert (path.read_text() if path.exists() else None) == before
        file.write("w")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("before", [None, "old"])
def test_after_an_error_all_is_as_before(tmp_path, before):
    path = tmp_path / "x"
    if before is not None:
        path.write_text(before)

    def write():
        with atomic_file(path) as unfinished:
            with open(unfinished, "w") as file:
                file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (path.read_text() if path.exists() else None) == before
    assert os.listdir(tmp_path) == ([] if before is None else ["x"])


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "x"):
        pass
    assert (tmp_path / "x").read_text() == "old"


def test_until_then_it_is_hidden_or_named_as_said(tmp_path):
    with atomic_file(tmp_path / "x") as unfinished:
        assert os.path.dirname(unfinished) == str(tmp_path)
        assert os.path.basename(unfinished).startswith(".x-")
        open(unfinished, "w").close()
    with atomic_file(tmp_path / "y", tmp_path / "y.new") as unfinished:
        assert unfinished == str(tmp_path / "y.new")
        open(unfinished, "w").close()
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


def test_it_is_safe_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    done = []
    replace, fsync = os.replace, os.fsync

    def synced(file):
        done.append(("fsync", os.readlink(f"/proc/self/fd/{file}")))
        fsync(file)

    def replaced(source, target):
        done.append(("replace", os.fspath(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    with atomic_file(tmp_path / "x", tmp_path / "new") as unfinished:
        open(unfinished, "w").close()
    assert done == [("fsync", str(tmp_path / "new")), ("replace", str(tmp_path / "new"))]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_that_is_killed_leaves_the_old_one(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    script = """
        import os, signal, sys
        from headrace.atomic_file import atomic_file
        with atomic_file(sys.argv[1]) as unfinished, open(unfinished, "w") as file:
            file.write("half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_script(script, path).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
