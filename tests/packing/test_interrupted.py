"""`headrace.packing.pack` killed or interrupted at any moment, and started again."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from other_python import run_python
from packed import (
    SMALL,
    Interrupted,
    assert_manifests_hold,
    columns_in,
    interrupt_at,
    needed,
)

import headrace as hr
from headrace.packing import Shape, pack, staging

SCRIPT = Path(__file__).parents[1] / "support" / "killed_packing.py"


def tree(folder):
    """The content of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("part", ["new", "sums.jsonl", "journal.json"])
def test_killed_while_it_starts_over_it_does_not_go_on_with_what_is_gone(
    tmp_path, samples, source, monkeypatch, part
):
    needed("x.parquet")

    reader, target = hr.NpyFiles(source), tmp_path / "x.parquet"
    with pytest.raises(Interrupted):
        pack(reader, target, shape=SMALL, progress=interrupt_at(20), seconds_between_saves=0)

    def killed(path):
        remove(path)
        if path.name == part:
            raise KeyboardInterrupt

    remove = staging._remove
    monkeypatch.setattr(staging, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):  # as of something else
        pack(reader, target, shape=Shape(), force=True)
    monkeypatch.undo()
    pack(reader, target, shape=SMALL)
    assert columns_in(target)["sample"].tolist() == samples.tolist()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes that are killed")
@pytest.mark.parametrize(
    ("name", "stride", "before"),
    [
        ("x.npy", 1, {}),
        ("x.npy", 3, {"x.npy": "old", "x.labels.npy": "old", "other": "kept"}),
        ("x", 3, {}),
        ("x.zarr", 9, {}),
        ("x.parquet", 4, {}),
    ],
)
def test_killed_anywhere_and_started_again_it_is_as_if_never_killed(
    tmp_path, samples, name, stride, before
):
    needed(name)
    (tmp_path / "source").mkdir()
    for index in range(10):
        np.save(tmp_path / "source" / f"{index}.npy", samples[index])
    (tmp_path / "targets").mkdir()
    options = {
        "shape": {"batch_bytes": 224, "shard_bytes": 448, "block_bytes": 112},
        "force": bool(before),
        "before": before,
        "stride": stride,
    }
    command = [SCRIPT, tmp_path / "source", tmp_path / "targets", name, json.dumps(options)]
    done = run_python(*command)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] >= 10
    # Some were killed before anything was safe, some in the middle, some when all was written.
    assert {"0", "10"} < set(found["continued"])
    *interrupted, whole = [tree(tmp_path / "targets" / str(k)) for k in range(found["killed"] + 1)]
    for k, content in enumerate(interrupted):
        assert content == whole, f"killed for the {k}th time"


class TestWhatWasLeft:
    @pytest.fixture
    def left(self, tmp_path, source):
        with pytest.raises(Interrupted):
            pack(
                hr.NpyFiles(source),
                tmp_path / "x.npy",
                shape=SMALL,
                progress=interrupt_at(12),
                seconds_between_saves=0,
            )
        return tmp_path / "x.npy"

    def test_is_gone_on_with(self, left, source, samples):
        assert not left.exists()
        packed = pack(hr.NpyFiles(source), left, shape=SMALL)
        assert packed.continued_at == 12
        assert (np.load(left) == samples).all()

    def test_of_other_samples_is_refused(self, left, source, samples):
        np.save(source / "id-25.npy", samples[0])
        with pytest.raises(hr.ArgumentError, match=r"another .*number of samples.*--force"):
            pack(hr.NpyFiles(source), left, shape=SMALL)
        packed = pack(hr.NpyFiles(source), left, shape=SMALL, force=True)
        assert packed.continued_at == 0
        assert len(np.load(left)) == 26

    def test_with_other_options_is_refused(self, left, source):
        with pytest.raises(hr.ArgumentError, match=r"another options.*same options"):
            pack(hr.NpyFiles(source), left)

    @pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
    def test_but_damaged_is_written_again(self, left, source, samples, damage):
        (file,) = left.with_name("x.npy.partial").glob("new/x.npy")
        data = bytearray(file.read_bytes())
        data[300] ^= 1
        if damage == "delete":
            file.unlink()
        else:
            file.write_bytes(data if damage == "flip" else data[:300])
        packed = pack(hr.NpyFiles(source), left, shape=SMALL)
        assert packed.continued_at == 0
        assert (np.load(left) == samples).all()
        assert_manifests_hold(left)

    def test_more_than_was_saved_is_cut_off(self, left, source, samples):
        with open(left.with_name("x.npy.partial") / "new" / "x.npy", "ab") as file:
            file.write(b"not saved")
        assert pack(hr.NpyFiles(source), left, shape=SMALL).continued_at == 12
        assert (np.load(left) == samples).all()
        assert left.stat().st_size == 128 + samples.nbytes


def test_what_was_started_of_one_array_is_not_gone_on_with_of_another(tmp_path):
    archives = tmp_path / "archives"
    archives.mkdir()
    for index in range(9):
        np.savez(archives / f"{index}.npz", x=index, y=-index)
    target, shape = tmp_path / "x.npy", Shape(batch_bytes=16)
    x = hr.NpzFiles(archives, keys="x")
    with pytest.raises(Interrupted):
        pack(x, target, shape=shape, progress=interrupt_at(4), seconds_between_saves=0)
    with pytest.raises(hr.ArgumentError, match="another source"):
        pack(hr.NpzFiles(archives, keys="y"), target, shape=shape)
