"""A training that SIGKILL ends at some moment goes on with the next batch, in another process."""

import subprocess
import sys
import time

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import resumable_training
from keras_recording import some, trains

pytestmark = trains
SCRIPT = resumable_training.__file__
DEADLINE_S = 300
# Of each process but the last: how often it saves, and the lines after which it is killed.
KILLED = some([("epoch", 13), ("2", 27)], few=[("2", 13)])


def start(folder, save_freq):
    names = ["train.weights.h5", save_freq, "log", "result.npy"]
    with (folder / "stderr").open("w") as stderr:
        return subprocess.Popen([sys.executable, SCRIPT, *names], cwd=folder, stderr=stderr)


def kill(process, log, lines):
    """Kills the process at some time after it has logged so many lines, or lets it end."""
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= lines):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What it logs, and the weights that it ends with; here, as its imports take longest."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    log, result = folder / "log", folder / "result.npy"
    resumable_training.main(folder / "train.weights.h5", "epoch", log, result)
    return log.read_text().splitlines(), np.load(result)


def test_it_trains_on_the_same_batches(uninterrupted, tmp_path):
    reference, weights = uninterrupted
    log, done = tmp_path / "log", 0
    for save_freq, stop in [*KILLED, ("2", None)]:
        log.unlink(missing_ok=True)
        process = start(tmp_path, save_freq)
        if stop is None:
            assert process.wait(DEADLINE_S) == 0, (tmp_path / "stderr").read_text()
        else:
            kill(process, log, max(1, stop - done))
        lines = log.read_text().splitlines()
        # What it did is a piece of what the other one did, without a gap to what was done before.
        began = reference.index(lines[0])
        assert reference[began : began + len(lines)] == lines
        assert began <= done
        done = began + len(lines)
    assert done == len(reference)
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), weights, rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "result.npy", "stderr"]
