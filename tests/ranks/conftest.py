"""Runs of several real processes, one for each rank."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
DEADLINE_S = 240


@pytest.fixture(scope="module")
def run_ranks(tmp_path_factory):
    """`run_ranks(script, world_size, *arguments)` -> what each process has printed, from JSON.

    Each gets the rank, the world size and the arguments on its command line, and environment
    variables by name. The first that fails ends the others, and the test.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}

    def run(script, world_size, *arguments, **environment):
        folder = tmp_path_factory.mktemp("ranks")
        outputs = [folder / f"{rank}.out" for rank in range(world_size)]
        errors = [folder / f"{rank}.err" for rank in range(world_size)]
        processes = []
        try:
            for rank, (output, error) in enumerate(zip(outputs, errors, strict=True)):
                command = [sys.executable, SCRIPTS / script, rank, world_size, *arguments]
                with output.open("w") as out, error.open("w") as err:
                    process = subprocess.Popen(
                        [str(part) for part in command],
                        env=inherited | {k: str(v) for k, v in environment.items()},
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
        assert codes == [0] * world_size, "\n".join(e.read_text()[-3000:] for e in errors)
        return [json.loads(output.read_text().splitlines()[-1]) for output in outputs]

    return run
