"""Keras' distribution on JAX, over several devices and over several processes."""

import importlib.util

import numpy as np
import pytest
from ports import free_ports

if not all(importlib.util.find_spec(name) for name in ("keras", "jax")):
    pytest.skip("needs Keras and JAX", allow_module_level=True)

SCRIPT = "keras_fit.py"
GLOO = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}


def environment(devices):
    return {
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }


@pytest.fixture(scope="module")
def one_process(run_ranks):
    """Of four devices, without and with a distribution."""
    (told,) = run_ranks(SCRIPT, 1, 0, "none", "data", **environment(4))
    return told


@pytest.fixture(scope="module")
def two_processes(run_ranks):
    return run_ranks(SCRIPT, 2, *free_ports(1), "data", "model", **environment(2), **GLOO)


@pytest.fixture
def one_device(one_process):
    alone = one_process["none"]
    assert alone["devices"] == 1
    assert alone["place"] == [3, 0]
    assert alone["mse"] == pytest.approx(alone["unpadded_mse"], rel=1e-4)
    assert np.abs(np.subtract(alone["weights"], alone["untrained"])).min() > 1e-3
    return alone


def check_same(trained, alone):
    np.testing.assert_allclose(trained["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
    assert trained["mse"] == pytest.approx(alone["mse"], rel=1e-4)
    assert trained["place"] == alone["place"]


@pytest.mark.cell("Keras", "2 processes with ranks")
def test_data_parallel_trains_the_same_weights(one_process, two_processes, one_device):
    four_devices = one_process["data"]
    assert four_devices["devices"] == 4
    assert four_devices["world"] == [0, 1]
    check_same(four_devices, one_device)

    for rank, process in enumerate(told["data"] for told in two_processes):
        assert process["devices"] == 4
        assert process["process"] == process["world"] == [rank, 2]
        check_same(process, one_device)


def test_processes_that_share_the_rows_of_a_batch_are_one_rank(two_processes, one_device):
    for rank, process in enumerate(told["model"] for told in two_processes):
        assert process["process"] == [rank, 2]
        assert process["world"] == [0, 1]
        check_same(process, one_device)


@pytest.mark.cell("Keras", "2 processes without ranks")
def test_processes_that_would_get_the_wrong_rows_are_told(one_process, two_processes):
    assert one_process["data"]["said"] == ["", ""]
    for process in two_processes:
        without, with_ranks = process["data"]["said"]
        assert "each process gets all batches of this loader" in without
        assert with_ranks == ""
        without, with_ranks = process["model"]["said"]
        assert without == ""
        assert with_ranks.startswith("world_size must be 1, as by Keras' distribution")


def test_ranks_follow_the_rows_that_a_process_holds(run_ranks):
    told = run_ranks("keras_world.py", 4, *free_ports(1), **environment(2), **GLOO)
    expected = {
        "none": [[0, 4], [1, 4], [2, 4], [3, 4]],
        "data": [[0, 4], [1, 4], [2, 4], [3, 4]],
        "data, in reverse": [[3, 4], [2, 4], [1, 4], [0, 4]],
        "model": [[0, 1]] * 4,
        "batch first": [[0, 2], [0, 2], [1, 2], [1, 2]],
        "batch last": [[0, 2], [1, 2], [0, 2], [1, 2]],
    }
    for name, worlds in expected.items():
        assert [answers[name] for answers in told] == worlds
    assert told[0]["of process 0"] == [0, 1]
    for process in (1, 2, 3):
        assert f"this is process {process}. Pass rank=" in told[process]["of process 0"]
    for process, answers in enumerate(told):
        assert "hold these parts of a batch: {0: " in answers["overlapping"]
        assert (
            f"jax.distributed says rank {process} of 4, but the environment (RANK, WORLD_SIZE) "
            f"says rank {(process + 1) % 4} of 4. Pass rank="
        ) in answers["contradicted"]
