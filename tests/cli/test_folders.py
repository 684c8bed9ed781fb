"""What the commands do with folders that hold more than samples; also what they say of others."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs headrace[cli]")

from command_line import assert_refused, run
from written import ROWS, WRITTEN, N

pytestmark = pytest.mark.filterwarnings("default::headrace.storage.passed_over.PassedOverWarning")

# How the options of `written.py` are typed.
FOLDERS = ["npy-files", "npz-files", "parquet", "arrow", "tar"]


def typed(format_name):
    columns = WRITTEN[format_name][2].get("columns")
    return ["--columns", columns] if columns else []


@pytest.fixture(params=FOLDERS)
def folder(request, tmp_path):
    """Six samples, and a copy of some of them that is bookkeeping; and the options to read them."""
    root = tmp_path / "data"
    root.mkdir()
    WRITTEN[request.param][0](root)
    first = min(root.iterdir())
    (root / "_temporary").mkdir()
    shutil.copy(first, root / "_temporary" / first.name)
    shutil.copy(first, root / f".{first.name}")
    return root, typed(request.param)


def test_what_is_packed_are_the_samples(tmp_path, folder):
    root, options = folder
    done = run("pack", root, tmp_path / "x.npy", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning: '_temporary/") == 1
    assert np.load(tmp_path / "x.npy").tolist() == ROWS.tolist()


def test_what_is_verified_are_the_samples(folder):
    root, options = folder
    done = run("verify", root, "--json", *options)
    assert done.stderr.count("Warning: '_temporary/") == 1
    assert json.loads(done.stdout)["samples"] == N
    assert done.returncode == 0


def test_a_bad_first_sample_does_not_bring_the_others_in(tmp_path):
    """Then the ids are listed by the command itself."""
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.zeros(2))
    np.save(tmp_path / "_3.npy", np.zeros(2))
    (tmp_path / "0.npy").write_bytes(b"damaged")
    found = json.loads(run("verify", tmp_path, "--json").stdout)
    assert (found["samples"], [bad["name"] for bad in found["bad"]]) == (3, ["0"])


@pytest.mark.parametrize("command", ["verify", "info"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.tar.gz", "b.tar.gz"], ["2 .tar.gz files", "decompress it", "--format"]),
        (["a.NPY", "b.NPY"], ["has none: it has 2 .NPY files. Rename them"]),
        (["a.PARQUET"], ["it has 1 .PARQUET file. Rename them"]),
        (["_a.npy"], ["it holds 1 .npy file"]),
    ],
)
def test_what_is_there_is_said_where_nothing_can_be_read(tmp_path, command, names, said):
    if ".PARQUET" in names[0]:
        pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    for name in names:
        (tmp_path / name).touch()
    done = run(command, tmp_path)
    assert done.returncode == {"verify": 2, "info": 1}[command]
    for part in said:
        assert part in done.stderr


def test_a_compressed_shard_is_told_so(tmp_path):
    (tmp_path / "x.tar.gz").touch()
    assert_refused(run("info", tmp_path / "x.tar.gz"), "'.tar.gz'", "decompress it")


def test_several_datasets_are_refused(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs headrace[arrow]")
    from pyarrow import feather

    for split in ("test", "train"):
        (tmp_path / split).mkdir()
        feather.write_feather(pa.table({"x": [1]}), tmp_path / split / "data.arrow")
        listed = json.dumps({"_data_files": [{"filename": "data.arrow"}]})
        (tmp_path / split / "state.json").write_text(listed)
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["test", "train"]}))
    done = run("verify", tmp_path)
    assert done.returncode == 2
    assert "has several, saved by Hugging Face: 'test', 'train'. Open one" in done.stderr
    assert run("verify", tmp_path / "train").returncode == 0
