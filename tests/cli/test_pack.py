"""`headrace pack`: what it writes, what it refuses, and that a kill at any moment costs nothing."""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.packing import Shape, pack
from headrace.packing import staging as workplace
from headrace.readers.array import ArrayReader
from headrace.storage.manifest import Manifest

pytest.importorskip("typer", reason="needs headrace[cli]")

SCRIPT = Path(__file__).parents[1] / "support" / "killed_packing.py"
SMALL = Shape(batch_bytes=96, shard_bytes=200, block_bytes=48)


def run(*arguments, **options):
    command = [sys.executable, "-m", "headrace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def assert_refused(done, *parts):
    assert done.returncode == 1
    assert done.stderr.startswith("Error: "), done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.fixture
def samples():
    return np.random.default_rng(0).normal(size=(25, 3, 4)).astype(np.float32)


@pytest.fixture
def source(tmp_path, samples):
    root = tmp_path / "source"
    root.mkdir()
    for index, sample in enumerate(samples):
        np.save(root / f"id-{index:02}.npy", sample)
    return root


def needed(name):
    """Skips the test where the format of the target needs a library that is not there."""
    if name.endswith(".zarr"):
        pytest.importorskip("zarr", reason="needs headrace[zarr]")
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="needs headrace[arrow]")


def columns_in(path):
    """The columns of a packed target, read by the format's own library."""
    if path.suffix == ".npy":
        return {"sample": np.load(path)}
    if path.suffix == ".zarr":
        import zarr

        opened = zarr.open(str(path), mode="r")
        if isinstance(opened, zarr.Array):
            return {"sample": opened[...]}
        return {name: opened[name][...] for name in opened.array_keys()}
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return {name: np.array(table[name].to_pylist()) for name in table.column_names}
    return {"sample": np.concatenate([np.load(file) for file in sorted(path.glob("*.npy"))])}


def assert_manifests_hold(target):
    """Each file of the target and beside it is in a manifest, with its checksums."""
    found = {}
    for manifest in [
        target.with_name(target.name + ".manifest.json"),
        target / "manifest.json",
        target / "_manifest.json",
    ]:
        if manifest.exists():
            found |= {
                manifest.parent / name: sums for name, sums in Manifest.load(manifest).items()
            }
    for path, sums in found.items():
        data = path.read_bytes()
        assert (sums.bytes, sums.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    files = target.rglob("*") if target.is_dir() else [target]
    expected = {path for path in files if path.is_file() and "manifest" not in path.name}
    assert expected <= found.keys()


@pytest.mark.parametrize("name", ["x.npy", "x", "x.zarr", "x.parquet"])
@pytest.mark.parametrize("shape", [Shape(), SMALL, Shape(block_bytes=1, compressed=False)])
def test_each_format_holds_the_samples_in_order(tmp_path, samples, source, name, shape):
    needed(name)
    reader = hr.NpyFiles(source)
    packed = pack(reader, tmp_path / name, shape=shape, texts={"ids": reader.ids})
    assert packed.samples == 25
    columns = columns_in(tmp_path / name)
    assert list(columns) == ["sample"]
    assert columns["sample"].tolist() == samples.tolist()
    ids = tmp_path / ("x.ids.json" if name == "x.npy" else f"{name}.ids.json")
    assert json.loads(ids.read_text()) == [f"id-{index:02}" for index in range(25)]
    assert_manifests_hold(tmp_path / name)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["x.npy", "x", "x.zarr", "x.parquet"])
def test_labels_are_stored_with_the_samples(tmp_path, samples, source, name):
    needed(name)
    labels = hr.Labels(np.arange(25) % 7)
    pack(hr.NpyFiles(source), tmp_path / name, labels=labels, shape=SMALL)
    columns = columns_in(tmp_path / name)
    stored = columns["label"] if "label" in columns else np.load(tmp_path / "x.labels.npy")
    assert stored.tolist() == [index % 7 for index in range(25)]
    assert columns["sample"].tolist() == samples.tolist()
    assert_manifests_hold(tmp_path / name)


@pytest.mark.parametrize(
    "dtype", ["uint8", "bool", "int64", "float16", "float64", "S5", "datetime64[us]", "complex64"]
)
@pytest.mark.parametrize("name", ["x.npy", "x.zarr", "x.parquet"])
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_dtypes(tmp_path, dtype, name):
    needed(name)
    rows = np.arange(24).reshape(6, 2, 2).astype(dtype)
    if (name, dtype) == ("x.parquet", "complex64"):
        with pytest.raises(hr.ArgumentError, match=r"complex64.*Pack to \.npy"):
            pack(ArrayReader(rows), tmp_path / name)
        return
    pack(ArrayReader(rows), tmp_path / name, shape=SMALL)
    stored = columns_in(tmp_path / name)["sample"]
    if name == "x.parquet" and dtype == "S5":
        stored = np.array([one.rstrip(b"\0") for one in stored.reshape(-1)]).reshape(rows.shape)
    assert stored.tolist() == rows.tolist()


@pytest.mark.parametrize("name", ["x.zarr", "x.parquet"])
@pytest.mark.parametrize(
    "rows", [np.zeros(6, "f4,i2"), np.zeros((6, 0)), np.zeros((6, 3, 0)), np.full(6, "a")]
)
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_what_a_format_can_not_hold_is_refused_at_once(tmp_path, rows, name):
    needed(name)
    if (name, rows.dtype.kind) == ("x.zarr", "U"):
        pack(ArrayReader(rows), tmp_path / name)
        assert columns_in(tmp_path / name)["sample"].tolist() == rows.tolist()
        return
    with pytest.raises(hr.ArgumentError, match=r"can't hold 'sample'.*Pack to \.npy"):
        pack(ArrayReader(rows), tmp_path / name)
    assert not list(tmp_path.iterdir())


class TestSamplesOfSeveralArrays:
    @pytest.fixture
    def archives(self, tmp_path):
        root = tmp_path / "archives"
        root.mkdir()
        for index in range(9):
            np.savez(root / f"{index}.npz", x=np.full(3, index, "f4"), y=index)
        return root

    @pytest.mark.parametrize("name", ["x.zarr", "x.parquet"])
    def test_become_columns(self, tmp_path, archives, name):
        needed(name)
        done = run("pack", archives, tmp_path / name)
        assert done.returncode == 0, done.stderr
        columns = columns_in(tmp_path / name)
        assert sorted(columns) == ["x", "y"]
        assert columns["x"].tolist() == [[index] * 3 for index in range(9)]
        assert columns["y"].tolist() == list(range(9))

    def test_one_of_them_may_be_the_label(self, tmp_path, archives):
        done = run("pack", archives, tmp_path / "x.npy", "--label-field", "y")
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "x.npy").shape == (9, 3)
        assert np.load(tmp_path / "x.labels.npy").tolist() == list(range(9))

    def test_the_label_need_not_be_named_twice(self, tmp_path, archives):
        done = run("pack", archives, tmp_path / "x.npy", "--columns", " x ", "--label-field", "y")
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "x.npy").shape == (9, 3)
        assert np.load(tmp_path / "x.labels.npy").tolist() == list(range(9))

    def test_or_be_chosen(self, tmp_path, archives):
        done = run("pack", archives, tmp_path / "x.npy", "--columns", "y")
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "x.npy").tolist() == list(range(9))

    def test_what_was_begun_of_one_is_not_gone_on_with_of_another(self, tmp_path, archives):
        for index in range(9):
            np.savez(archives / f"{index}.npz", x=index, y=-index)

        def stop(samples):
            if samples >= 4:
                raise KeyboardInterrupt

        target, shape = tmp_path / "x.npy", Shape(batch_bytes=16)
        x = hr.NpzFiles(archives, keys="x")
        with pytest.raises(KeyboardInterrupt):
            pack(x, target, shape=shape, progress=stop, seconds_between_saves=0)
        with pytest.raises(hr.ArgumentError, match="another source"):
            pack(hr.NpzFiles(archives, keys="y"), target, shape=shape)

    def test_do_not_fit_one_npy(self, tmp_path, archives):
        done = run("pack", archives, tmp_path / "x.npy")
        assert_refused(done, "x, y", ".zarr or .parquet", "--columns", "--label-field")

    def test_a_label_field_that_is_none(self, tmp_path, archives):
        done = run("pack", archives, tmp_path / "x.npy", "--label-field", "z")
        assert_refused(done, "--label-field", "one of x, y", "'z'")


class TestLabelsFile:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("labels.json", json.dumps({f"id-{i:02}": i % 3 for i in reversed(range(30))})),
            ("labels.json", json.dumps([i % 3 for i in range(25)])),
            ("labels.csv", "id,class\n" + "".join(f"id-{i:02},{i % 3}\n" for i in range(25))),
            ("labels.csv", "".join(f"id-{i:02},{i % 3}\n" for i in reversed(range(25)))),
            ("labels.csv", "".join(f"{i % 3}\n" for i in range(25))),
        ],
        ids=["mapping", "list", "csv", "csv-without-names", "csv-in-order"],
    )
    def test_by_id_or_in_order(self, tmp_path, source, name, content):
        (tmp_path / name).write_text(content)
        done = run("pack", source, tmp_path / "x.npy", "--labels", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "x.labels.npy").tolist() == [i % 3 for i in range(25)]

    def test_as_npy(self, tmp_path, source):
        np.save(tmp_path / "y.npy", np.eye(25))
        done = run("pack", source, tmp_path / "x.npy", "--labels", tmp_path / "y.npy")
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "x.labels.npy").tolist() == np.eye(25).tolist()

    @pytest.mark.parametrize(
        ("name", "content", "parts"),
        [
            ("y.json", '{"id-00": 1}', ["id-01", "ids[1]"]),
            ("y.json", "[1, 2]", ["2 labels", "25 samples"]),
            ("y.json", "{", ["--labels", "y.json"]),
            ("y.csv", "id-00,cat\nid-01,dog\n", ["--labels", "numbers", "'dog'"]),
            ("y.csv", "id-00,1\nid-01,2\nid-00,2\n", ["--labels", "2 of 'id-00'"]),
            ("y.csv", "id,class\n", ["labels must", "has none for 'id-00'"]),
            ("y.txt", "1", ["--labels", ".json, .npy or .csv"]),
        ],
    )
    def test_that_does_not_fit(self, tmp_path, source, name, content, parts):
        (tmp_path / name).write_text(content)
        done = run("pack", source, tmp_path / "x.npy", "--labels", tmp_path / name)
        assert_refused(done, *parts)


def test_images_bring_labels_and_the_names_of_their_classes(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
    for number, name in enumerate(["cat", "dog"]):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(3):
            image.new("RGB", (9, 7), (number, index, 5)).save(
                tmp_path / "images" / name / f"{index}.png"
            )
    done = run("pack", tmp_path / "images", tmp_path / "x.npy", "--size", "4x5")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "x.npy").shape == (6, 4, 5, 3)
    assert np.load(tmp_path / "x.npy")[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert np.load(tmp_path / "x.labels.npy").tolist() == [0, 0, 0, 1, 1, 1]
    assert json.loads((tmp_path / "x.classes.json").read_text()) == ["cat", "dog"]
    done = run("pack", tmp_path / "images", tmp_path / "y.npy")
    assert_refused(done, "--size", "224x224", "The first is of 7x9")


def test_a_byte_takes_no_four_in_parquet(tmp_path):
    needed("x.parquet")
    rows = np.random.default_rng(0).integers(0, 256, (4, 100, 200), np.uint8)
    for dtype in ("uint8", "int8"):
        target = tmp_path / f"{dtype}.parquet"
        packed = pack(ArrayReader(rows.view(dtype)), target, shape=Shape(compressed=False))
        assert packed.nbytes < 1.5 * rows.nbytes
        assert (columns_in(target)["sample"] == rows.view(dtype)).all()


def test_a_tar_tells_which_fields_there_are(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("0.cls", "0.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"7"))
    assert_refused(run("pack", tmp_path / "a.tar", tmp_path / "x.npy"), "--columns", "cls,txt")


def test_a_dangling_link_is_replaced_by_force(tmp_path, source):
    (tmp_path / "x").symlink_to("nowhere")
    packed = pack(hr.NpyFiles(source), tmp_path / "x", force=True)
    assert len(hr.NpyShards(packed.target)) == 25
    assert sorted(os.listdir(tmp_path)) == ["source", "x"]


class TestRefused:
    def test_no_source(self, tmp_path):
        assert_refused(run("pack", tmp_path / "none", tmp_path / "x.npy"), "none", "existing")

    def test_an_unclear_source(self, tmp_path):
        (tmp_path / "mixed").mkdir()
        (tmp_path / "mixed" / "a.npy").touch()
        (tmp_path / "mixed" / "a.npz").touch()
        done = run("pack", tmp_path / "mixed", tmp_path / "x.npy")
        assert_refused(done, "1 .npy, 1 .npz", "--format", "npy-files")

    @pytest.mark.parametrize("existing", ["x.npy", "x.ids.json", "x.npy.manifest.json"])
    def test_an_existing_target(self, tmp_path, source, existing):
        (tmp_path / existing).write_text("precious")
        assert_refused(run("pack", source, tmp_path / "x.npy"), existing, "--force")
        assert (tmp_path / existing).read_text() == "precious"
        assert sorted(os.listdir(tmp_path)) == sorted([existing, "source"])

    @pytest.mark.parametrize(
        ("first", "second"), [(".", "in/x.npy"), ("in/deep", "in"), ("in", "in")]
    )
    def test_one_within_the_other(self, tmp_path, samples, first, second):
        (tmp_path / "in" / "deep").mkdir(parents=True)
        np.save(tmp_path / "in" / "deep" / "a.npy", samples[0])
        done = run("pack", tmp_path / first, tmp_path / second, "--force")
        assert_refused(done, "apart from SRC")
        assert (tmp_path / "in" / "deep" / "a.npy").exists()

    def test_no_folder_for_it(self, tmp_path, source):
        assert_refused(
            run("pack", source, tmp_path / "no" / "x.npy"), "existing folder", "mkdir -p"
        )

    def test_an_unknown_suffix(self, tmp_path, source):
        assert_refused(run("pack", source, tmp_path / "x.h5"), "DST", ".zarr or .parquet")

    def test_a_foreign_folder_where_it_is_made(self, tmp_path, source):
        (tmp_path / "x.npy.partial").mkdir()
        (tmp_path / "x.npy.partial" / "mine").touch()
        assert_refused(run("pack", source, tmp_path / "x.npy"), "x.npy.partial", "something else")
        assert (tmp_path / "x.npy.partial" / "mine").exists()

    @pytest.mark.parametrize("text", ["", "many", "0", "-3", "1XB"])
    def test_sizes_that_are_none(self, tmp_path, source, text):
        done = run("pack", source, tmp_path / "x", f"--shard-bytes={text}")
        assert_refused(done, "--shard-bytes", "64MiB")

    def test_an_option_of_another_format(self, tmp_path, source):
        done = run("pack", source, tmp_path / "x.npy", "--size", "8x8")
        assert_refused(done, "--size", "'npy-files'", "--ids, --dtype")

    def test_a_bad_sample_is_named_and_can_be_put_right(self, tmp_path, samples, source):
        (source / "id-07.npy").write_bytes(b"")
        done = run("pack", source, tmp_path / "x.npy")
        assert_refused(done, "sample 7", "id-07.npy", f"headrace verify {source}")
        assert not (tmp_path / "x.npy").exists()
        shutil.copytree(source, tmp_path / "my source")
        done = run("pack", tmp_path / "my source", tmp_path / "y.npy", "--dtype", "float64")
        assert_refused(done, f"verify '{tmp_path}/my source', with the same options")
        np.save(source / "id-07.npy", samples[7])
        assert run("pack", source, tmp_path / "x.npy").returncode == 0
        assert (np.load(tmp_path / "x.npy") == samples).all()


class TestForce:
    def test_replaces_the_target_and_what_belonged_to_it(self, tmp_path, samples, source):
        (tmp_path / "x.mine.json").write_text("precious")
        labels = hr.Labels(np.arange(25))
        pack(hr.NpyFiles(source), tmp_path / "x.npy", labels=labels, texts={"ids": ["a"]})
        assert (tmp_path / "x.labels.npy").exists()
        pack(ArrayReader(samples[:3]), tmp_path / "x.npy", force=True)
        assert (np.load(tmp_path / "x.npy") == samples[:3]).all()
        # Labels of other samples would be wrong ones.
        expected = ["source", "x.mine.json", "x.npy", "x.npy.manifest.json"]
        assert sorted(os.listdir(tmp_path)) == expected

    @pytest.mark.parametrize("name", ["..", "", "precious", "x.npy/../precious"])
    def test_but_not_what_a_manifest_of_others_names(self, tmp_path, samples, name):
        (tmp_path / "x.npy").touch()
        (tmp_path / "precious").touch()
        empty = {"bytes": 0, "sha256": "", "block_bytes": 1, "crc32": []}
        manifest = {"format": 1, "files": {name: empty}}
        (tmp_path / "x.npy.manifest.json").write_text(json.dumps(manifest))
        pack(ArrayReader(samples), tmp_path / "x.npy", force=True)
        assert sorted(os.listdir(tmp_path)) == ["precious", "x.npy", "x.npy.manifest.json"]

    def test_replaces_a_folder(self, tmp_path, samples):
        pack(ArrayReader(samples), tmp_path / "x", shape=SMALL)
        pack(ArrayReader(samples[:3]), tmp_path / "x", shape=SMALL, force=True)
        assert (columns_in(tmp_path / "x")["sample"] == samples[:3]).all()


def tree(folder):
    """The content of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("part", ["new", "sums.jsonl", "journal.json"])
def test_killed_while_it_begins_anew_it_does_not_go_on_with_what_is_gone(
    tmp_path, samples, source, monkeypatch, part
):
    needed("x.parquet")

    def stop(done):
        if done >= 20:
            raise KeyboardInterrupt

    reader, target = hr.NpyFiles(source), tmp_path / "x.parquet"
    with pytest.raises(KeyboardInterrupt):
        pack(reader, target, shape=SMALL, progress=stop, seconds_between_saves=0)

    def killed(path):
        remove(path)
        if path.name == part:
            raise KeyboardInterrupt

    remove = workplace._remove
    monkeypatch.setattr(workplace, "_remove", killed)
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
    (tmp_path / "places").mkdir()
    options = {
        "shape": {"batch_bytes": 224, "shard_bytes": 448, "block_bytes": 112},
        "force": bool(before),
        "before": before,
        "stride": stride,
    }
    command = [SCRIPT, tmp_path / "source", tmp_path / "places", name, json.dumps(options)]
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] >= 10
    # Some were killed before anything was safe, some in the middle, some when all was written.
    assert {"0", "10"} < set(found["continued"])
    *interrupted, whole = [tree(tmp_path / "places" / str(k)) for k in range(found["killed"] + 1)]
    for k, content in enumerate(interrupted):
        assert content == whole, f"killed for the {k}th time"


def test_the_command_killed_at_several_times(tmp_path):
    rows = np.random.default_rng(1).integers(0, 256, (240, 2**18), np.uint8)
    np.save(tmp_path / "rows.npy", rows)
    expected = hashlib.sha256((tmp_path / "rows.npy").read_bytes()).hexdigest()
    command = [sys.executable, "-m", "headrace", "pack", tmp_path / "rows.npy", tmp_path / "x.npy"]
    made = tmp_path / "x.npy.partial" / "new" / "x.npy"
    killed = 0
    for share in (0.0, 0.3, 0.6, 0.9):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None:
            if made.exists() and made.stat().st_size >= share * rows.nbytes:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.communicate(timeout=300)
        killed += process.returncode == -signal.SIGKILL
        if process.returncode == 0:  # it was faster than we
            break
        assert not (tmp_path / "x.npy").exists()
    assert killed
    if not (tmp_path / "x.npy").exists():
        assert subprocess.run(command, timeout=300, check=False).returncode == 0
    assert hashlib.sha256((tmp_path / "x.npy").read_bytes()).hexdigest() == expected
    assert_manifests_hold(tmp_path / "x.npy")
    assert sorted(os.listdir(tmp_path)) == ["rows.npy", "x.npy", "x.npy.manifest.json"]


class Interrupted(Exception):
    pass


def interrupt_at(count):
    def progress(samples):
        if samples >= count:
            raise Interrupted

    return progress


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
    def test_but_damaged_is_made_anew(self, left, source, samples, damage):
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


def test_two_at_once_are_refused(tmp_path, samples):
    pytest.importorskip("fcntl", reason="needs a system with flock")
    refusals = []

    def pack_too(count):
        with pytest.raises(hr.ArgumentError, match="another one is at work") as caught:
            pack(ArrayReader(samples), tmp_path / "x.npy")
        refusals.append(caught.value)

    pack(ArrayReader(samples), tmp_path / "x.npy", progress=pack_too)
    assert refusals
    assert (np.load(tmp_path / "x.npy") == samples).all()


def test_a_full_disk_is_told_and_gone_on_after(tmp_path):
    rows = np.arange(2**21).reshape(64, 2**15)
    np.save(tmp_path / "rows.npy", rows)
    command = ["pack", tmp_path / "rows.npy", tmp_path / "x", "--shard-bytes", "4MiB"]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))

    assert_refused(run(*command, preexec_fn=limit), "can't be written", "too large", "pack again")
    assert not (tmp_path / "x").exists()
    assert run(*command).returncode == 0
    assert (columns_in(tmp_path / "x")["sample"] == rows).all()


def test_a_disk_too_full_to_close_what_is_open(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((200, 64), np.uint8))
    command = ["pack", tmp_path / "rows.npy", tmp_path / "x", "--shard-bytes", "64"]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        # No file of samples has so much, but the log of their checksums has.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, resource.RLIM_INFINITY))

    assert_refused(run(*command, preexec_fn=limit), "can't be written", "too large", "pack again")
    assert run(*command).returncode == 0
    assert len(hr.NpyShards(tmp_path / "x")) == 200


def test_more_than_the_disk_has_is_refused_at_once(tmp_path):
    class Vast:
        spec = hr.Spec((2**40,), np.dtype(np.uint8))

        def __len__(self):
            return 2**20

        def read(self, indices, out):
            raise AssertionError("nothing should be read")

    with pytest.raises(hr.StorageError, match=r"it takes \d+ bytes more, and \d+ are free"):
        pack(Vast(), tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


def test_memory_is_bounded(tmp_path):
    script = """
import resource, sys
import numpy as np
import headrace as hr
from headrace.packing import pack
from pathlib import Path

class Rows:
    spec = hr.Spec((2**20,), np.dtype(np.uint8))
    def __len__(self):
        return 512
    def read(self, indices, out):
        out[...] = (indices % 251)[:, None]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
pack(Rows(), Path(sys.argv[1]), workers=2)
print(peak() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert (rows[:, -1] == np.arange(512) % 251).all()
    if sys.platform == "linux":  # elsewhere the unit is another
        assert int(done.stdout) < rows.nbytes // 2
