"""Workers of Ray Train."""

import importlib.util

import pytest

import headrace as hr

if not all(importlib.util.find_spec(name) for name in ("ray", "torch")):
    pytest.skip("needs Ray Train and PyTorch", allow_module_level=True)


def test_workers_of_ray_train_know_their_ranks_and_the_driver_is_none(run_ranks, tmp_path):
    (told,) = run_ranks("ray_world.py", 1, tmp_path, RAY_USAGE_STATS_ENABLED=0)
    assert told["driver"] == [0, 1]
    lone = hr.BatchSampler(20, 5)
    for trainer, has_torch in {"DataParallelTrainer": False, "TorchTrainer": True}.items():
        for rank, worker in enumerate(told[trainer]):
            assert worker == {
                "world": [rank, 2],
                "torch": has_torch,
                "steps": [lone.indices(0, 2 * step + rank).tolist() for step in range(2)],
            }
