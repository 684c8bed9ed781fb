"""Processes of JAX: arrays over the devices of all of them, made of each one's own rows."""

import importlib.util

import numpy as np
import pytest
from ports import free_ports

import headrace as hr

if importlib.util.find_spec("jax") is None:
    pytest.skip("needs JAX", allow_module_level=True)


@pytest.fixture(scope="module")
def ranks(run_ranks):
    return run_ranks("jax_batches.py", 2, *free_ports(1), JAX_PLATFORMS="cpu")


@pytest.mark.cell("JAX", "2 processes with ranks")
def test_two_processes_make_global_arrays_of_their_own_rows(ranks):
    sampler = hr.BatchSampler(75, 16, seed=6, tail="pad")
    expected = [sampler.indices(0, step).tolist() for step in range(5)]
    for number, rank in enumerate(ranks):
        assert rank["before"] == [0, 1]
        assert rank["world"] == [number, 2]
        assert rank["devices"] == [2, 4]
        assert rank["shapes"] == [[[16], [[4], [4]]]] * 5
        assert rank["steps"] == expected
        assert rank["totals"] == [float((np.arange(75.0) ** 2).sum()), 75]


@pytest.mark.cell("JAX", "2 processes without ranks")
def test_processes_that_would_get_the_wrong_rows_are_told(ranks):
    for said in (rank["said"] for rank in ranks):
        repeated = "each process gets all batches of this loader"
        assert repeated in said.pop("rows without ranks")
        assert repeated in said.pop("no sharding, without ranks")
        assert said.pop("all rows").startswith("world_size must be 1, as by the sharding")
        for tail in ("partial", "partial rung"):
            assert "a last batch of an epoch has 11 samples, of which 2" in said.pop(tail)
        assert set(said.values()) == {""}
