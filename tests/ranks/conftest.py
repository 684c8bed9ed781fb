"""Runs of several real processes, one for each rank."""

import json
from pathlib import Path

import pytest
import running_ranks

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="module")
def run_ranks(tmp_path_factory):
    """`run_ranks(script, world_size, *arguments)` -> what each process has printed, from JSON.

    Each gets the rank, the world size and the arguments on its command line, and environment
    variables by name.
    """

    def run(script, world_size, *arguments, **environment):
        commands = [[SCRIPTS / script, rank, world_size, *arguments] for rank in range(world_size)]
        folder = tmp_path_factory.mktemp("ranks")
        printed = running_ranks.run_ranks(commands, [environment] * world_size, folder)
        return [json.loads(output.splitlines()[-1]) for output in printed]

    return run
