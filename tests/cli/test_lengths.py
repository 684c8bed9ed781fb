"""What `headrace info`, `verify` and `pack` say of samples of any length."""

import json

import numpy as np
import pytest

import headrace as hr

pytest.importorskip("typer", reason="needs headrace[cli]")

from command_line import run

from headrace.cli import info
from headrace.cli.arguments import parse_options
from headrace.cli.lengths import lengths_found
from headrace.cli.opening import TypedOptions
from headrace.cli.verify import verify
from headrace.packing import pack


def test_the_distribution_of_lengths_and_what_padding_takes():
    lengths = np.array([4] * 50 + [8] * 49 + [64])
    found = lengths_found(np.random.default_rng(0).permutation(lengths), 100)
    assert found[:8] == (100, 4, lengths.mean(), 4, 8, 8, 64, 64)
    total, padding = int(lengths.sum()), found.padding
    assert padding.to_longest == pytest.approx(1 - total / 6400)
    assert padding.to_longest_of_batch == padding.to_longest
    assert padding.buckets == 0
    rows = -(-total // 64)
    assert padding.packed == pytest.approx(1 - total / (64 * rows))


def test_a_share_of_the_samples_is_at_most_as_long_as_it_says():
    for lengths in ([0, 0, 3], [1, 2], [5], list(range(1, 11)), [7] * 4 + [9]):
        found = lengths_found(np.array(lengths), 2)
        for length, share in zip(found[3:6], (0.5, 0.9, 0.99), strict=True):
            assert (
                np.mean(np.array(lengths) <= length) >= share > np.mean(np.array(lengths) < length)
            )


def test_a_batch_is_as_long_as_its_longest_sample():
    lengths = np.repeat([1, 5], [1, 9])
    assert lengths_found(lengths, 1).padding.to_longest_of_batch == 0
    assert lengths_found(lengths, 3).padding.to_longest_of_batch == pytest.approx(1 - 46 / 50)
    assert lengths_found(lengths, 3).padding.buckets == pytest.approx(1 - 46 / 73)


def test_samples_without_values_take_no_rows():
    found = lengths_found(np.zeros(5, np.int64), 2)
    assert (found.longest, found.row, found.padding) == (0, 1, (0, 0, 1, 0))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for index in range(20):
        np.save(root / f"{index:02}.npy", np.full((index, 2), index, "float32"))
    return root


@pytest.fixture
def shown(monkeypatch, capsys):
    """What `headrace info` prints."""
    monkeypatch.setattr(info, "_SECONDS", 0.02)

    def show(path, ragged=None, batch_size=20, as_json=False):
        options = parse_options(None, None, None, None, None, ragged=ragged)
        info.run_info(
            str(path), format_name=None, options=options, batch_size=batch_size, as_json=as_json
        )
        return capsys.readouterr().out

    return show


def test_files_of_any_length_are_packed_and_shown(folder, tmp_path, shown):
    target = tmp_path / "x.ragged"
    done = run("pack", folder, target, "--ragged", "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert hr.open(target).sample_lengths().tolist() == list(range(20))
    assert json.loads((tmp_path / "x.ragged.ids.json").read_text())[3] == "03"
    for path, ragged in ((target, None), (folder, "all")):
        text = shown(path, ragged)
        assert "float32 of shape (None, 2)" in text
        assert "sample: 0 to 19, 9.5 on average, told from 20 samples" in text
        assert "of a batch of 20" in text
        found = json.loads(shown(path, ragged, as_json=True))
        assert found["sample_bytes"] == 76
        assert found["lengths"]["sample"]["longest"] == 19


def test_verify_reads_samples_of_any_length(folder, tmp_path):
    assert "pass ragged=True" in verify(str(folder)).bad[0].reason
    every = TypedOptions(ragged=True)
    assert verify(str(folder), options=every)[1:] == (20, 0, [])
    path = folder / "07.npy"
    path.write_bytes(path.read_bytes()[:-1])
    (bad,) = verify(str(folder), options=every).bad
    assert (bad.sample, bad.name) == (7, "07")
    packed = pack(hr.NpyFiles(folder, ["03", "09"], ragged=True), tmp_path / "x.ragged")
    assert verify(str(packed.target))[1:] == (2, 2, [])
    values = tmp_path / "x.ragged" / "values.npy"
    values.write_bytes(values.read_bytes()[:-1] + b"?")
    (bad,) = verify(str(packed.target)).bad
    assert bad.name == "values.npy"


def test_ragged_is_named_by_the_arrays():
    options = parse_options(None, None, None, None, None, ragged="tokens,boxes")
    assert options.ragged == ["tokens", "boxes"]
    assert parse_options(None, None, None, None, None).ragged is None
