"""Ray for tests: without reports of usage, and with no process of it left when a test has ended."""

import contextlib
import os
import signal
import textwrap
import time
import uuid
from pathlib import Path

import pytest
from other_python import run_python

import headrace as hr

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", TF_CPP_MIN_LOG_LEVEL="3")
os.environ["RAY_ADDRESS"] = "local"  # not what else runs on this machine
# Ray makes no object that lies on disk where 95 % of the disk are used, however much is free.
os.environ.update(RAY_local_fs_capacity_threshold="1")
# Nor is it to end workers where 95 % of the memory are used, be it by others.
os.environ.update(RAY_memory_monitor_refresh_ms="0")
os.environ.setdefault("KERAS_BACKEND", "jax")

# For what takes seconds: only something that hangs takes longer.
DEADLINE = 400
SUPPORT = Path(__file__).parents[1] / "support"
STORE_BYTES = 200 * 2**20


@pytest.fixture(scope="session")
def local_ray():
    """Ray with two CPUs, to which this process is connected; its address for others."""
    # After the settings above.
    ray = pytest.importorskip("ray", reason="needs headrace[ray]")

    with pytest.MonkeyPatch.context() as patch:
        # So that the workers find the modules of tests/support.
        patch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
        ray.init(
            num_cpus=2,
            resources={"own": 1},
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
        )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def store_bytes(local_ray):
    """What the object store of its node holds."""
    return STORE_BYTES


@pytest.fixture
def executor(local_ray):
    executor = hr.Ray(2)
    yield executor
    executor.close()


@pytest.fixture
def run(tmp_path):
    """A function that runs a script, whose work is in `main()`, and returns what it prints."""
    pytest.importorskip("ray", reason="needs headrace[ray]")
    mark = f"HEADRACE_TEST={uuid.uuid4()}"

    def script_output(script, **environment):
        file = tmp_path / "script.py"
        file.write_text(
            "import itertools, os, sys, threading, time\nimport numpy as np\nimport ray\n"
            "import headrace as hr\nimport in_workers\n"
            f"def main():\n{textwrap.indent(textwrap.dedent(script), '    ')}\n"
            "if __name__ == '__main__':\n    main()\n"
        )
        path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
        name, value = mark.split("=")
        environment |= {"PYTHONPATH": path, name: value}
        done = run_python(file, timeout=DEADLINE, cwd=tmp_path, environment=environment)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    yield script_output
    left = set(_marked(mark))
    deadline = time.monotonic() + 20  # Ray's processes may still be about to end
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = set(_marked(mark))
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _marked(mark):
    """The processes that were started, by whomever, with this in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
