"""Runs a script of tests/trainers/scripts in one process or in several, over gloo."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from ports import free_ports

TESTS = Path(__file__).parent.parent
SCRIPTS = TESTS / "trainers/scripts"
PATH = [*sys.path, str(TESTS / "support"), str(TESTS / "ranks/scripts")]
# The first interface is the loopback; else gloo takes that of the host's name, if it has one.
LOCAL = {"GLOO_SOCKET_IFNAME": socket.if_nameindex()[0][1], "OMP_NUM_THREADS": "1"}
DEADLINE_S = 240


def run_habits(script, n_processes, folder):
    """What each process has seen: what it has written to seen-RANK.json in the folder."""
    environment = {**os.environ, **LOCAL, "PYTHONPATH": os.pathsep.join(PATH)}
    environment |= {"ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    if n_processes > 1:
        [port] = free_ports(1)
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment |= {"WORLD_SIZE": str(n_processes)}
    started = []
    try:
        for rank in range(n_processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if n_processes > 1 else {}
            with (folder / f"{rank}.err").open("w") as errors:
                command = [sys.executable, SCRIPTS / script, folder]
                started.append(
                    subprocess.Popen(command, env=environment | own, stdout=errors, stderr=errors)
                )
        for rank, process in enumerate(started):
            code = process.wait(timeout=DEADLINE_S)
            assert code == 0, (folder / f"{rank}.err").read_text()[-3000:]
    finally:
        for process in started:
            process.kill()
            process.wait()
    files = [folder / f"seen-{rank}.json" for rank in range(n_processes)]
    return [json.loads(file.read_text()) for file in files]
