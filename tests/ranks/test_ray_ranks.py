"""Workers of Ray Train."""

import importlib.util
import os
import subprocess
import sys

import pytest

import headrace as hr

if not all(importlib.util.find_spec(name) for name in ("ray", "torch")):
    pytest.skip("needs Ray Train and PyTorch", allow_module_level=True)


def test_workers_of_ray_train_know_their_ranks_and_the_driver_is_none(run_ranks, tmp_path):
    alone = {"RAY_USAGE_STATS_ENABLED": 0, "RAY_AUTH_MODE": "disabled"}
    alone["RAY_local_fs_capacity_threshold"] = 1  # however full the disk is
    (told,) = run_ranks("ray_world.py", 1, tmp_path, **alone)
    assert told["driver"] == [0, 1]
    lone = hr.BatchSampler(20, 5)
    for trainer, has_torch in {"DataParallelTrainer": False, "TorchTrainer": True}.items():
        for rank, worker in enumerate(told[trainer]):
            assert worker == {
                "world": [rank, 2],
                "torch": has_torch,
                "steps": [lone.indices(0, 2 * step + rank).tolist() for step in range(2)],
            }


def test_version_1_of_ray_train_is_silent_outside_of_a_training_function():
    script = "import ray.train, headrace as hr; print(tuple(hr.world()))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"RAY_TRAIN_V2_ENABLED": "0", "RANK": "1", "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.splitlines()[-1] == "(1, 2)", done.stderr
    assert "meant to only be called inside" not in done.stderr
