"""`headrace info`: what is there, what an epoch takes, and advice."""

import json
import os

import numpy as np
import pytest

import headrace as hr

pytest.importorskip("typer", reason="needs headrace[cli]")

from command_line import run as run_headrace

from headrace.cli.info import advise, measure
from headrace.cli.opening import open_reader
from headrace.formats import Opened, formats


def run(*arguments):
    return run_headrace("info", *arguments)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for index in range(30):
        np.save(root / f"{index}.npy", np.full((2, 3), index))
    return root


def test_as_text(folder):
    done = run(folder, "--batch-size", 8)
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "npy-files",
        "samples        30",
        "int64 of shape (2, 3)",
        "48 bytes a sample, 1.4 kB in all",
        "an epoch",
        "samples/s",
        "shuffled batches of 8",
        "page cache",
    ):
        assert part in done.stdout


def test_as_json(folder):
    done = run(folder, "--json", "--dtype", "float64")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["format"], found["samples"], found["block"]) == ("npy-files", 30, 1)
    assert found["arrays"] == {"sample": {"shape": [2, 3], "dtype": "float64"}}
    assert (found["sample_bytes"], found["bytes"]) == (48, 1440)
    epoch = found["epoch"]
    assert epoch["batch_size"] == 30
    assert epoch["samples_read"] % 30 == 0
    assert epoch["seconds"] == pytest.approx(30 / epoch["samples_per_second"])
    assert any("float32" in advice for advice in found["advice"])


def test_samples_of_several_arrays(tmp_path):
    os.mkdir(tmp_path / "data")
    np.savez(tmp_path / "data" / "a.npz", image=np.zeros((4, 4), "u1"), label=3)
    found = json.loads(run(tmp_path / "data", "--json").stdout)
    assert found["arrays"] == {
        "image": {"shape": [4, 4], "dtype": "uint8"},
        "label": {"shape": [], "dtype": "int64"},
    }


def test_no_samples(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 3), "f4"))
    done = run(tmp_path / "x.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert "samples        0" in done.stdout
    assert "float32 of shape (3,)" in done.stdout
    found = json.loads(run(tmp_path / "x.npy", "--json").stdout)
    assert (found["samples"], found["epoch"], found["advice"]) == (0, None, [])


def test_images_are_shown_at_the_size_of_the_first(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    (tmp_path / "cat").mkdir()
    for index in range(3):
        image.new("RGB", (9 + index, 7)).save(tmp_path / "cat" / f"{index}.png")
    found = json.loads(run(tmp_path, "--json").stdout)
    assert (found["samples"], found["classes"]) == (3, ["cat"])
    assert found["arrays"]["sample"]["shape"] == [7, 9, 3]
    assert any("--size" in advised for advised in found["advice"])


def test_nothing_there(tmp_path):
    done = run(tmp_path / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the path must be that of an existing")


def test_the_rate_is_that_of_the_batches_that_were_read(folder):
    reader = hr.NpyFiles(folder)
    epoch, warned, _ = measure(reader, batch_size=7, seconds=0.05, nbytes=4)
    assert warned == []
    assert epoch.samples_read >= 7
    assert epoch.seconds * epoch.samples_per_second == pytest.approx(30)


class TestAdvice:
    def test_of_many_small_files(self, tmp_path):
        root = tmp_path / "data"
        root.mkdir()
        for index in range(1000):
            (root / f"{index}.npy").touch()
        np.save(root / "0.npy", np.zeros(3, "f4"))
        advice = advise(str(root), open_reader(str(root)), 4)
        assert any(f"headrace pack {root}" in advised for advised in advice)

    def test_of_small_files_of_several_arrays_can_be_followed(self, tmp_path):
        root = tmp_path / "my data"
        root.mkdir()
        for index in range(1000):
            np.savez(root / f"{index}.npz", x=np.zeros(2, "f4"), y=index)
        (advised, *_) = advise(str(root), open_reader(str(root)), 4)
        assert f"headrace pack '{root}' '{root}.zarr'" in advised

    def test_of_float64_can_be_followed(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((10, 3)))
        path = str(tmp_path / "x.npy")
        advised = " ".join(advise(path, open_reader(path), 4))
        assert "float64" in advised
        assert "--dtype" not in advised
        (tmp_path / "data").mkdir()
        np.savez(tmp_path / "data" / "0.npz", x=np.zeros(3), y=1)
        path = str(tmp_path / "data")
        (advised, *_) = advise(path, open_reader(path), 4)
        assert "dtype={'x': 'float32'}" in advised
        assert "--dtype" not in advised

    def test_of_a_full_shuffle_over_chunks(self, tmp_path):
        h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
        with h5py.File(tmp_path / "x.h5", "w") as file:
            rows = np.zeros((4000, 100), "f4")
            file.create_dataset("x", data=rows, chunks=(200, 100), compression="gzip")
        reader = hr.Hdf5(tmp_path / "x.h5", cache_bytes=4 * 80_000)
        epoch, (warned,), _ = measure(reader, batch_size=16, seconds=0.05, nbytes=4)
        assert epoch.samples_read >= 16
        assert "shuffle=hr.BlockShuffle(block=200" in warned

    def test_none_where_nothing_would_help(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((10, 3), "f4"))
        assert advise("x.npy", Opened(hr.NpyFile(tmp_path / "x.npy"), formats()["npy"]), 4) == []
