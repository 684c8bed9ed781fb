"""`world()` where no framework is in play: what the environment says, and what it must not."""

import pytest
from other_python import printed_by

import headrace as hr

SCRIPT = """
import sys
import headrace as hr
try:
    print(tuple(hr.world()))
except ValueError as error:
    print(type(error).__name__, error)
print(sorted({"jax", "keras", "ray", "torch"} & set(sys.modules)))
"""


def said(**environment):
    """What `world()` says in a process whose environment has these variables of a launcher."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE"):
            patch.delenv(name, raising=False)
        answer, frameworks = printed_by(SCRIPT, environment=environment).splitlines()
    assert frameworks == "[]"
    return answer


def test_one_process_is_rank_0_of_1():
    assert said() == "(0, 1)"


@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (3, 4), (16383, 16384)])
def test_the_environment_of_torchrun_is_read(rank, world_size):
    assert said(RANK=str(rank), WORLD_SIZE=str(world_size)) == f"({rank}, {world_size})"


def test_variables_that_are_also_set_where_no_ranks_were_started_are_not_read():
    slurm = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4"}
    mpi = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "1"}
    of_a_node = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert said(**slurm, **mpi, **of_a_node) == "(0, 1)"


@pytest.mark.parametrize(
    ("environment", "parts"),
    [
        ({"RANK": "1"}, ["WORLD_SIZE must be a number", "None was given"]),
        ({"WORLD_SIZE": "2"}, ["RANK must be a number", "None was given"]),
        ({"RANK": "one", "WORLD_SIZE": "2"}, ["RANK must be a number", "'one' was given"]),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, ["RANK must be a number", "'-1' was given"]),
        ({"RANK": "0", "WORLD_SIZE": ""}, ["WORLD_SIZE must be a number", "'' was given"]),
        ({"RANK": "2", "WORLD_SIZE": "2"}, ["RANK must be less than WORLD_SIZE, which is 2"]),
        ({"RANK": "0", "WORLD_SIZE": "0"}, ["RANK must be less than WORLD_SIZE, which is 0"]),
    ],
)
def test_an_environment_that_makes_no_sense_is_an_error_that_names_the_variable(environment, parts):
    answer = said(**environment)
    assert answer.startswith("ArgumentError ")
    for part in [*parts, "Pass rank= and world_size= to the loader"]:
        assert part in answer


def test_the_answer_is_what_a_loader_takes(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    rank, world_size = hr.world()
    sampler = hr.BatchSampler(12, 2, shuffle=False, rank=rank, world_size=world_size)
    assert sampler.indices(0, 1).tolist() == [10, 11]
    assert hr.world() == hr.World(rank=2, world_size=3)
