"""Runs the processes of all ranks."""

import os
import socket
import subprocess
import sys
import time

DEADLINE_S = 500
# The first interface is the loopback; else gloo takes that of the host's name, if it has one.
LOCAL = {"GLOO_SOCKET_IFNAME": socket.if_nameindex()[0][1], "OMP_NUM_THREADS": "1"}
OF_RANKS = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}


def inherited():
    """The environment, without what a launcher of ranks has put into it."""
    return {name: value for name, value in os.environ.items() if name not in OF_RANKS}


def run_ranks(arguments, environments, folder):
    """Runs Python with these arguments and environment in each process; what each has printed.

    The first that fails ends the others, and the test.
    """
    outputs = [folder / f"{rank}.out" for rank in range(len(arguments))]
    errors = [folder / f"{rank}.err" for rank in range(len(arguments))]
    processes = []
    try:
        for rank, (output, error) in enumerate(zip(outputs, errors, strict=True)):
            with output.open("w") as out, error.open("w") as err:
                process = subprocess.Popen(
                    [sys.executable, *map(str, arguments[rank])],
                    env=inherited() | {k: str(v) for k, v in environments[rank].items()},
                    stdout=out,
                    stderr=err,
                )
            processes.append(process)
        deadline = time.monotonic() + DEADLINE_S
        while None in (codes := [process.poll() for process in processes]):
            if any(codes) or time.monotonic() > deadline:
                break
            time.sleep(0.02)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * len(arguments), "\n".join(e.read_text()[-3000:] for e in errors)
    return [output.read_text() for output in outputs]
