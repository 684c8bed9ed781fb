"""`headrace demo`: what it leaves on disk, what it says, and that it fails when it should."""

import json
import os
import re

import numpy as np
import pytest
from other_python import run_python

import headrace as hr

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")
datasets = pytest.importorskip("sklearn.datasets", reason="the demo's data come from scikit-learn")

from headrace.cli.demonstration.demo import DemoError, _compare, check_folder
from headrace.cli.demonstration.digits import write_digits
from headrace.cli.demonstration.keras_backend import BACKENDS, choose_backend, is_installed
from headrace.cli.demonstration.tutorial import TutorialGenerator
from headrace.cli.report import Report

# Keras is imported by the demo's own process alone, as importing it warns.
needs_keras = pytest.mark.skipif(
    not is_installed("keras") or not any(map(is_installed, BACKENDS)),
    reason="the demo trains with Keras, on jax, tensorflow or torch",
)


def run(*command, **environment):
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("KERAS_BACKEND") not in BACKENDS:  # one that can't train
            patch.delenv("KERAS_BACKEND", raising=False)
        return run_python(*command, environment=environment)


@needs_keras
def test_end_to_end(tmp_path):
    folder = tmp_path / "new" / "[bold]folder"  # the name must not be taken for markup
    done = run("-m", "headrace", "demo", "--folder", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr

    assert_holds_the_digits(folder)
    backend = re.search(r"^   Keras \S+ on (\w+)", done.stdout, re.M)[1]
    assert backend in BACKENDS
    assert len(re.findall(r"^   epoch +\d+/12 .*validation accuracy", done.stdout, re.M)) == 12
    assert_same_in_all_ways(done.stdout, backend)
    assert_ratio_is_that_of_the_rates(done.stdout)
    accuracy = re.search(r"([\d.]+)% validation accuracy from files", done.stdout)[1]
    assert float(accuracy) > 95
    assert done.stdout.splitlines()[-1].endswith(f"The files are kept in {folder}.")


def assert_holds_the_digits(folder):
    data = datasets.load_digits()
    assert {path.name for path in folder.iterdir()} == {"data", "labels.json", "partition.json"}
    ids = [f"id-{number:04}" for number in range(1, 1798)]
    assert sorted(path.name for path in (folder / "data").iterdir()) == [f"{i}.npy" for i in ids]
    for name, image in zip(ids, data.images, strict=True):
        stored = np.load(folder / "data" / f"{name}.npy")
        assert (stored.dtype, stored.shape) == (np.float32, (8, 8, 1))
        np.testing.assert_array_equal(stored[:, :, 0] * 16, image)
    labels = json.loads((folder / "labels.json").read_text())
    assert labels == dict(zip(ids, data.target.tolist(), strict=True))
    partition = json.loads((folder / "partition.json").read_text())
    assert list(partition) == ["train", "validation"]
    assert sorted(partition["train"] + partition["validation"]) == ids


def assert_same_in_all_ways(output, backend):
    expected = re.search(r"^   ([0-9a-f]{8})  expected", output, re.M)[1]
    ways = re.findall(r"^   (\S{8})  same: (.*)$", output, re.M)
    assert {hash_ for hash_, _ in ways} == {expected}
    names = ["loader.batch(3, 7)", "next(iter(loader))", f"loader.to_keras()[7], {backend}"]
    for module, way in [("torch", "to_torch"), ("jax", "to_jax")]:
        line = f"next(iter(loader.{way}()))"
        if is_installed(module):
            names.append(line)
        else:
            assert f"{line}: " in output
    assert [name for _, name in ways] == names
    assert f"the same bytes in {len(names)}" in output


def assert_ratio_is_that_of_the_rates(output):
    # Not whether it is fast: a test must not fail because the machine is busy.
    rows = re.findall(
        r"^   (the tut|headrace).*?([\d,]+) +[\d,]+ +[\d,]+ +\S+ +(\S+)$", output, re.M
    )
    assert len(rows) == 3
    rates = [float(rate.replace(",", "")) for _, rate, _ in rows]
    for rate, (_, _, ratio) in zip(rates, rows, strict=True):
        assert float(ratio) == pytest.approx(rate / rates[0], abs=0.01)
    times = re.search(r"([\d.]+) times the samples per second", output)[1]
    assert float(times) == pytest.approx(rates[-1] / rates[0], abs=0.06)


@needs_keras
def test_a_model_that_does_not_learn_is_an_error_and_the_files_are_deleted(tmp_path):
    script = """
import sys
from headrace.cli import main
from headrace.cli.demonstration import demo
demo.EPOCHS, demo.GOAL = 1, 1.0
sys.argv = ["headrace", "demo"]
sys.exit(main())
"""
    done = run("-c", script, TMPDIR=str(tmp_path), TEMP=str(tmp_path), TMP=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"in {tmp_path}" in done.stdout
    assert "Error: the model should reach a validation accuracy of over 100.0%" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("headrace-demo-*")) == []


def test_a_batch_that_differs_is_an_error(tmp_path, capsys):
    digits = write_digits(tmp_path)
    changed = digits._replace(images={name: 1 - image for name, image in digits.images.items()})
    with pytest.raises(DemoError, match=r"loader\.batch\(3, 7\) should hold the samples"):
        _compare(Report(), changed, "jax")
    assert "DIFFERS: loader.batch(3, 7)" in capsys.readouterr().out


@needs_keras
def test_a_folder_with_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run("-m", "headrace", "demo", "--folder", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: --folder must be an empty folder or one that does not exist yet")
    assert repr(str(tmp_path)) in line
    assert line.endswith("Name another folder.")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_which_folders_are_refused(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "not" / "there")
    file = tmp_path / "file"
    file.write_text("")
    for refused in (tmp_path, file, file / "below"):
        with pytest.raises(hr.ArgumentError, match=r"^--folder must be an empty folder"):
            check_folder(refused)


@needs_keras
def test_the_backend_is_the_users_or_the_first_installed(monkeypatch):
    installed = [name for name in BACKENDS if is_installed(name)]
    for given, chosen in [(None, installed[0]), ("", installed[0]), (installed[-1],) * 2]:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        if given is not None:
            monkeypatch.setenv("KERAS_BACKEND", given)
        assert choose_backend() == os.environ["KERAS_BACKEND"] == chosen
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(hr.ArgumentError, match=r"^KERAS_BACKEND must be .* but 'numpy' was given"):
        choose_backend()


def test_the_tutorials_generator_makes_the_same_batches(tmp_path):
    digits = write_digits(tmp_path)
    ids = digits.partition["train"]
    tutorial = TutorialGenerator(ids, digits.labels, digits.root, 32, (8, 8, 1), 10, shuffle=False)
    source = (hr.NpyFiles(digits.root, ids), hr.Labels(digits.labels, ids, n_classes=10))
    with hr.Loader(source, batch_size=32, shuffle=False) as loader:
        ours, theirs = list(loader), list(tutorial)
    assert len(ours) == len(theirs) == len(tutorial) == len(ids) // 32
    for our, their in zip(ours, theirs, strict=True):
        for a, b in zip(our, their, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_the_tutorials_generator_shuffles_each_epoch(tmp_path):
    digits = write_digits(tmp_path)
    ids = digits.partition["validation"]
    tutorial = TutorialGenerator(ids, digits.labels, digits.root, 60, (8, 8, 1), 10)
    first, second = ([y for _, y in tutorial] for _ in range(2))
    assert np.concatenate(first).sum(axis=0).tolist() == np.concatenate(second).sum(axis=0).tolist()
    assert not np.array_equal(first, second)
