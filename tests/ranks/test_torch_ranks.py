"""Processes of PyTorch: torch.distributed over gloo, and torchrun."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from other_python import run_python
from running_ranks import LOCAL

import headrace as hr

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs PyTorch", allow_module_level=True)

GLOBAL_BATCH = 12
SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def run_torch(run_ranks, tmp_path):
    """`run_ranks` for scripts that meet in a file."""
    stores = iter(range(100))

    def run(script, world_size, *arguments, **environment):
        store = tmp_path / f"store-{next(stores)}"
        return run_ranks(script, world_size, store, *arguments, **LOCAL, **environment)

    return run


@pytest.mark.cell("PyTorch", "2 processes with ranks")
def test_ddp_trains_the_same_weights_on_1_2_and_4_ranks(run_torch):
    alone = run_torch("torch_train.py", 1, GLOBAL_BATCH)[0]
    order = hr.BatchSampler(90, GLOBAL_BATCH, seed=4)
    steps = [order.indices(epoch, step).tolist() for epoch in range(2) for step in range(7)]
    assert alone["steps"] == steps
    assert not np.allclose(alone["weights"], 0)
    for world_size in (2, 4):
        ranks = run_torch("torch_train.py", world_size, GLOBAL_BATCH)
        assert [rank["before"] for rank in ranks] == [[0, 1]] * world_size
        assert [rank["world"] for rank in ranks] == [[r, world_size] for r in range(world_size)]
        together = [
            [number for part in parts for number in part]
            for parts in zip(*(rank["steps"] for rank in ranks), strict=True)
        ]
        assert together == steps
        for rank in ranks:
            np.testing.assert_allclose(rank["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
            for total, count in rank["losses"].values():  # padded and partial: 90 = 7 * 12 + 6
                assert count == 90
                assert total == pytest.approx(rank["everything"], rel=1e-4)


def test_what_four_processes_began_two_go_on_with(run_torch, tmp_path):
    saved = tmp_path / "state.json"
    four = run_torch("torch_steps.py", 4, saved, 6, 2)
    assert json.loads(saved.read_text())["position"] == 48
    two = run_torch("torch_steps.py", 2, saved, 5)
    seen = [
        number
        for ranks in (four, two)
        for step in zip(*ranks, strict=True)  # each rank has the same number of steps
        for batch in step
        for number in batch
    ]
    assert seen == hr.BatchSampler(103, 103, seed=9).indices(0, 0).tolist()
    state = json.loads(saved.read_text())
    assert (state["epoch"], state["position"]) == (1, 0)


def test_torchrun_tells_by_its_environment_what_torch_distributed_tells(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run_python(*launcher, SCRIPTS / "torch_world.py", tmp_path, environment=LOCAL)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert told == [[rank, 2], [rank, 2]]


def test_an_environment_that_contradicts_torch_distributed_is_an_error(run_torch):
    (message,) = run_torch("torch_world.py", 1, RANK=3, WORLD_SIZE=4)
    assert message == (
        "rank and world_size can't be found out: torch.distributed says rank 0 of 1, but "
        "the environment (RANK, WORLD_SIZE) says rank 3 of 4. Pass rank= and world_size= to the "
        "loader instead of asking headrace.world()."
    )


def test_half_an_environment_does_not_matter_where_torch_distributed_speaks(run_torch):
    (told,) = run_torch("torch_world.py", 1, WORLD_SIZE=4)
    assert told == [0, 1]
