"""Processes of JAX: arrays over the devices of all of them, made of each one's own rows."""

import importlib.util

import numpy as np
import pytest
from ports import free_ports

import headrace as hr

if importlib.util.find_spec("jax") is None:
    pytest.skip("needs JAX", allow_module_level=True)


@pytest.mark.cell("JAX", "2 processes with ranks")
def test_two_processes_make_global_arrays_of_their_own_rows(run_ranks):
    ranks = run_ranks("jax_batches.py", 2, *free_ports(1), JAX_PLATFORMS="cpu")
    sampler = hr.BatchSampler(75, 16, seed=6, tail="pad")
    expected = [sampler.indices(0, step).tolist() for step in range(5)]
    for number, rank in enumerate(ranks):
        assert rank["before"] == [0, 1]
        assert rank["world"] == [number, 2]
        assert rank["devices"] == [2, 4]
        assert rank["shapes"] == [[[16], [[4], [4]]]] * 5
        assert rank["steps"] == expected
        assert rank["totals"] == [float((np.arange(75.0) ** 2).sum()), 75]
