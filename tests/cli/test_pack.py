"""`headrace pack`: its options, what it refuses, and that a kill or a full disk costs nothing."""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import tarfile

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs headrace[cli]")

from command_line import assert_refused, run, run_apart
from other_python import run_python
from packed import assert_manifests_hold, columns_in, needed
from written import ROWS, write_files

import headrace as hr


def test_a_subset_is_packed_with_its_ids_and_labels(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for index in range(9):
        np.save(root / f"{index}.npy", np.full(3, index))
    (tmp_path / "labels.json").write_text(json.dumps({str(index): -index for index in range(9)}))
    np.save(tmp_path / "some.npy", [8, 1, 4])
    options = ("--labels", tmp_path / "labels.json")
    for subset, expected in ((tmp_path / "some.npy", [8, 1, 4]), ("2::3", [2, 5, 8])):
        done = run("pack", root, tmp_path / "x.npy", "--subset", subset, "--force", *options)
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "x.npy")[:, 0].tolist() == expected
        assert np.load(tmp_path / "x.labels.npy").tolist() == [-index for index in expected]
        assert json.loads((tmp_path / "x.ids.json").read_text()) == list(map(str, expected))
    (root / "5.npy").write_bytes(b"?")
    done = run("pack", root, tmp_path / "y.npy", "--subset", "2::3")
    assert_refused(done, "sample 5 can't be read", "verify", "with the same options")


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

    @pytest.mark.parametrize(
        "options",
        [["--label-field", "y"], ["--columns", " x ", "--label-field", "y"], ["--columns", "y"]],
        ids=["a label", "a column and a label", "a column"],
    )
    def test_one_of_them_may_be_the_label_or_be_chosen(self, tmp_path, archives, options):
        done = run("pack", archives, tmp_path / "x.npy", *options)
        assert done.returncode == 0, done.stderr
        if "--label-field" in options:
            assert np.load(tmp_path / "x.npy").tolist() == [[index] * 3 for index in range(9)]
            assert np.load(tmp_path / "x.labels.npy").tolist() == list(range(9))
        else:
            assert np.load(tmp_path / "x.npy").tolist() == list(range(9))

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
            ("y.csv", "id-00," + "1" * 2**18, ["--labels", "y.csv: field larger than"]),
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


def test_a_tar_tells_which_fields_there_are(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("0.cls", "0.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"7"))
    assert_refused(
        run("pack", tmp_path / "a.tar", tmp_path / "x.npy"), "--columns", "cls (1), txt (1)"
    )


class TestRefused:
    def test_no_source(self, tmp_path):
        assert_refused(run("pack", tmp_path / "none", tmp_path / "x.npy"), "none", "existing")

    def test_an_unclear_source(self, tmp_path):
        (tmp_path / "mixed").mkdir()
        (tmp_path / "mixed" / "a.npy").touch()
        (tmp_path / "mixed" / "a.npz").touch()
        done = run("pack", tmp_path / "mixed", tmp_path / "x.npy")
        assert_refused(done, "1 .npy and 1 .npz", "--format", "npy-files")

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
        assert_refused(run("pack", source, tmp_path / "x.h5"), "DST", ".parquet or .ragged")

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


# Without Python's own handling of it, this signal ends a process that writes more than it may.
KILLED_AT = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
del sys.argv[1]
runpy.run_module("headrace", run_name="__main__", alter_sys=True)
"""


def test_the_command_killed_at_several_times(tmp_path):
    rows = np.random.default_rng(1).integers(0, 256, (240, 2**18), np.uint8)
    np.save(tmp_path / "rows.npy", rows)
    expected = hashlib.sha256((tmp_path / "rows.npy").read_bytes()).hexdigest()
    command = ["pack", tmp_path / "rows.npy", tmp_path / "x.npy"]
    for share in (0.01, 0.4, 0.8):
        done = run_python("-c", KILLED_AT, int(share * rows.nbytes), *command)
        assert done.returncode == -signal.SIGXFSZ, done.stderr
        assert not (tmp_path / "x.npy").exists()
    assert run_apart(*command).returncode == 0
    assert hashlib.sha256((tmp_path / "x.npy").read_bytes()).hexdigest() == expected
    assert_manifests_hold(tmp_path / "x.npy")
    assert sorted(os.listdir(tmp_path)) == ["rows.npy", "x.npy", "x.npy.manifest.json"]


@pytest.mark.parametrize(
    ("rows", "shard_bytes", "limit"),
    [
        (np.arange(2**21).reshape(64, 2**15), 2**22, 2**20),
        # No file of samples has so much, but the log of their checksums has.
        (np.zeros((200, 64), np.uint8), 64, 2**12),
    ],
    ids=["for samples", "to close what is open"],
)
def test_a_full_disk_is_told_and_gone_on_after(tmp_path, rows, shard_bytes, limit):
    np.save(tmp_path / "rows.npy", rows)
    command = ["pack", tmp_path / "rows.npy", tmp_path / "x", "--shard-bytes", shard_bytes]

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    assert_refused(
        run_apart(*command, preexec_fn=limited), "can't be written", "too large", "pack again"
    )
    assert not (tmp_path / "x").exists()
    assert run(*command).returncode == 0
    assert (columns_in(tmp_path / "x")["sample"] == rows).all()
    assert len(hr.NpyShards(tmp_path / "x")) == len(rows)


def test_files_of_any_kind_by_a_function(tmp_path, monkeypatch):
    root, target = tmp_path / "data", tmp_path / "x.npy"
    root.mkdir()
    write_files(root)
    options = ("--decode", "picklable:bytes_2x2", "--suffixes", ".bin")
    done = run("pack", root, target, *options)
    assert done.returncode == 0, done.stderr
    assert np.load(target).tolist() == ROWS.tolist()
    assert json.loads((tmp_path / "x.ids.json").read_text()) == list("012345")
    monkeypatch.setattr("headrace.cli.info._SECONDS", 0.01)
    done = run("info", root, *options, "--json")
    assert json.loads(done.stdout)["arrays"]["sample"] == {"shape": [2, 2], "dtype": "uint8"}
