"""Runs a script of tests/trainers/scripts in one process or in several, over gloo."""

import json
import os
import sys
from pathlib import Path

from ports import free_ports
from running_ranks import LOCAL, run_ranks

TESTS = Path(__file__).parent.parent
SCRIPTS = TESTS / "trainers/scripts"
PATH = [*sys.path, str(TESTS / "support"), str(TESTS / "ranks/scripts")]
ENVIRONMENT = {**LOCAL, "PYTHONPATH": os.pathsep.join(PATH)}


def run_habits(script, n_processes, folder):
    """What each process has seen: what it has written to seen-RANK.json in the folder."""
    environment = {**ENVIRONMENT, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    environments = [environment]
    if n_processes > 1:
        [port] = free_ports(1)
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment |= {"WORLD_SIZE": n_processes}
        environments = [
            {**environment, "RANK": rank, "LOCAL_RANK": rank} for rank in range(n_processes)
        ]
    run_ranks([[SCRIPTS / script, folder]] * n_processes, environments, folder)
    files = [folder / f"seen-{rank}.json" for rank in range(n_processes)]
    return [json.loads(file.read_text()) for file in files]
