"""The suite itself: every process collects the same tests, by the same names.

A test that is named by a set, an address, a time or a folder of its run can't be run in several
processes, or run again by its name.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parent
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def collected(hash_seed, home):
    """What another process collects: the names of all tests that this environment can import."""
    home.mkdir()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "TMPDIR": str(home),
        "TZ": {"1": "UTC+11", "2": "UTC-11"}[hash_seed],
    }
    done = subprocess.run(
        [*command, str(TESTS)],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_two_processes_collect_the_same_tests(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(collected, "12", (tmp_path / "first", tmp_path / "second"))
    assert len(first) > 1000
    assert first == second
    assert [name for name in first if ADDRESS.search(name)] == []
