"""`headrace verify`: every bad sample is listed, by name and reason, and the exit code tells."""

import contextlib
import json

import numpy as np
import pytest
from other_python import run_script

from headrace.packing import Shape, pack
from headrace.readers.array import ArrayReader
from headrace.storage.manifest import Manifest

pytest.importorskip("typer", reason="needs headrace[cli]")

from command_line import run as run_headrace
from command_line import run_apart

from headrace.cli.opening import TypedOptions
from headrace.cli.verify import verify


def run(*arguments):
    return run_headrace("verify", *arguments)


def bad_names(found):
    return {bad.name for bad in found.bad}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for index in range(40):
        np.save(root / f"{index:02}.npy", np.full((5,), index, np.float32))
    return root


def damage(root, name, how):
    path = root / name
    data = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[:-3])
    elif how == "magic":
        path.write_bytes(b"X" + data[1:])
    elif how == "shape":
        np.save(path, np.zeros((6,), np.float32))
    elif how == "dtype":
        np.save(path, np.zeros((5,), np.int16))
    elif how == "objects":
        np.save(path, np.array([None] * 5), allow_pickle=True)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "missing":
        path.unlink()


def ids_of(root):
    return [f"{index:02}" for index in range(40)]


def test_all_good(folder):
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 samples (npy-files): all good" in done.stdout


def test_of_a_subset_nothing_else_is_read(folder, tmp_path):
    for name in ("00.npy", "03.npy", "17.npy", "30.npy"):
        damage(folder, name, "cut")
    (tmp_path / "some.json").write_text("[17, 0, 5]")
    (tmp_path / "some.txt").write_text("17\n0\n5\n")
    np.save(tmp_path / "some.npy", [17, 0, 5])
    for some in ("some.json", "some.txt", "some.npy"):
        found = json.loads(run(folder, "--json", "--subset", tmp_path / some).stdout)
        assert [(bad["sample"], bad["name"]) for bad in found["bad"]] == [(0, "00"), (17, "17")]
        assert found["samples"] == 3
    assert "11 samples (npy-files): 1 bad" in run(folder, "--subset", "16:27").stdout
    assert run(folder, "--subset", "4:16").returncode == 0
    for wrong in ("30:50:0", "none.txt", tmp_path / "data"):
        done = run(folder, "--subset", wrong)
        assert (done.returncode, "--subset must be a slice" in done.stderr) == (2, True)
    (tmp_path / "some.txt").write_text("40")
    assert "--subset must be in range(40)" in run(folder, "--subset", tmp_path / "some.txt").stderr
    done = run(folder, "--subset", ":9", "--manifest", "x")
    assert "--manifest must be left out with --subset" in done.stderr


REASONS = {
    "empty": "ends within its header",
    "cut": "it ends after",
    "magic": "begins with",
    "shape": "its shape is (6,)",
    "dtype": "its dtype is int16",
    "objects": "never unpickled",
    "folder": "directory",
    "missing": "there is no file",
}


# The first good sample is what the others are compared with.
CASES = [
    (index, how)
    for how in REASONS
    for index in ((17, 39) if how in ("shape", "dtype") else (0, 17, 39))
]


@pytest.mark.parametrize(("index", "how"), CASES)
def test_each_kind_of_damage(folder, index, how):
    damage(folder, f"{index:02}.npy", how)
    found = verify(str(folder), options=TypedOptions(ids=ids_of(folder)))
    (bad,) = found.bad
    assert (bad.name, bad.sample) == (f"{index:02}", index)
    assert REASONS[how] in bad.reason
    assert found.samples == 40


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("rows", [1, 7, 1024])
def test_all_bad_samples_of_a_batch_are_listed_in_order(folder, monkeypatch, workers, rows):
    monkeypatch.setattr("headrace.cli.verify._MOST_IN_A_BATCH", rows)
    wrong = [0, 1, 2, 9, 10, 20, 38, 39]
    for index in wrong:
        damage(folder, f"{index:02}.npy", list(REASONS)[index % 3])
    found = verify(str(folder), workers=workers)
    assert [bad.sample for bad in found.bad] == wrong
    assert [bad.name for bad in found.bad] == [f"{index:02}" for index in wrong]


def test_all_samples_bad(folder):
    for index in range(40):
        damage(folder, f"{index:02}.npy", "cut")
    found = verify(str(folder))
    assert [bad.sample for bad in found.bad] == list(range(40))


class TestTheCommand:
    def test_bad_samples(self, folder):
        damage(folder, "03.npy", "cut")
        damage(folder, "30.npy", "empty")
        done = run(folder)
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[0].strip().startswith("sample 3, 03: ")
        assert lines[1].strip().startswith("sample 30, 30: ")
        assert lines[2].strip() == "40 samples (npy-files): 2 bad"

    def test_names_that_the_terminal_can_not_show(self, folder):
        (folder / "\u00e9.npy").write_bytes(b"")
        done = run_apart("verify", folder, environment={"PYTHONIOENCODING": "ascii"})
        assert done.returncode == 1
        assert "sample 40, \\xe9: " in done.stdout

    def test_as_json(self, folder):
        damage(folder, "03.npy", "cut")
        done = run(folder, "--json")
        assert done.returncode == 1
        found = json.loads(done.stdout)
        assert (found["good"], found["samples"], found["format"]) == (False, 40, "npy-files")
        assert [(bad["name"], bad["sample"]) for bad in found["bad"]] == [("03", 3)]

    def test_ids_that_have_no_file(self, folder, tmp_path):
        (tmp_path / "ids.txt").write_text("\ufeff05\nnone\n\n06\n\n", encoding="utf-8")
        done = run(folder, "--ids", tmp_path / "ids.txt")
        assert done.returncode == 1
        assert "sample 1, none: " in done.stdout
        assert "3 samples (npy-files): 1 bad" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["nothing-here"], ["nothing-here", "existing file or folder"]),
            ([".", "--format", "tape"], ["--format", "npy-files", "'tape'"]),
            ([".", "--size", "8"], ["--size", "224x224"]),
            ([".", "--manifest", "none.json"], ["--manifest", "none.json"]),
        ],
    )
    def test_that_can_not_run(self, folder, monkeypatch, arguments, parts):
        monkeypatch.chdir(folder)
        done = run(*arguments)
        assert done.returncode == 2
        assert all(part in done.stderr for part in parts), done.stderr

    def test_without_the_library_of_a_format(self, tmp_path):
        (tmp_path / "x.h5").write_bytes(b"")
        script = (
            "import sys; sys.modules['h5py'] = None; sys.argv = ['headrace', 'verify', 'x.h5']\n"
            "from headrace.cli import main; sys.exit(main())"
        )
        done = run_script(script, cwd=tmp_path)
        assert done.returncode == 2
        assert "pip install 'headrace[hdf5]'" in done.stderr


class TestManifests:
    @pytest.fixture
    def rows(self):
        return np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)

    @pytest.mark.parametrize("name", ["x.npy", "x", "x.zarr", "x.parquet"])
    def test_a_flipped_bit_in_any_packed_file_is_found(self, tmp_path, rows, name):
        if name == "x.zarr":
            pytest.importorskip("zarr", reason="needs headrace[zarr]")
        if name == "x.parquet":
            pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
        target = tmp_path / name
        shape = Shape(batch_bytes=1200, shard_bytes=2400, block_bytes=480)
        texts = {"ids": [f"id {index}" for index in range(40)]}
        pack(ArrayReader(rows), target, shape=shape, texts=texts)
        assert verify(str(target)).bad == []
        packed = [path for path in tmp_path.rglob("*") if path.is_file()]
        for path in packed:
            if "manifest.json" in path.name:
                continue
            good = path.read_bytes()
            path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            found = verify(str(target))
            root = target if target in path.parents else tmp_path
            assert str(path.relative_to(root)) in bad_names(found)
            assert found.samples in (0, 40)
            if path != target:
                path.unlink()
                assert str(path.relative_to(root)) in bad_names(verify(str(target)))
            path.write_bytes(good)
        assert verify(str(target)).bad == []

    def test_of_ones_own(self, folder, tmp_path):
        Manifest.of(folder).save(tmp_path / "sums.json")
        assert run(folder, "--manifest", tmp_path / "sums.json").returncode == 0
        data = bytearray((folder / "07.npy").read_bytes())
        data[-2] ^= 8  # still a sample, but another one
        (folder / "07.npy").write_bytes(data)
        assert verify(str(folder)).bad == []
        done = run(folder, "--manifest", tmp_path / "sums.json")
        assert done.returncode == 1
        assert "file, 07.npy: its bytes are not those of the manifest" in done.stdout

    def test_progress_goes_on_within_a_file(self, tmp_path, monkeypatch):
        rows = np.zeros((40, 2**19), np.uint8)
        pack(ArrayReader(rows), tmp_path / "x.npy")
        shown = []

        @contextlib.contextmanager
        def transfer(text, nbytes):
            shown.append((text, nbytes, done := []))
            yield done.append

        monkeypatch.setattr("headrace.cli.verify.transfer", transfer)
        assert verify(str(tmp_path / "x.npy")).bad == []
        text, nbytes, done = shown[-1]
        assert (text, done[-1]) == ("comparing files", nbytes)
        assert done == sorted(done)
        assert len(done) > 2

    def test_that_is_damaged(self, folder):
        (folder / "manifest.json").write_text("{")
        done = run(folder)
        assert done.returncode == 2
        assert str(folder / "manifest.json") in done.stderr


class TestOtherFormats:
    def test_npz(self, tmp_path):
        root = tmp_path / "data"
        root.mkdir()
        for index in range(6):
            np.savez(root / f"{index}.npz", x=np.full(100, index))
        data = bytearray((root / "4.npz").read_bytes())
        data[-300] ^= 1
        (root / "4.npz").write_bytes(data)
        (root / "0.npz").write_bytes(b"")
        found = verify(str(root))
        assert [bad.name for bad in found.bad] == ["0", "4"]

    def test_hdf5_chunks(self, tmp_path):
        h5py = pytest.importorskip("h5py", reason="needs headrace[hdf5]")
        path = tmp_path / "x.h5"
        rows = np.random.default_rng(0).integers(0, 99, (20, 50))
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("x", data=rows, chunks=(5, 50), compression="gzip")
            chunk = dataset.id.get_chunk_info(2)
        data = bytearray(path.read_bytes())
        data[chunk.byte_offset : chunk.byte_offset + 40] = b"\xff" * 40
        path.write_bytes(data)
        found = verify(str(path))
        assert [bad.sample for bad in found.bad] == [10, 11, 12, 13, 14]

    def test_a_lost_chunk_of_zarr(self, tmp_path):
        zarr = pytest.importorskip("zarr", reason="needs headrace[zarr]")
        root = tmp_path / "x.zarr"
        zarr.create_array(root, data=np.arange(40).reshape(20, 2) + 1, chunks=(5, 2))
        assert verify(str(root)).bad == []
        manifest = Manifest.of(root)
        (root / "c" / "1" / "0").unlink()
        found = verify(str(root))
        assert [bad.sample for bad in found.bad] == [5, 6, 7, 8, 9]
        assert "'c/1/0'" in found.bad[0].reason
        done = run(root, "--missing", "fill")
        assert "all good" in done.stdout
        manifest.save(root / "manifest.json")
        assert bad_names(verify(str(root))) == {"c/1/0"}
        done = run(root, "--missing", "zero")
        assert (done.returncode, "--missing must be fill or error" in done.stderr) == (2, True)

    def test_a_whole_file(self, tmp_path):
        (tmp_path / "x.npy").write_bytes(b"nothing")
        found = verify(str(tmp_path / "x.npy"))
        (bad,) = found.bad
        assert (bad.sample, found.samples) == (None, 0)
        assert bad.name.endswith("x.npy")

    def test_images(self, tmp_path):
        image = pytest.importorskip("PIL.Image", reason="needs headrace[images]")
        (tmp_path / "cat").mkdir()
        for index in range(5):
            noise = np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)
            image.fromarray(noise).save(tmp_path / "cat" / f"{index}.png")
        data = (tmp_path / "cat" / "3.png").read_bytes()
        (tmp_path / "cat" / "3.png").write_bytes(data[: len(data) // 2])
        found = verify(str(tmp_path), options=TypedOptions(size=(8, 8)))
        assert [bad.name for bad in found.bad] == ["cat/3.png"]
        (tmp_path / "cat" / "0.png").write_bytes(b"none")
        found = verify(str(tmp_path))  # at the size of the first that is one
        assert [bad.name for bad in found.bad] == ["cat/0.png", "cat/3.png"]
        for index in range(5):
            (tmp_path / "cat" / f"{index}.png").write_bytes(b"none")
        assert [bad.sample for bad in verify(str(tmp_path)).bad] == [0, 1, 2, 3, 4]


class TestBehindAUrl:
    @pytest.fixture
    def server(self, tmp_path):
        pytest.importorskip("obstore", reason="needs headrace[remote]")
        from web_server import FileServer

        with FileServer(tmp_path) as server:
            yield server.url

    def test_a_folder_is_listed_and_compared_by_its_manifest(self, tmp_path, server):
        rows = np.arange(200.0).reshape(40, 5)
        pack(ArrayReader(rows), tmp_path / "x", shape=Shape(batch_bytes=80, shard_bytes=400))
        done = run(f"{server}/x", "--format", "npy-shards")
        assert (done.returncode, done.stderr) == (0, "")
        assert "40 samples (npy-shards), 4 files by their checksums: all good" in done.stdout
        assert verify(f"{server}/x").format == "npy-shards"

    def test_the_root_of_a_server(self, tmp_path, server):
        np.save(tmp_path / "a.npy", np.arange(3))
        np.save(tmp_path / "b.npy", np.arange(4))
        found = verify(server, "npy-files", TypedOptions(ids=["a", "b"]))
        assert (found.samples, [bad.name for bad in found.bad]) == (2, ["b"])

    def test_nothing_there(self, server):
        done = run(f"{server}/none.npy")
        assert done.returncode == 2
        assert "there is no object 'none.npy'" in done.stderr
        with pytest.raises(FileNotFoundError):
            verify(f"{server}/none.tar", options=TypedOptions(columns="cls"))

    def test_a_file_that_the_manifest_knows_is_gone(self, tmp_path, server):
        pack(ArrayReader(np.arange(200.0).reshape(40, 5)), tmp_path / "x.npy")
        (tmp_path / "x.npy").unlink()
        found = verify(f"{server}/x.npy")
        assert {bad.sample for bad in found.bad} == {None}

    def test_one_file(self, tmp_path, server):
        pack(ArrayReader(np.arange(200.0).reshape(40, 5)), tmp_path / "x.npy")
        found = verify(f"{server}/x.npy")
        assert (found.samples, found.files, found.bad) == (40, 1, [])
        data = bytearray((tmp_path / "x.npy").read_bytes())
        data[-1] ^= 1
        (tmp_path / "x.npy").write_bytes(data)
        assert [bad.name for bad in verify(f"{server}/x.npy").bad] == ["x.npy"]


def test_files_of_any_kind_by_a_function(tmp_path, monkeypatch):
    """Of a module in the present folder; the first file may be bad, too."""
    (tmp_path / "numbers_in_text.py").write_text("def decode(data):\n    return [int(data)]\n")
    root = tmp_path / "data"
    root.mkdir()
    for index in range(5):
        (root / f"{index}.txt").write_text(str(index))
    (root / "other.md").touch()
    monkeypatch.chdir(tmp_path)
    options = ("--decode", "numbers_in_text:decode", "--suffixes", ".txt")
    assert run("data", *options).returncode == 0
    for index in (0, 3):
        (root / f"{index}.txt").write_text("x")
    done = run("data", *options, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["format"], found["samples"]) == ("files", 5)
    assert [bad["name"] for bad in found["bad"]] == ["0", "3"]
    assert "ValueError: invalid literal" in found["bad"][0]["reason"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("json", "a function of a module"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("json:nothing", "has no attribute 'nothing'"),
        ("json:__name__", "It is a str"),
    ],
)
def test_a_function_that_there_is_not(folder, text, said):
    done = run(folder, "--decode", text)
    assert done.returncode == 2
    assert "--decode must be a function of a module" in done.stderr
    assert said in done.stderr
